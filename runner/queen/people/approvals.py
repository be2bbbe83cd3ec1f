"""What waits for people: which tasks, of what, and who may decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from formicary.runner.core.execution import Attempt, Execution, Plan
from formicary.runner.core.graph import task_of
from formicary.runner.core.policy import ApprovalPolicy
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import State
from formicary.runner.store import Reader


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote as it is cast. `by` and `role` are the caller's own, `token_id` what he called with. `task` may be empty
    where one task waits alone; `commit` names what he has seen."""

    approved: bool
    by: str
    role: str
    task: str = ""
    commit: str = ""
    comment: str = ""
    token_id: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A task that people are asked about, or were: of this request, at this commit, by this text."""

    request: JobRequest
    task: str
    description: str
    policy: ApprovalPolicy
    attempt: Attempt
    digest: str = ""
    """Of the definition that the request follows."""

    @property
    def open(self) -> bool:
        return self.attempt.state is State.MANUAL_APPROVAL_REQUIRED


def questions(reader: Reader, request: JobRequest) -> list[Question]:
    """Those of the request's newest execution, in the order in which they were asked."""
    execution_id = request.execution_id
    execution = reader.execution(execution_id) if execution_id is not None else None
    plan = reader.plan(execution_id) if execution_id is not None else None
    version = reader.version(request.version_id)
    if execution is None or plan is None:
        return []
    found = list(_asked(request, execution, plan, version.digest if version else ""))
    return sorted(found, key=lambda one: one.attempt.ready_at or 0.0)


def _asked(request: JobRequest, execution: Execution, plan: Plan, digest: str) -> Iterator[Question]:
    for run in execution.tasks.values():
        if run.last is None or run.matrix_of:
            continue
        task = task_of(plan.definition, run.name)
        if task.method == "MANUAL":
            yield Question(request, run.name, task.description, task.approval_policy, run.last, digest)
