"""The outer layers that every call goes through: log, headers, hosts, body limit. Plain ASGI; none reads a body."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from formicary.webhook.origins import Allowed
from formicary.webhook.parts import Door
from formicary.webhook.problems import answer, lost, problem

access = logging.getLogger("formicary.access")

MAX_BODY: Final = 25 << 20
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
MUTATING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

#: `Referrer-Policy: no-referrer` would make browsers send `Origin: null` with our own forms.
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
}


class AccessLog:
    """Outermost: gives the call an id, logs it without its query (T9), and turns what nobody caught into a 500."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id, began, status = secrets.token_hex(8), time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            pass  # nobody is there to read an answer
        except Exception as error:
            document = lost(error)
            if not status:
                await answer(document, self.door.mask)(scope, receive, watched)
        finally:
            _log(scope, status, time.perf_counter() - began, request_id)


def _log(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~-._")  # a path may hold line breaks
    caller = scope["state"].get("caller")
    who = f"{caller.user_id}#{caller.token_id}" if caller else "-"
    access.info("%s %s %d %.1fms %s %s", scope["method"], path, status, seconds * 1000, who, request_id)


class SecurityHeaders:
    """Sets what an answer has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded)


class Hosts:
    """Refuses calls that were meant for another host, or that another site's page makes (T18). WebSockets included."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door, self.allowed = app, door, Allowed(door.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            return await self.app(scope, receive, send)
        await refuse(scope, receive, send, refusal)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.allowed.host(host):
            return answer(problem(400, "This host is not served here. Call the address that the server printed."))
        if origin is not None and not self.allowed.origin(origin, scheme=scope["scheme"], host=host):
            return answer(problem(403, "Pages of another origin may not call this server."))
        if changes_something(scope) and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return answer(problem(403, "Pages of another site may not call this server."))
        return None


class BodyLimit:
    """No body is larger than 25 MiB, whether it says so or comes in chunks."""

    def __init__(self, app: ASGIApp, door: Door, limit: int = MAX_BODY) -> None:
        self.app, self.door, self.limit = app, door, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self.limit:
            return await answer(problem(413, self._sentence()), headers={"Connection": "close"})(scope, receive, send)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise HTTPException(413, self._sentence(), {"Connection": "close"})
            return message

        await self._run(scope, counted, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except HTTPException as error:  # raised by a layer below that read the body, before anything was answered
            await answer(problem(error.status_code, error.detail), headers=error.headers)(scope, receive, send)

    def _sentence(self) -> str:
        return f"The body is larger than {self.limit >> 20} MiB."


def changes_something(scope: Scope) -> bool:
    """Whether a call may change something, by its kind."""
    return scope["type"] == "websocket" or scope["method"] not in SAFE


async def refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Answer in place of the application; a WebSocket that is closed before it was accepted is answered 403."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await response(scope, receive, send)


async def read_whole(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and a `receive` that gives it once more and then goes on with the real one."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect  # a part of a body is no body
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body, given = b"".join(parts), False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body, again
