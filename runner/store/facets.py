"""What the `Reader` and the `Tx` can do for one concern each: reports of tests and lines, error codes, what is
due, versions of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from formicary.runner.core.errorcodes import ErrorCode
from formicary.runner.core.records import Artifact, Page, PullRequest
from formicary.runner.core.released import Plugin
from formicary.runner.core.reported import ReportCase, ReportLines, TaskReport
from formicary.runner.core.reports import Reports, Verdict


class ReportsReader(Protocol):
    def reports(self, request_id: int) -> list[TaskReport]:
        """Of all attempts of all its executions, in the order in which they came."""
        ...

    def report(self, report_id: int) -> TaskReport | None: ...
    def report_cases(
        self, report_id: int, verdict: Verdict | None = None, page: int = 0, page_size: int = 200
    ) -> Page[ReportCase]:
        """Those that went wrong first."""
        ...

    def report_lines(self, report_id: int, page: int = 0, page_size: int = 200) -> Page[ReportLines]:
        """Files with the most lines that did not run first."""
        ...

    def failing_cases(self, report_ids: Sequence[int], limit: int) -> list[ReportCase]:
        """The first tests that went wrong, report by report."""
        ...


class ReportsTx(Protocol):
    def add_report(self, report: TaskReport, said: Reports) -> TaskReport:
        """Keep what an attempt's reports say; `report` names the attempt, its figures are made of `said`. One that was
        kept already stays as it is."""
        ...


class DueReader(Protocol):
    def artifacts_expired(self, now: float, limit: int = 500) -> list[Artifact]:
        """Artifacts whose time is over, the oldest expiry first."""
        ...

    def artifacts_due(self, organization_id: str, now: float, limit: int) -> list[Artifact]:
        """Of one organization, whose time is over, the oldest expiry first."""
        ...

    def artifacts_older(self, repository_id: int, before: float, limit: int) -> list[Artifact]:
        """Of a repository's ended requests, kept before then, the oldest first."""
        ...


class ErrorCodesReader(Protocol):
    def error_codes(self, organization_id: str) -> list[ErrorCode]:
        """The oldest first."""
        ...

    def error_code(self, code_id: int) -> ErrorCode | None: ...


class ErrorCodesTx(Protocol):
    def put_error_code(self, code: ErrorCode) -> ErrorCode:
        """Insert (id 0) or update by id. Raises NotFound."""
        ...

    def delete_error_code(self, code_id: int) -> bool: ...


class PluginsReader(Protocol):
    def plugins(self, organization_id: str, job_type: str | None = None) -> list[Plugin]:
        """The versions that the organization may fork, the oldest first: its own, and the public ones of others."""
        ...

    def plugin(self, plugin_id: int) -> Plugin | None: ...


class PluginsTx(Protocol):
    def put_plugin(self, plugin: Plugin) -> Plugin:
        """Keep a version; a pre-release takes the place of the one called so before. Raises LostError for a released
        one that is there."""
        ...


class PullsReader(Protocol):
    def open_pull_requests(self, repository_id: int) -> list[PullRequest]:
        """Those that nobody has told to be closed."""
        ...


class CallsReader(Protocol):
    def call_done(self, name: str, since: float) -> str | None:
        """What was asked by a call of this name that has changed something since then; None where there is none."""
        ...


class CallsTx(Protocol):
    def note_call(self, name: str, asked: str, keep: float) -> None:
        """This change is of a call of this name; what is older than `keep` seconds is forgotten."""
        ...

    def forget_call(self, name: str) -> None: ...


class FacetsReader(DueReader, ReportsReader, PluginsReader, ErrorCodesReader, PullsReader, CallsReader, Protocol):
    """All of these."""


class FacetsTx(ReportsTx, PluginsTx, ErrorCodesTx, CallsTx, Protocol):
    """All of these."""
