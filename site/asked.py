"""Tasks that wait for people, as the request's page shows them: who may decide, and what they have said."""

from __future__ import annotations

from dataclasses import dataclass

from formicary.runner.core.definition import MANUAL, JobDefinition
from formicary.runner.core.execution import Execution
from formicary.runner.core.policy import ApprovalPolicy, Vote
from formicary.runner.core.states import State

_ACTIONS = {"AUTO_APPROVE": "approved by itself", "AUTO_REJECT": "rejected by itself", "ESCALATE": "told to others"}


@dataclass(frozen=True, slots=True)
class AskedRow:
    """`then`: what becomes of it if nobody decides by `by`."""

    task: str
    description: str
    policy: ApprovalPolicy
    asked_at: float
    votes: tuple[Vote, ...]
    by: float | None = None
    then: str = ""

    @property
    def approvals(self) -> int:
        return sum(vote.approved for vote in self.votes)


def asked(execution: Execution | None, definition: JobDefinition) -> tuple[AskedRow, ...]:
    """Those that wait now, in the definition's order."""
    found = []
    for task in definition.tasks if execution else ():
        run = execution.tasks.get(task.task_type) if execution and task.method == MANUAL else None
        if run is None or run.last is None or run.state is not State.MANUAL_APPROVAL_REQUIRED:
            continue
        policy, since = task.approval_policy, run.last.ready_at or 0.0
        by = None if policy.timeout is None or "timeout" in run.last.overdue else since + policy.timeout
        then = _ACTIONS[policy.timeout_action] if by is not None else ""
        found.append(AskedRow(run.name, task.description, policy, since, run.last.votes, by, then))
    return tuple(found)


def said(vote: Vote) -> str:
    """ "approved by ann: looks good"."""
    word = "approved" if vote.approved else "rejected"
    return f"{word} by {vote.by}" + (f": {vote.comment}" if vote.comment else "")
