"""Server-sent events that end: with their producer, when the client leaves, or when the door closes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

KEEP_ALIVE: Final = b": still here\n\n"
KEEP_ALIVE_EVERY: Final = 15.0
_LAST_WORDS: Final = 1.0

Write = Callable[[bytes], Awaitable[None]]


class EventStream(Response):
    """`produce(write)` runs until it returns; it is cancelled when nobody listens any more or `closing` is set."""

    media_type = "text/event-stream"

    def __init__(self, produce: Callable[[Write], Awaitable[None]], closing: anyio.Event) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._produce, self._closing = produce, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        async with anyio.create_task_group() as group:
            for wait, name in ((self._closing.wait, "door closes"), (_left(receive), "client leaves")):
                group.start_soon(_end_after, group.cancel_scope, wait, name=f"events: {name}")
            await self._produce(write)
            group.cancel_scope.cancel()
        with anyio.move_on_after(_LAST_WORDS, shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end_after(scope: anyio.CancelScope, wait: Callable[[], Awaitable[Any]]) -> None:
    await wait()
    scope.cancel()


def _left(receive: Receive) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    return wait


def event(name: str, data: dict[str, Any], event_id: str = "") -> bytes:
    identity = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{identity}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
