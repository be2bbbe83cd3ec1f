"""The live pages' addresses: overview, repository, job, request, log; their streams, forms, badges and static files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from formicary.site import build, run
from formicary.site.badge import badge
from formicary.site.render import STATIC, Chrome, static_files, static_version
from formicary.site.source import Source, public
from formicary.site.views import JobView, LogView, RepositoryView, RequestView, View
from formicary.webhook.caller import caller_of, csrf_of
from formicary.webhook.pages import actions, streams
from formicary.webhook.pages.answers import HEADERS, Handler, link, page, readable
from formicary.webhook.pages.context import PagesContext, may_act, the_caller
from formicary.webhook.parts import Door

EVENTS: Final = "/pages/events"
V = TypeVar("V", bound=View)

_BADGE: Final = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-cache, max-age=60"}


def page_routes(door: Door) -> list[BaseRoute]:
    """The pages of this door's house."""
    return routes(
        PagesContext(
            store=door.store,
            logs=door.queen.logs,
            changes=door.queen.changes,
            why=door.queen.why,
            submit=door.queen.submit,
            paced=door.submits.take,
            cancel=door.queen.cancel,
            restart=door.queen.restart,
            vote=door.queen.vote,
            definition_of=actions.definition_of,
            mask=door.mask,
            clock=door.clock,
            closing=door.closing,
        )
    )


def routes(context: PagesContext) -> list[BaseRoute]:
    """Longer paths come first: names of repositories and jobs may hold slashes."""

    def get(path: str, handler: Handler) -> Route:
        return Route(path, readable(handler), methods=["GET"])

    def post(path: str, handler: Handler) -> Route:
        return Route(path, readable(handler), methods=["POST"])

    async def changes(request: Request) -> Response:
        return streams.changes(context, request)

    async def tail(request: Request) -> Response:
        return await streams.tail(context, request)

    async def badge_of(request: Request) -> Response:
        return await anyio.to_thread.run_sync(_badge, context, request)

    return [
        get("/", _overview(context)),
        get(EVENTS, changes),
        get("/static/{name}", _static),
        get("/badges/{repository:path}/{job}.svg", badge_of),
        get("/requests/{request_id:int}", _request(context)),
        get("/tasks/{task_execution_id}/log", _log(context)),
        get("/tasks/{task_execution_id}/log/tail", tail),
        post("/requests/{request_id:int}/cancel", actions.cancel(context)),
        post("/requests/{request_id:int}/restart", actions.restart(context)),
        post("/requests/{request_id:int}/approve", actions.vote(context, approved=True)),
        post("/requests/{request_id:int}/reject", actions.vote(context, approved=False)),
        post("/repos/{repository:path}/jobs/{job:path}/run", actions.submit(context)),
        post("/jobs/{job:path}/run", actions.submit(context)),
        get("/repos/{repository:path}/jobs/{job:path}", _job(context)),
        get("/jobs/{job:path}", _job(context)),
        get("/repos/{repository:path}", _repository(context)),
    ]


def _page(
    context: PagesContext,
    template: str,
    make: Callable[[Source, Request], V],
    dress: Callable[[Request, V], Chrome],
) -> Handler:
    """Read, build and render on a thread: a page never holds up the loop that runs jobs."""

    def answer(request: Request) -> Response:
        view = make(context.source(request), request)
        csrf = csrf_of(request)
        chrome = replace(dress(request, view), live=True, csrf=csrf, logout="/logout" if csrf else "")
        return page(template, view, chrome, fragment=request.query_params.get("fragment") == "1")

    async def handler(request: Request) -> Response:
        return await anyio.to_thread.run_sync(answer, request)

    return handler


def _overview(context: PagesContext) -> Handler:
    return _page(
        context, "overview", lambda source, _: build.overview(source), lambda _request, _view: Chrome(watch=EVENTS)
    )


def _repository(context: PagesContext) -> Handler:
    def make(source: Source, request: Request) -> RepositoryView:
        return build.repository(source, request.path_params["repository"])

    return _page(context, "repository", make, lambda _, view: Chrome(watch=_watch_repository(view.id)))


def _job(context: PagesContext) -> Handler:
    def make(source: Source, request: Request) -> JobView:
        return build.job(source, request.path_params.get("repository", ""), request.path_params["job"])

    def dress(request: Request, view: JobView) -> Chrome:
        runs = context.submit is not None and may_act(request) and view.definition is not None
        run = f"{link().job(view.repository, view.job_type)}/run" if runs else ""
        return Chrome(watch=_watch_repository(view.repository_id), run=run)

    return _page(context, "job", make, dress)


def _watch_repository(repository_id: int | None) -> str:
    return EVENTS if repository_id is None else f"{EVENTS}?repository={repository_id}"


def _request(context: PagesContext) -> Handler:
    def make(source: Source, request: Request) -> RequestView:
        return run.request(source, request.path_params["request_id"])

    def dress(request: Request, view: RequestView) -> Chrome:
        mine, acts, caller = link().request(view.row.id), may_act(request), the_caller(request)
        return Chrome(
            watch=f"{EVENTS}?request={view.row.id}",
            cancel=f"{mine}/cancel" if acts and context.cancel else "",
            restart=f"{mine}/restart" if acts and context.restart and view.restartable else "",
            vote=mine if context.vote else "",
            ballots=frozenset(one.task for one in view.asked if one.policy.lets(caller.user_id, caller.role)),
        )

    return _page(context, "request", make, dress)


def _log(context: PagesContext) -> Handler:
    def make(source: Source, request: Request) -> LogView:
        return run.log(source, request.path_params["task_execution_id"])

    def dress(_request: Request, view: LogView) -> Chrome:
        return Chrome(tail="" if view.ended else f"{link().log(view.attempt.id)}/tail?from={view.part.cursor}")

    return _page(context, "log", make, dress)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404, f"There is no file {name}.")
    fresh = request.query_params.get("v") == static_version()
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable" if fresh else "no-cache"}
    return Response(static_files()[name], headers=headers, media_type=STATIC[name])


def _badge(context: PagesContext, request: Request) -> Response:
    """Of a public repository for everybody; of another one only for who may see it."""
    source = Source(context.store.read(), context.logs, public)
    if source.named(request.path_params["repository"]) is None and caller_of(request):
        source = context.source(request)
    owner = source.named(request.path_params["repository"])
    if owner is None:
        raise HTTPException(404, "There is no such badge.")
    latest = build.latest_on_tracked(source, owner, request.path_params["job"])
    svg = badge(request.path_params["job"], latest.state if latest else None)
    return Response(svg, headers=_BADGE, media_type="image/svg+xml")
