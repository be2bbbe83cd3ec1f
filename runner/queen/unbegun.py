"""Requests that have not begun: how one of them ends, and what it was promised when it was admitted."""

from __future__ import annotations

from formicary.runner.core.definition import Concurrency, JobDefinition, Resource
from formicary.runner.core.execution import Plan
from formicary.runner.core.records import JobRequest
from formicary.runner.core.schedule import Waiting
from formicary.runner.core.semaphores import Need
from formicary.runner.core.states import State
from formicary.runner.queen.changes import Change
from formicary.runner.queen.engine import Engine
from formicary.runner.queen.keeping.retention import keep
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.queen.told import Moment
from formicary.runner.store import Tx


async def end_unbegun(
    engine: Engine,
    request: JobRequest,
    job: JobDefinition | None,
    state: State,
    code: str,
    message: str,
    reason: str = "",
    *,
    also: Also = nothing_else,
) -> None:
    """End a request that never began, with what is `also` to be written; one that has begun meanwhile is left alone."""

    def change(tx: Tx) -> None:
        now = tx.request(request.id)
        if now is not None and now.state is State.PENDING:
            tx.end_request(request.id, state, reason=reason, error_code=code, error_message=message)
            ended = tx.request(request.id) or now
            also(tx)
            keep(tx, request.id, job, state)
            engine.told.note(Moment(tx, ended, state, job))

    await engine.store.write(change)
    engine.board.unqueue(request.id)
    engine.board.asked.pop(request.id, None)
    engine.board.superseded.pop(request.id, None)
    engine.ended(request, state)
    engine.changes.publish(Change("request", request.organization_id, request.repository_id, request.id, state=state))


def agreed(plan: Plan, waiting: Waiting) -> Plan:
    """The plan with the group and the resource that the request was admitted with. They were rendered when it came, and
    a text that speaks of the time says something else by now."""
    job, group = plan.definition, waiting.group[2] if waiting.group else ""
    same = (job.concurrency.group if job.concurrency else "") == group and Need.of(job.resources) == waiting.need
    if same:
        return plan
    told = {"concurrency": Concurrency(group=group) if group else None, "resources": _resource(waiting.need)}
    return plan.model_copy(update={"definition": job.model_copy(update=told)})


def _resource(need: Need | None) -> Resource | None:
    if need is None:
        return None
    return Resource(
        resource_type=need.resource_type,
        platform=need.platform,
        tags=tuple(sorted(need.tags)),
        value=need.value,
        extract_config=need.extract,
    )
