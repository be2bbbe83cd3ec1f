"""Who is told that people have not decided in time: whom the registered definition's `approval_policy` names.

In two steps, as with `notify`: the change that notes it owes one entry; when its turn comes, the registered definition
is rendered with the request's names, and each recipient becomes an entry of his own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import anyio.to_thread

from formicary.runner.core.deciding.outcome import span
from formicary.runner.core.execution import Attempt, TaskRun
from formicary.runner.core.policy import ApprovalPolicy
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import State
from formicary.runner.publish.messages import MessagePublisher
from formicary.runner.publish.notice import Notice
from formicary.runner.queen.told import Moment, Owed
from formicary.runner.store import Reader, Store, Tx
from formicary.runner.telling.outward import Outward, registered_of

KIND: Final = "escalation"


def escalation_effect(moment: Moment) -> Iterator[Owed]:
    """What is owed when an approval is overdue from now on."""
    request, execution = moment.request, moment.execution
    if execution is None or moment.before is None or request.repository_id is None:
        return
    for run in execution.tasks.values():
        old = moment.before.tasks.get(run.name)
        for what in _overdue_now(old, run) if run is not old else ():
            payload = {"request_id": request.id, "execution_id": execution.id, "task": run.name, "overdue": what}
            yield Owed(KIND, f"request:{request.id}:{execution.id}:{run.name}:{what}", payload)


def _overdue_now(old: TaskRun | None, run: TaskRun) -> list[str]:
    last, before = run.last, old.last if old else None
    known = before.overdue if before and last and before.id == last.id else ()
    return [what for what in (last.overdue if last else ()) if what not in known]


def channel_of(recipient: str) -> str:
    """The channel of `notify` that he would be named under."""
    if "://" in recipient:
        return "urls"
    return "slack" if recipient.startswith(("#", "@")) else "email"


class EscalationPublisher:
    """The `Publisher` of kind `escalation`: it owes a message to each recipient."""

    kind = KIND

    def __init__(self, store: Store, outward: Outward) -> None:
        self._store = store
        self._outward = outward

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        request = self._store.read().request(int(payload["request_id"]))
        owed = await anyio.to_thread.run_sync(self._owed, key, payload, request) if request else []
        if owed and request is not None:
            await self._store.write(lambda tx: _owe(tx, owed, request.organization_id))

    def _owed(self, key: str, payload: Mapping[str, Any], request: JobRequest) -> list[Owed]:
        policy = registered_policy(self._outward, self._store.read(), request, str(payload["task"]))
        return [_message(key, payload, one) for one in (policy.escalation_recipients if policy else ())]


def registered_policy(outward: Outward, reader: Reader, request: JobRequest, task: str) -> ApprovalPolicy | None:
    """What the tracked branch says of this task, with the request's names. Raises Undeliverable."""
    found = registered_of(reader, request)
    version = reader.version(found.version_id) if found and found.version_id is not None else None
    if version is None:
        return None
    job = outward.rendered(reader, request, version)
    return next((one.approval_policy for one in job.tasks if one.task_type == task), None)


def _message(key: str, payload: Mapping[str, Any], recipient: str) -> Owed:
    mark = sha256(recipient.encode()).hexdigest()[:16]
    more = {"channel": channel_of(recipient), "recipient": recipient}
    return Owed(MessagePublisher.kind, f"{key}:{mark}", {**payload, **more})


def _owe(tx: Tx, owed: list[Owed], organization_id: str) -> None:
    for kind, key, payload, due_at in owed:
        tx.owe(kind, key, payload, due_at=due_at, organization_id=organization_id)


def overdue_notice(outward: Outward, reader: Reader, request: JobRequest, payload: Mapping[str, Any]) -> Notice:
    """What it says: what waits, for whom, since when, and what follows."""
    name, overdue = str(payload["task"]), str(payload["overdue"])
    policy = registered_policy(outward, reader, request, name) or ApprovalPolicy()
    execution = reader.execution(int(payload["execution_id"]))
    run = execution.tasks.get(name) if execution else None
    last = run.last if run else None
    facts = [("Job", f"{request.job_type} #{request.id}"), ("Task", name), ("Who decides", policy.who())]
    facts += [("Commit", request.commit)] if request.commit else []
    facts += [("So far", _so_far(policy, last))] if last else []
    facts += [("Message", policy.escalation_message)] if policy.escalation_message else []
    waited = policy.sla_deadline if overdue == "sla" else policy.timeout
    return Notice(
        subject=f"{request.job_type} #{request.id} waits for an approval of {name}"
        + (f" for {span(waited)} by now" if waited else ""),
        facts=facts,
        link=f"{outward.url}/requests/{request.id}" if outward.url else "",
    )


def _so_far(policy: ApprovalPolicy, last: Attempt) -> str:
    if last.state is not State.MANUAL_APPROVAL_REQUIRED:
        return f"it is {last.state} meanwhile"
    return f"{sum(vote.approved for vote in last.votes)} of {policy.needed} have approved"
