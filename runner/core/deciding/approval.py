"""What people's votes make of a MANUAL task: who may vote, when it is decided, and what follows if nobody votes."""

from __future__ import annotations

from collections.abc import Sequence

from formicary.runner.core.deciding.course import Course, asks, dues
from formicary.runner.core.deciding.ending import over
from formicary.runner.core.deciding.outcome import span
from formicary.runner.core.errors import ERR_REJECTED
from formicary.runner.core.execution import Attempt, Result, TaskRun
from formicary.runner.core.policy import Answer, ApprovalPolicy, Approved, Overdue, Rejected, Vote


def question(course: Course, task_execution_id: str) -> tuple[TaskRun, Attempt] | None:
    """The task that waits for people under this id."""
    found = course.execution.attempt(task_execution_id)
    return found if found is not None and asks(found[0]) and found[1] is found[0].attempts[-1] else None


def decided(policy: ApprovalPolicy, votes: Sequence[Vote]) -> Answer:
    """One rejection decides, unless enough of the named users may still approve (and it need not be unanimous)."""
    approvals = sum(vote.approved for vote in votes)
    rejections = len(votes) - approvals
    named = 0 if policy.require_unanimous else len(policy.allowed_users)
    if rejections and named - rejections < policy.needed:
        return "REJECTED"
    return "APPROVED" if approvals >= policy.needed else ""


def voted(course: Course, event: Approved | Rejected) -> None:
    """A person's newest vote counts, until it is decided. One who may not vote changes nothing."""
    found = question(course, event.task_execution_id)
    policy = course.graph.nodes[found[0].name].task.approval_policy if found else ApprovalPolicy()
    if found is None or not policy.lets(event.by, event.role):
        return
    run, attempt = found
    vote = Vote(
        by=event.by, role=event.role, approved=isinstance(event, Approved), at=course.now, comment=event.comment
    )
    votes = (*(one for one in attempt.votes if one.by != event.by), vote)
    run, attempt = _noted(course, run, attempt.model_copy(update={"votes": votes}))
    answer = decided(policy, votes)
    if answer:
        _conclude(course, run, attempt, answer, "; ".join(map(_said, (one for one in votes if not one.approved))))


def _said(vote: Vote) -> str:
    return f"by {vote.by}" + (f" ({vote.comment})" if vote.comment else "")


def overdue(course: Course, event: Overdue) -> None:
    """Nobody has decided in time. Who is to be told of it is told by what notices the mark."""
    found = question(course, event.task_execution_id)
    if found is None:
        return
    run, attempt = found
    task = course.graph.nodes[run.name].task
    at = dict(dues(task, attempt)).get(event.what)
    if at is None:
        return
    if course.now < at:
        return course.wake(at, event)
    run, attempt = _noted(course, run, attempt.model_copy(update={"overdue": (*attempt.overdue, event.what)}))
    policy = task.approval_policy
    if event.what == "timeout" and policy.timeout_action != "ESCALATE":
        answer: Answer = "APPROVED" if policy.timeout_action == "AUTO_APPROVE" else "REJECTED"
        _conclude(course, run, attempt, answer, f"it was not decided within {span(policy.timeout or 0.0)}")


def _noted(course: Course, run: TaskRun, attempt: Attempt) -> tuple[TaskRun, Attempt]:
    return course.put(run, run.state, attempts=(*run.attempts[:-1], attempt)), attempt


def _conclude(course: Course, run: TaskRun, attempt: Attempt, answer: Answer, why: str) -> None:
    if answer == "REJECTED":
        return over(course, run, attempt, Result(answer=answer, error_code=ERR_REJECTED, error_message=why))
    over(course, run, attempt, Result(answer=answer, warnings=(f"Approved by itself: {why}.",) if why else ()))
