"""The door, put together: every route, and the layers around them in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from formicary.webhook import apidocs, hooks, login, problems, triggers
from formicary.webhook.api import (
    ants,
    approvals,
    artifacts,
    audits,
    definitions,
    deliveries,
    errorcodes,
    explain,
    health,
    language,
    outbox,
    plugins,
    reports,
    repositories,
    requests,
    resources,
    secrets,
    tasks,
    tokens,
)
from formicary.webhook.auth import Authentication
from formicary.webhook.idempotency import Idempotency
from formicary.webhook.onion import AccessLog, BodyLimit, Hosts, SecurityHeaders
from formicary.webhook.operations import Operation, routes
from formicary.webhook.parts import Door

_DESCRIBED: Final = (
    *hooks.OPERATIONS,
    *triggers.OPERATIONS,
    *requests.OPERATIONS,
    *approvals.OPERATIONS,
    *tasks.OPERATIONS,
    *reports.OPERATIONS,
    *definitions.OPERATIONS,
    *plugins.OPERATIONS,
    *repositories.OPERATIONS,
    *artifacts.OPERATIONS,
    *tokens.OPERATIONS,
    *resources.OPERATIONS,
    *errorcodes.OPERATIONS,
    *secrets.OPERATIONS,
    *deliveries.OPERATIONS,
    *outbox.OPERATIONS,
    *ants.OPERATIONS,
    *audits.OPERATIONS,
    *explain.OPERATIONS,
    *language.OPERATIONS,
    *health.OPERATIONS,
)


_HEALTH: Final = tuple(one for one in health.OPERATIONS if one.role is None)
#: No person looks around there.
_FOR_PROGRAMS: Final = ("/api/", "/hooks/", "/health/", "/badges/", "/static/")


def all_operations() -> tuple[Operation, ...]:
    """Every operation of the HTTP interface; routes and document are both made from these."""
    described: list[Operation] = list(_DESCRIBED)
    described += apidocs.operations(described)
    return tuple(described)


def build_app(door: Door) -> Starlette:
    """The application. The layers stand from the outside in: a call passes them from the top down."""
    return Starlette(
        routes=[
            *routes(all_operations(), door),
            *login.routes(door),
            *door.pages,
        ],
        middleware=[
            Middleware(AccessLog, door=door),
            Middleware(SecurityHeaders),
            Middleware(Hosts, door=door),
            Middleware(BodyLimit, door=door),
            Middleware(Authentication, door=door),
            Middleware(Idempotency, door=door),
        ],
        exception_handlers={**problems.handlers(door.mask), 404: _not_here(door)},
    )


def build_hooks_app(door: Door) -> Starlette:
    """The hooks alone, for a listener that faces the internet. Forges call it by whatever name it has there, so no
    host is refused: the signature tells who calls."""
    return Starlette(
        routes=routes((*hooks.OPERATIONS, *triggers.OPERATIONS, *_HEALTH), door),
        middleware=[
            Middleware(AccessLog, door=door),
            Middleware(SecurityHeaders),
            Middleware(BodyLimit, door=door),
        ],
        exception_handlers=problems.handlers(door.mask),
    )


def _not_here(door: Door) -> Callable[[Request, Exception], Response]:
    """What is at no address: a page for a browser that looks around, a document for a program."""

    def handle(request: Request, error: Exception) -> Response:
        document = problems.describe(error)
        looks = door.pages and request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if not looks or request.url.path.startswith(_FOR_PROGRAMS):
            return problems.answer(document, door.mask)
        from formicary.webhook.pages.answers import message_page  # with the first page, as all templates

        return message_page(404, "There is no page at this address. The overview shows all there is.")

    return handle
