"""Job requests: ask for a job, look at what was asked for, cancel it, run it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field
from starlette.responses import PlainTextResponse, Response

from formicary.runner.core.definition import Value
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import JobRequest, Role
from formicary.runner.core.states import SUCCESS, TERMINAL, State
from formicary.runner.queen.ask import Ask
from formicary.site.diagrams import dot_of, mermaid_of, svg_of
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, Moment, Names, moment, request_of
from formicary.webhook.operations import Call, Operation, reply

PATH: Final = "/api/jobs/requests"
_STATS_OF: Final = 1000
_MAX_PARAMS: Final = 1 << 20


class RequestQuery(shared.ListQuery):
    job_type: str | None = None
    state: tuple[State, ...] = Field(default=(), description="May be given several times.")
    repository: str | None = Field(default=None, description="Name or id.")
    ref: str | None = None
    commit: str | None = None


class RequestView(shared.View):
    """A job request. The values of secret parameters are never in it."""

    id: int
    organization_id: str
    repository_id: int | None
    repository: str
    job_type: str
    version_id: int
    event: str
    ref: str
    commit: str
    state: State
    reason: str
    params: Mapping[str, Value]
    priority: int
    description: str
    user_key: str | None
    created_by: str
    trusted: bool
    scheduled_at: datetime | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    execution_id: int | None
    executions: int
    parent_id: int | None
    error_code: str
    error_message: str


class Children(shared.View):
    """The requests that this one has forked, the first first; at most 1,000."""

    id: int
    children: Sequence[RequestView]


def _storable(params: Mapping[str, Value]) -> Mapping[str, Value]:
    """What cannot be written as JSON could not be read back (D8)."""
    if len(json.dumps(params, allow_nan=False)) > _MAX_PARAMS:
        raise ValueError(f"parameters may have {_MAX_PARAMS >> 20} MiB together")
    return params


class Submit(shared.Body):
    """Run this job. `commit` defaults to the head of `ref`, `ref` to the tracked branch."""

    job_type: str = Field(min_length=1, max_length=100)
    repository: str | None = Field(default=None, description="Name or id.")
    ref: str | None = Field(default=None, max_length=1000)
    commit: str | None = Field(default=None, max_length=64)
    job_version: int | None = Field(default=None, ge=1, lt=2**63)
    params: Annotated[Mapping[str, Value], AfterValidator(_storable)] = Field(default_factory=dict)
    scheduled_at: Moment | None = Field(default=None, description="With its offset from UTC.")
    priority: int | None = Field(default=None, ge=-1_000_000, le=1_000_000)
    description: str = Field(default="", max_length=1000)
    user_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Unique while its request is alive: a second submit returns the first request.",
    )


class Cancel(shared.Body):
    reason: str = Field(default="", max_length=1000)


class RestartQuery(shared.Query):
    hard: bool = Field(default=False, description="Keep nothing: the default, and stronger than `failed`.")
    failed: bool = Field(default=False, description="Keep the completed tasks of the last execution.")


class Why(shared.View):
    """Why the request is where it is, as a sentence."""

    id: int
    state: State
    why: str


class WaitTime(shared.View):
    """An estimate, from how long such jobs took before. `seconds` null: it cannot be known, and `why` says what is
    missing; 0: it has begun, or could at any moment. `ahead`: requests that wait and come first."""

    id: int
    state: State
    seconds: float | None
    begins_at: datetime | None
    ahead: int
    why: str


class StatsQuery(shared.Query):
    job_type: str | None = None
    repository: str | None = Field(default=None, description="Name or id.")


class Stats(shared.View):
    """Of the newest ended requests (at most 1,000). Latency is from the request to its end, in seconds."""

    requests: int
    succeeded: int
    success_rate: float | None
    latency_p50: float | None
    latency_p95: float | None


def view(request: JobRequest, repository: str) -> RequestView:
    return RequestView(
        id=request.id,
        organization_id=request.organization_id,
        repository_id=request.repository_id,
        repository=repository,
        job_type=request.job_type,
        version_id=request.version_id,
        event=request.event,
        ref=request.ref,
        commit=request.commit,
        state=request.state,
        reason=request.reason,
        params=request.params,
        priority=request.priority,
        description=request.description,
        user_key=request.user_key,
        created_by=request.created_by,
        trusted=request.trusted,
        scheduled_at=moment(request.scheduled_at),
        created_at=moment(request.created_at),
        started_at=moment(request.started_at),
        ended_at=moment(request.ended_at),
        execution_id=request.execution_id,
        executions=request.executions,
        parent_id=request.parent_id,
        error_code=request.error_code,
        error_message=request.error_message,
    )


def shown(call: Call, request: JobRequest) -> RequestView:
    found = call.door.store.read().repository(request.repository_id) if request.repository_id is not None else None
    return view(request, found.name if found else "")


async def show_list(call: Call) -> Listed[RequestView]:
    query: RequestQuery = call.query
    page = call.door.store.read().requests(
        organization_id=call.caller.organization_id,
        repository_id=shared.scope_of(call, query.repository),
        job_type=query.job_type,
        states=query.state,
        ref=query.ref,
        commit=query.commit,
        q=query.q,
        order=query.order,
        page=query.page,
        page_size=query.page_size,
    )
    names = Names(call)
    return shared.listed(page, lambda request: view(request, names[request.repository_id]))


async def submit(call: Call) -> Response:
    call.door.submits.take(call.caller)
    request, new = await call.door.queen.submit(_ask(call, call.body))
    headers = {"Location": f"{PATH}/{request.id}"}
    return reply(shown(call, request), 201 if new else 200, headers)


def _ask(call: Call, body: Submit) -> Ask:
    """`params.GitBranch` and `params.GitCommitID` are the old spelling of ref and commit."""
    params = dict(body.params)
    ref = body.ref if body.ref is not None else _old(params, "GitBranch")
    commit = body.commit if body.commit is not None else _old(params, "GitCommitID")
    return Ask(
        job_type=body.job_type,
        repository=_repository_name(call, body.repository),
        ref=ref,
        commit=commit,
        job_version=body.job_version,
        params=params,
        scheduled_at=body.scheduled_at.timestamp() if body.scheduled_at else None,
        priority=body.priority,
        description=body.description,
        user_key=body.user_key,
        created_by=call.caller.user_id,
        organization_id=call.caller.organization_id,
    )


def _old(params: dict[str, Any], name: str) -> str | None:
    value = params.pop(name, None)
    return str(value) if value else None


def _repository_name(call: Call, said: str | None) -> str | None:
    """A token that is bound to a repository asks for its jobs alone, also where none is named."""
    if said:
        return shared.repository_called(call, said).name
    bound = call.caller.repository_id
    return shared.repository_called(call, str(bound)).name if bound is not None else None


async def show(call: Call) -> RequestView:
    return shown(call, request_of(call))


async def cancel(call: Call) -> RequestView:
    request, by, reason = request_of(call), call.caller.user_id, call.body.reason
    also = shared.traced(call, "cancel", request, reason=reason)
    return shown(call, await call.door.queen.cancel(request.id, by=by, reason=reason, also=also))


async def pause(call: Call) -> RequestView:
    request, by, reason = request_of(call), call.caller.user_id, call.body.reason
    also = shared.traced(call, "pause", request, reason=reason)
    return shown(call, await call.door.queen.pause(request.id, by=by, reason=reason, also=also))


async def resume(call: Call) -> RequestView:
    request = request_of(call)
    also = shared.traced(call, "resume", request)
    return shown(call, await call.door.queen.resume(request.id, by=call.caller.user_id, also=also))


async def restart(call: Call) -> RequestView:
    request, query = request_of(call), call.query
    call.door.submits.take(call.caller)
    by, how = call.caller.user_id, {"hard": query.hard, "failed": query.failed}
    also = shared.traced(call, "restart", request, **how)
    return shown(call, await call.door.queen.restart(request.id, by=by, also=also, **how))


async def why(call: Call) -> Why:
    request = request_of(call)
    return Why(id=request.id, state=request.state, why=call.door.mask(call.door.queen.why(request.id)))


async def children(call: Call) -> Children:
    """Those of other repositories too, as far as the caller sees these."""
    request = request_of(call)
    seen = [one for one in call.door.store.read().children(request.id) if call.caller.sees(one)]
    return Children(id=request.id, children=[shown(call, one) for one in seen])


async def wait_time(call: Call) -> WaitTime:
    request, queen = request_of(call), call.door.queen
    found, now = await queen.wait_time(request.id), call.door.clock()
    return WaitTime(
        id=request.id,
        state=request.state,
        seconds=found.seconds,
        begins_at=moment(now + found.seconds) if found.seconds else None,
        ahead=found.ahead,
        why=call.door.mask(found.unknown or queen.why(request.id)),
    )


async def dot(call: Call) -> Response:
    return PlainTextResponse(dot_of(*_graph(call)), media_type="text/vnd.graphviz")


async def svg(call: Call) -> Response:
    """As a file of its own; it holds no script, and says so (T15)."""
    return Response(svg_of(*_graph(call)), headers=DRAWN, media_type="image/svg+xml")


async def mermaid(call: Call) -> Response:
    return PlainTextResponse(mermaid_of(*_graph(call)))


def _graph(call: Call) -> tuple[Any, Any]:
    request, reader = request_of(call), call.door.store.read()
    plan = reader.plan(request.execution_id) if request.execution_id is not None else None
    execution = reader.execution(request.execution_id) if request.execution_id is not None else None
    if plan is None or execution is None:
        raise NotFound(f"Job request {request.id} has no execution yet, so it has no graph.")
    return plan.definition, execution


async def stats(call: Call) -> Stats:
    query: StatsQuery = call.query
    page = call.door.store.read().requests(
        organization_id=call.caller.organization_id,
        repository_id=shared.scope_of(call, query.repository),
        job_type=query.job_type,
        states=sorted(TERMINAL),
        page_size=_STATS_OF,
    )
    ended = page.records
    succeeded = sum(request.state in SUCCESS for request in ended)
    latencies = sorted(request.ended_at - request.created_at for request in ended if request.ended_at is not None)
    return Stats(
        requests=len(ended),
        succeeded=succeeded,
        success_rate=succeeded / len(ended) if ended else None,
        latency_p50=_percentile(latencies, 0.50),
        latency_p95=_percentile(latencies, 0.95),
    )


def _percentile(values: Sequence[float], part: float) -> float | None:
    """The nearest rank: a latency that really was."""
    return values[min(len(values) - 1, int(part * len(values)))] if values else None


_TAG: Final = "Job requests"
#: A drawing's own style, and nothing else.
DRAWN: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_ONE: Final = PATH + "/{id:int}"

OPERATIONS: Final = (
    Operation(
        "GET", PATH, "List job requests", show_list, tag=_TAG, query=RequestQuery, answer=Listed[RequestView],
        errors=(404, 422),
    ),
    Operation(
        "POST", PATH, "Ask for a job", submit, tag=_TAG, role=Role.DEVELOPER, body=Submit, answer=RequestView,
        status=201, also={200: "A living request with this user_key was there already"},
        errors=(400, 404, 409, 415, 422, 429),
    ),
    Operation(
        "GET", PATH + "/stats", "Success rate and latency", stats, tag=_TAG, query=StatsQuery, answer=Stats,
        errors=(404, 422),
    ),
    Operation("GET", _ONE, "One job request", show, tag=_TAG, answer=RequestView, errors=(404,)),
    Operation(
        "POST", _ONE + "/cancel", "Cancel; a second time ends its always_run tasks too", cancel, tag=_TAG,
        role=Role.DEVELOPER, body=Cancel, answer=RequestView, errors=(400, 404, 409, 415, 422),
    ),
    Operation(
        "POST", _ONE + "/pause", "Let nothing new start, and pause when what runs has ended", pause, tag=_TAG,
        role=Role.DEVELOPER, body=Cancel, answer=RequestView, errors=(400, 404, 409, 415, 422),
    ),
    Operation(
        "POST", _ONE + "/resume", "Let a paused one go on now", resume, tag=_TAG, role=Role.DEVELOPER,
        answer=RequestView, errors=(404, 409),
    ),
    Operation(
        "POST", _ONE + "/restart", "Run it again, as a new execution", restart, tag=_TAG, role=Role.DEVELOPER,
        query=RestartQuery, answer=RequestView, errors=(404, 409, 422, 429),
    ),
    Operation("GET", _ONE + "/children", "What it has forked", children, tag=_TAG, answer=Children, errors=(404,)),
    Operation("GET", _ONE + "/why", "Why it waits, or is where it is", why, tag=_TAG, answer=Why, errors=(404,)),
    Operation(
        "GET", _ONE + "/wait_time", "How long until it begins, as far as that can be known", wait_time, tag=_TAG,
        answer=WaitTime, errors=(404,),
    ),
    Operation(
        "GET", _ONE + "/dot", "Its graph for Graphviz", dot, tag=_TAG, media="text/vnd.graphviz", errors=(404,)
    ),
    Operation("GET", _ONE + "/svg", "Its graph as a picture", svg, tag=_TAG, media="image/svg+xml", errors=(404, 422)),
    Operation("GET", _ONE + "/mermaid", "Its graph for Mermaid", mermaid, tag=_TAG, media="text/plain", errors=(404,)),
)  # fmt: skip
