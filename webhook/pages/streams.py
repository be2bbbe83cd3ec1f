"""Server-sent events of the pages: that something has changed, and the new lines of a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from starlette.requests import Request

from formicary.runner.core.states import TERMINAL
from formicary.runner.queen.changes import Change, Subscription
from formicary.site import run
from formicary.site.logtail import Cursor, began, read_on
from formicary.site.logview import Item, Opened, Shaper, Shown
from formicary.site.render import render_group, render_lines
from formicary.webhook.caller import Caller
from formicary.webhook.eventstream import KEEP_ALIVE, KEEP_ALIVE_EVERY, EventStream, Write
from formicary.webhook.pages.context import PagesContext, the_caller

#: Changes that come closer together are told once.
GATHER: Final = 0.2
_COARSE: Final = frozenset({"request", "repository", "definition"})
_HELLO: Final = b"retry: 1000\n: hello\n\n"


@dataclass(frozen=True, slots=True)
class Watch:
    """What a page wants to hear of: one request, one repository, or (both None) everything that is seen from afar."""

    request_id: int | None = None
    repository_id: int | None = None

    @classmethod
    def of(cls, request: Request) -> Watch:
        def number(name: str) -> int | None:
            text = request.query_params.get(name, "")
            return int(text) if text.isdecimal() and len(text) < 16 else None

        return cls(number("request"), number("repository"))

    def wants(self, change: Change) -> bool:
        if change.kind == "missed":
            return True
        if self.request_id is not None:
            return change.request_id == self.request_id and change.kind != "log"
        return change.kind in _COARSE and self.repository_id in (None, change.repository_id)


def changes(context: PagesContext, request: Request) -> EventStream:
    """`changed`, whenever the page that watches should look again."""
    caller, watch = the_caller(request), Watch.of(request)

    async def produce(write: Write) -> None:
        with context.changes.subscribe() as subscription:
            await write(_HELLO)
            while True:
                if await _heard(subscription, lambda change: _visible(caller, change) and watch.wants(change)):
                    await write(b"event: changed\ndata: \n\n")
                    await anyio.sleep(GATHER)
                else:
                    await write(KEEP_ALIVE)

    return EventStream(produce, context.closing)


def _visible(caller: Caller, change: Change) -> bool:
    return change.kind == "missed" or caller.sees_repository(change.organization_id, change.repository_id)


async def _heard(subscription: Subscription, wanted: Callable[[Change], bool]) -> bool:
    """Wait for a wanted change; False when it is time to say that we are still here."""
    with anyio.move_on_after(KEEP_ALIVE_EVERY):
        while True:
            if wanted(await subscription.next()):
                return True
    return False


async def tail(context: PagesContext, request: Request) -> EventStream:
    """The lines behind `from` (or behind the last event that the browser has): `lines`, `group`, `endgroup`, `end`."""
    task_execution_id: str = request.path_params["task_execution_id"]
    await anyio.to_thread.run_sync(_must_see, context, request, task_execution_id)
    path = await anyio.to_thread.run_sync(context.logs.find, task_execution_id)
    cursor = Cursor.parse(request.headers.get("last-event-id") or request.query_params.get("from", ""))

    async def produce(write: Write) -> None:
        with context.changes.subscribe() as subscription:
            await write(_HELLO)
            await _pump(context, path, task_execution_id, cursor, subscription, write)

    return EventStream(produce, context.closing)


def _must_see(context: PagesContext, request: Request, task_execution_id: str) -> None:
    """Raises NotFound, for what is not there and for what is not the caller's."""
    run.find_attempt(context.source(request), task_execution_id)


async def _pump(
    context: PagesContext, path: Path, task_execution_id: str, cursor: Cursor, subscription: Subscription, write: Write
) -> None:
    """The state is read before the log: an ended attempt's log has its last byte (D13)."""
    shaper = Shaper(grouped=True)  # whether a group is open on the page is the page's to know: an end is always told
    while True:
        ended, events, after = await anyio.to_thread.run_sync(_look, context, path, task_execution_id, cursor, shaper)
        moved, cursor = after != cursor, after
        for event in events:
            await write(event)
        if ended and not moved:
            return await write(b"event: end\ndata: \n\n")
        if not moved:
            while not await _heard(subscription, lambda change: _of(change, task_execution_id)):
                await write(KEEP_ALIVE)


def _of(change: Change, task_execution_id: str) -> bool:
    return change.kind == "missed" or change.task_execution_id == task_execution_id


def _look(
    context: PagesContext, path: Path, task_execution_id: str, cursor: Cursor, shaper: Shaper
) -> tuple[bool, list[bytes], Cursor]:
    """Whether the attempt has ended, its new lines as events, and the cursor behind them."""
    execution = context.store.read().execution(int(task_execution_id.partition("-")[0]))
    found = execution.attempt(task_execution_id) if execution else None
    ended = found is None or found[1].state in TERMINAL
    lines, after = read_on(path, cursor, ended=ended)
    if lines and not shaper.began:
        shaper.began = began(path)
    return ended, list(_events([item for line in lines for item in shaper.shape(line)], after)), after


def _events(items: list[Item], after: Cursor) -> Iterator[bytes]:
    """Runs of lines and the borders of groups; the last event carries the cursor, so that a batch is whole or not."""
    pieces: list[tuple[str, str]] = []
    lines: list[Shown] = []
    for item in items:
        if isinstance(item, Shown):
            lines.append(item)
            continue
        pieces += [("lines", render_lines(lines))] if lines else []
        lines = []
        pieces.append(("group", render_group(item)) if isinstance(item, Opened) else ("endgroup", ""))
    pieces += [("lines", render_lines(lines))] if lines else []
    for number, (name, html) in enumerate(pieces, 1):
        yield _event(name, html, str(after) if number == len(pieces) else "")


def _event(name: str, html: str, event_id: str) -> bytes:
    data = "".join(f"data: {line}\n" for line in (html.splitlines() or [""]))
    return f"event: {name}\n{f'id: {event_id}' if event_id else ': part'}\n{data}\n".encode()
