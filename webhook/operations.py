"""An operation of the HTTP interface, declared once: its route, its checks and its part of the OpenAPI document."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Role
from formicary.webhook.caller import Caller, caller_of
from formicary.webhook.parts import Door

JSON: Final = "application/json"
_MAX_ID: Final = 2**63


@dataclass(slots=True)
class Call:
    """One call as a handler gets it: who asks is known and may, `query` and `body` are of the declared models."""

    door: Door
    request: Request
    query: Any = None
    body: Any = None

    @property
    def caller(self) -> Caller:
        caller = caller_of(self.request)
        assert caller is not None, "an operation without a role asked who calls"
        return caller

    def number(self, name: str = "id") -> int:
        """A path parameter that is an id. Raises NotFound for a number that no id can be."""
        number = int(self.request.path_params[name])
        if number >= _MAX_ID:
            raise NotFound(f"There is nothing with the id {number}.")
        return number

    def text(self, name: str) -> str:
        return str(self.request.path_params[name])


Handler = Callable[[Call], Awaitable[BaseModel | Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`role` None = open to everybody (`signed`: it has a signature of its own). `everything` = not for a token that
    is bound to one repository. `answer` None = `media` bytes. `also` names further good statuses."""

    method: str
    path: str
    summary: str
    handler: Handler
    tag: str = ""
    role: Role | None = Role.VIEWER
    signed: bool = False
    everything: bool = False
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    media: str = JSON
    status: int = 200
    also: Mapping[int, str] | None = None
    errors: tuple[int, ...] = ()
    secret_answer: bool = False

    async def run(self, call: Call) -> Response:
        self._check(call)
        if self.query:
            call.query = self.query.model_validate(_asked(self.query, call.request))
        if self.body and not self.signed:
            call.body = self.body.model_validate_json(await _json(call.request))
        if self.secret_answer:
            call.request.state.secret_answer = True
        found = await self.handler(call)
        return found if isinstance(found, Response) else reply(found, self.status)

    def _check(self, call: Call) -> None:
        if self.role is None:
            return
        caller = call.caller
        if not caller.may(self.role):
            raise HTTPException(403, f"This needs the role {self.role}; yours is {caller.role}.")
        if self.everything and caller.repository_id is not None:
            raise HTTPException(403, "This needs a token that is not bound to one repository.")


def routes(operations: Iterable[Operation], door: Door) -> list[Route]:
    """One route a path, so that a wrong method is answered with all of the right ones."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [_route(path, methods, door) for path, methods in by_path.items()]


def _route(path: str, methods: Mapping[str, Operation], door: Door) -> Route:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method].run(Call(door, request))

    return Route(path, endpoint, methods=list(methods), name=path)


def reply(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(model.__pydantic_serializer__.to_json(model), status, headers, JSON)


def _asked(model: type[BaseModel], request: Request) -> dict[str, Any]:
    """The query as the model wants it: a name that comes several times is a list only where it may be."""
    query = request.query_params
    return {name: query.getlist(name) if is_many(model, name) else query[name] for name in query}


def is_many(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    annotation = field.annotation if field else None
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(get_origin(option) in (tuple, list) for option in options)


async def _json(request: Request) -> bytes:
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return b"{}"
    if kind != JSON and not kind.endswith("+json"):
        raise HTTPException(415, f"Send the body as {JSON}.")
    return body
