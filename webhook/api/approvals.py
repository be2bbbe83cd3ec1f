"""Tasks that wait for people: what is asked, who may decide, and the votes (T1, T2)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field

from formicary.runner.core.policy import TimeoutAction
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import State
from formicary.runner.queen.people.approvals import Ballot, Question, questions
from formicary.webhook.api import requests, shared
from formicary.webhook.api.shared import Listed, moment, request_of
from formicary.webhook.operations import Call, Operation


class VoteView(shared.View):
    """What a person said; his newest vote counts until it is decided."""

    by: str
    role: str
    approved: bool
    at: datetime | None
    comment: str


class ApprovalView(shared.View):
    """A MANUAL task that people are asked about, or were. `request_id`, `commit` and `definition` (the digest of its
    text) say what is approved; `may` whether the caller may vote now."""

    request_id: int
    commit: str
    definition: str
    task: str
    description: str
    task_execution_id: str
    state: State
    asked_at: datetime | None
    who: str
    needed: int
    min_approvals: int
    require_unanimous: bool
    allowed_users: tuple[str, ...]
    allowed_roles: tuple[str, ...]
    sla_deadline: datetime | None
    timeout: datetime | None
    timeout_action: TimeoutAction
    votes: tuple[VoteView, ...]
    may: bool


class Vote(shared.Body):
    """`task` may be left out where one waits alone. `commit` says what was looked at (its first 7 characters do): if
    the request is of another one, the vote is refused."""

    task: str = Field(default="", max_length=100)
    commit: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=1000)


def view(call: Call, one: Question) -> ApprovalView:
    policy, since, caller = one.policy, one.attempt.ready_at or 0.0, call.caller
    return ApprovalView(
        request_id=one.request.id,
        commit=one.request.commit,
        definition=one.digest,
        task=one.task,
        description=call.door.mask(one.description),
        task_execution_id=one.attempt.id,
        state=one.attempt.state,
        asked_at=moment(one.attempt.ready_at),
        who=policy.who(),
        needed=policy.needed,
        min_approvals=policy.min_approvals,
        require_unanimous=policy.require_unanimous,
        allowed_users=policy.allowed_users,
        allowed_roles=policy.allowed_roles,
        sla_deadline=moment(None if policy.sla_deadline is None else since + policy.sla_deadline),
        timeout=moment(None if policy.timeout is None else since + policy.timeout),
        timeout_action=policy.timeout_action,
        votes=tuple(
            VoteView(by=vote.by, role=vote.role, approved=vote.approved, at=moment(vote.at), comment=vote.comment)
            for vote in one.attempt.votes
        ),
        may=one.open and policy.lets(caller.user_id, caller.role),
    )


async def show_list(call: Call) -> Listed[ApprovalView]:
    found = questions(call.door.store.read(), request_of(call))
    return shared.listed(shared.cut(found, call.query), lambda one: view(call, one))


async def approve(call: Call) -> requests.RequestView:
    return requests.shown(call, await _vote(call, approved=True))


async def reject(call: Call) -> requests.RequestView:
    return requests.shown(call, await _vote(call, approved=False))


async def _vote(call: Call, *, approved: bool) -> JobRequest:
    body: Vote = call.body
    caller = call.caller
    ballot = Ballot(
        approved=approved,
        by=caller.user_id,
        role=caller.role,
        task=body.task,
        commit=body.commit,
        comment=body.comment,
        token_id=caller.token_id,
    )
    return await call.door.queen.vote(request_of(call).id, ballot)


_TAG: Final = "Job requests"
_ONE: Final = requests.PATH + "/{id:int}"

#: Who may vote is the task's own to say: a viewer who is named in `allowed_users` may.
OPERATIONS: Final = (
    Operation(
        "GET", _ONE + "/approvals", "What people are asked, who may decide, and the votes", show_list, tag=_TAG,
        query=shared.PageQuery, answer=Listed[ApprovalView], errors=(404, 422),
    ),
    Operation(
        "POST", _ONE + "/approve", "Approve a task that waits for people", approve, tag=_TAG, body=Vote,
        answer=requests.RequestView, errors=(400, 403, 404, 409, 415, 422),
    ),
    Operation(
        "POST", _ONE + "/reject", "Reject a task that waits for people", reject, tag=_TAG, body=Vote,
        answer=requests.RequestView, errors=(400, 403, 404, 409, 415, 422),
    ),
)  # fmt: skip
