"""The door, put together: every route, and the layers around them in their order."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware

from formicary.webhook import apidocs, hooks, login, problems
from formicary.webhook.api import (
    ants,
    artifacts,
    definitions,
    deliveries,
    health,
    repositories,
    requests,
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
    *requests.OPERATIONS,
    *tasks.OPERATIONS,
    *definitions.OPERATIONS,
    *repositories.OPERATIONS,
    *artifacts.OPERATIONS,
    *tokens.OPERATIONS,
    *deliveries.OPERATIONS,
    *ants.OPERATIONS,
    *health.OPERATIONS,
)


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
        exception_handlers=problems.handlers(door.mask),
    )
