"""Votes of people, each written down with who cast it.

Whoever votes says what he has seen: the task, and the commit where he names one. A vote for anything else is refused,
so that what was pushed afterwards is not approved with it (T2).
"""

from __future__ import annotations

from typing import Final

from formicary.runner.core.errors import Conflict, NotAllowed, NotFound
from formicary.runner.core.policy import Approved, Rejected
from formicary.runner.core.records import JobRequest
from formicary.runner.queen.engine import Engine
from formicary.runner.queen.people.approvals import Ballot, Question, questions
from formicary.runner.queen.people.audit import audit
from formicary.runner.store import Tx

SHORTEST: Final = 7
"""Characters by which a commit may be named."""


async def vote(engine: Engine, request_id: int, ballot: Ballot) -> JobRequest:
    """Cast it; on disk, with its audit, when this returns. Raises NotFound; Conflict where nobody is asked (any more),
    or about something else; NotAllowed."""
    reader = engine.store.read()
    request = reader.request(request_id)
    if request is None:
        raise NotFound(f"there is no request {request_id}")
    question = _meant(questions(reader, request), request, ballot)
    _same_commit(request, ballot)
    if not question.policy.lets(ballot.by, ballot.role):
        raise NotAllowed(f"`{question.task}` is for {question.policy.who()} to decide; you are {ballot.by}")
    kind = Approved if ballot.approved else Rejected
    written: list[str] = []
    event = kind(question.attempt.id, ballot.by, ballot.role, ballot.comment)

    def note(tx: Tx) -> None:
        written.append(question.task)
        audit(
            tx,
            "approve" if ballot.approved else "reject",
            by=ballot.by,
            token_id=ballot.token_id,
            request=request,
            task=question.task,
            task_execution_id=question.attempt.id,
            commit=request.commit,
            definition=question.digest,
            role=ballot.role,
            comment=ballot.comment,
        )

    await engine.feed(request.execution_id or 0, event, also=note)
    if not written:
        raise Conflict(f"`{question.task}` was decided just before; nothing has changed by this vote")
    return engine.store.read().request(request_id) or request


def _meant(found: list[Question], request: JobRequest, ballot: Ballot) -> Question:
    waiting = [one for one in found if one.open]
    named = [one for one in found if one.task == ballot.task]
    if ballot.task and not named:
        raise NotFound(f"request {request.id} asks nobody about a task `{ballot.task}`")
    if ballot.task and not named[0].open:
        raise Conflict(f"`{ballot.task}` of request {request.id} waits for nobody: it is {named[0].attempt.state}")
    if not waiting:
        raise Conflict(f"request {request.id} waits for nobody's approval: it is {request.state}")
    if not ballot.task and len(waiting) > 1:
        raise Conflict(f"several tasks wait, say which: {', '.join(one.task for one in waiting)}")
    return named[0] if ballot.task else waiting[0]


def _same_commit(request: JobRequest, ballot: Ballot) -> None:
    said = ballot.commit.strip().lower()
    if not said or said == request.commit:
        return
    if not request.commit:
        raise Conflict(f"request {request.id} is of no commit")
    if len(said) < SHORTEST or not request.commit.startswith(said):
        raise Conflict(f"request {request.id} is of commit {request.commit}, and not of {said[:64]}")
