"""Follows a request over the API: its states by asking again and again, its tasks' logs as server-sent events.

What is shown and how is the business of the `Show` that is told. A stream that breaks is taken up where it broke.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio
import httpx
from anyio.abc import TaskGroup

from formicary.cli.client import REQUESTS, Connection, Json, checked
from formicary.cli.format import ENDED
from formicary.runner.core.errors import NotFound, WorldError

_SOON: Final = 0.1
_LATER: Final = 1.0
_TRIES: Final = 20
_PAGE: Final = 1000
_STREAM: Final = httpx.Timeout(60.0, connect=5.0)  # the server says that it is still there every 15 s


class Show(Protocol):
    """What is told of a request, in the order in which it is found out."""

    def tasks(self, names: Sequence[str]) -> None: ...
    def state(self, task: Json) -> None: ...
    def retried(self, task: Json, attempt: Json) -> None: ...
    def records(self, task: str, attempt: Json, records: Sequence[Json]) -> None: ...
    def log_ended(self, task: str, attempt: Json) -> None: ...


@dataclass(slots=True)
class Follower:
    """`only` is the task to follow ("" = all); with `logs` what they write, else their states alone."""

    connection: Connection
    http: httpx.AsyncClient
    request_id: int
    show: Show
    only: str = ""
    logs: bool = False
    states: bool = True
    _seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    _streams: dict[str, anyio.Event] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    async def run(self) -> Json:
        """Until the request (or the task that is followed) has ended; returns the request."""
        wait = _SOON
        async with anyio.create_task_group() as group:
            while True:
                request: Json = await self._get(f"{REQUESTS}/{self.request_id}")
                changed = await self._look(group, request)
                if self._over(request):
                    break
                wait = _SOON if changed else min(wait * 1.3, _LATER)
                await anyio.sleep(wait)
        return request

    async def _look(self, group: TaskGroup, request: Json) -> bool:
        """Tell what is new of the tasks; the log of an attempt that has ended is shown before its end is told."""
        tasks = sorted(await self._tasks(), key=lambda task: bool(task.get("combinations")))  # it ends after them
        self.show.tasks([task["task_type"] for task in tasks])
        changed = False
        for task in tasks:
            if self.only and self.only not in (task["task_type"], task.get("matrix_of")):
                continue
            if self.logs:
                await self._follow_logs(group, task)
            self._tell_retried(task)
            now = ("EXECUTING" if task["state"] == "STARTED" else task["state"], len(task["attempts"]))
            if self._seen.get(task["task_type"]) != now:
                self._seen[task["task_type"]] = now
                changed = True
                if self.states:
                    self.show.state(task)
        return changed

    def _tell_retried(self, task: Json) -> None:
        """Attempts that ended while their task goes on: an attempt may begin and end between two looks."""
        past = task["attempts"][:-1] if task["state"] in ENDED else task["attempts"]
        for attempt in past:
            if attempt["state"] in ENDED and attempt["id"] not in self._told:
                self._told.add(attempt["id"])
                if self.states:
                    self.show.retried(task, attempt)

    async def _tasks(self) -> list[Json]:
        found: list[Json] = []
        page, pages = 0, 1
        while page < pages:
            answer = await self._get(f"{REQUESTS}/{self.request_id}/tasks?page_size={_PAGE}&page={page}")
            found += answer["records"]
            page, pages = page + 1, answer["total_pages"]
        if self.only and found and not any(task["task_type"] == self.only for task in found):
            raise NotFound(no_task(self.request_id, self.only, found))
        return found

    async def _follow_logs(self, group: TaskGroup, task: Json) -> None:
        for attempt in task["attempts"]:
            if attempt["id"] not in self._streams:
                self._streams[attempt["id"]] = anyio.Event()
                group.start_soon(self._stream, task["task_type"], attempt, name=f"log {attempt['id']}")
            if attempt["state"] in ENDED:
                await self._streams[attempt["id"]].wait()

    def _over(self, request: Json) -> bool:
        state = self._seen.get(self.only, ("", 0))[0] if self.only else ""
        return request["state"] in ENDED or state in ENDED

    async def _stream(self, task: str, attempt: Json) -> None:
        async for records in follow_log(self.connection, self.http, attempt["id"]):
            self.show.records(task, attempt, records)
        self.show.log_ended(task, attempt)
        self._streams[attempt["id"]].set()

    async def _get(self, path: str) -> Any:
        """Patient with a server that is away for a moment."""
        for left in range(_TRIES, -1, -1):
            try:
                return checked(await self.http.get(path)).json()
            except (httpx.TransportError, WorldError) as error:
                if not left and isinstance(error, httpx.TransportError):
                    self.connection.unreachable(error)
                if not left:
                    raise
                await anyio.sleep(0.5)
        raise AssertionError("the last try returns or raises")


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(**connection.options(), limits=limits) as http:
        yield http


async def follow_log(connection: Connection, http: httpx.AsyncClient, attempt_id: str) -> AsyncIterator[list[Json]]:
    """The records of an attempt's log as they come, to its end. A broken stream goes on where it broke."""
    offset = tries = 0
    while tries < _TRIES:
        try:
            async for name, data in _events(http, attempt_id, offset):
                if name == "end":
                    return
                tries, offset = 0, data["offset"]
                yield data["records"]
        except httpx.TransportError as error:
            if tries == _TRIES - 1:
                connection.unreachable(error)
        tries += 1
        await anyio.sleep(0.5)
    raise WorldError("the server ended the log's stream again and again; what was shown may not be all of it")


async def _events(http: httpx.AsyncClient, attempt_id: str, offset: int) -> AsyncIterator[tuple[str, Any]]:
    path = f"/api/tasks/{attempt_id}/log"
    query = {"follow": 1, "offset": offset}
    async with http.stream("GET", path, params=query, timeout=_STREAM) as response:
        if not response.is_success:
            await response.aread()
            checked(response)
        name = ""
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def no_task(request_id: int, name: str, tasks: Sequence[Json]) -> str:
    known = ", ".join(task["task_type"] for task in tasks) or "none yet"
    return f"request {request_id} has no task `{name}`; it has {known}"
