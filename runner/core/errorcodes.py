"""The organization's table of error codes: which failures are called what, and whether they are worth another try.

Which code a failure has is found here, but for the regular expression, which is for whoever reads the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from formicary.runner.core.judged import Action, Judgement
from formicary.runner.core.records import DEFAULT_ORGANIZATION, Record

ANY: Final = frozenset({"", "*"})
"""Scopes that hold everything; `*` is the Go original's spelling."""
MOST_RETRIES: Final = 100


class ErrorCode(Record):
    """A row of the table. It is for failures that end with `exit_code` (None: any) and whose error message or last
    lines of log match `regex` (empty: any), in its scopes: the job, the task, the platform that the job asks for.
    `retry`: how many attempts more, where `action` is a retry. `message` is for people."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    error_code: str
    regex: str = ""
    exit_code: int | None = None
    job_type: str = ""
    task_type: str = ""
    platform: str = ""
    action: Action = ""
    retry: int = 0
    message: str = ""
    description: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0

    def covers(self, job_type: str, task_type: str, platform: str, exit_code: int | None) -> bool:
        """Whether a failure is in its scopes; what it says is another question."""
        scopes = ((self.job_type, job_type), (self.task_type, task_type), (self.platform, platform))
        return self.exit_code in (None, exit_code) and all(own in ANY or own == its for own, its in scopes)

    def judgement(self) -> Judgement:
        return Judgement(self.error_code, self.action, self.retry, self.message)


def in_order(codes: Iterable[ErrorCode]) -> list[ErrorCode]:
    """The one that says more of where it holds goes first; among equals the older one."""
    return sorted(codes, key=lambda one: (-_narrow(one), one.id))


def _narrow(code: ErrorCode) -> int:
    scopes = sum(scope not in ANY for scope in (code.job_type, code.task_type, code.platform))
    return scopes + (code.exit_code is not None)
