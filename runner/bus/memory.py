"""The bus of the embedded ant: direct calls to the queen's desk, in one process and one event loop."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from formicary.runner.bus import Desk
from formicary.runner.core.errors import WorldError
from formicary.runner.core.messages import Ant, LogChunk, Report, TaskOrder

T = TypeVar("T")


class QueenAway(WorldError):
    """The queen is not there now; what is said to her is said again when she is back."""


class MemoryBus:
    """A Bus. While no desk is served every call raises QueenAway; ants that have joined are announced to the next."""

    def __init__(self) -> None:
        self._desk: Desk | None = None
        self._ants: dict[str, Ant] = {}
        self._stops: dict[str, tuple[MemoryObjectSendStream[str], MemoryObjectReceiveStream[str]]] = {}
        self._waiting: set[anyio.CancelScope] = set()

    @asynccontextmanager
    async def serve(self, desk: Desk) -> AsyncIterator[None]:
        if self._desk is not None:
            raise RuntimeError("this bus is served already")
        self._desk = desk
        for ant in self._ants.values():
            desk.joined(ant)
        try:
            yield
        finally:
            self._desk = None
            for scope in self._waiting:
                scope.cancel()

    @asynccontextmanager
    async def join(self, ant: Ant) -> AsyncIterator[None]:
        send, receive = anyio.create_memory_object_stream[str](math.inf)
        self._ants[ant.ant_id], self._stops[ant.ant_id] = ant, (send, receive)
        if self._desk is not None:
            self._desk.joined(ant)
        try:
            with send, receive:
                yield
        finally:
            del self._ants[ant.ant_id], self._stops[ant.ant_id]
            if self._desk is not None:
                with anyio.CancelScope(shield=True):
                    await self._desk.left(ant.ant_id, lost=False)

    async def announce(self, ant: Ant) -> None:
        self._ants[ant.ant_id] = ant
        if self._desk is not None:
            self._desk.joined(ant)

    async def claim(self, ant_id: str, free: int) -> TaskOrder:
        return await self._while_served(self._there().claim(ant_id, free))

    async def heartbeat(self, ant_id: str, fences: Mapping[str, int]) -> frozenset[str]:
        return await self._there().heartbeat(ant_id, fences)

    async def report(self, report: Report) -> None:
        await self._there().report(report)

    async def log(self, chunk: LogChunk) -> int:
        return await self._there().log(chunk)

    async def stops(self, ant_id: str) -> AsyncIterator[str]:
        _, receive = self._stops[ant_id]
        async for task_execution_id in receive:
            yield task_execution_id

    def stop(self, ant_id: str, task_execution_id: str) -> None:
        if streams := self._stops.get(ant_id):
            streams[0].send_nowait(task_execution_id)

    def _there(self) -> Desk:
        if self._desk is None:
            raise QueenAway()
        return self._desk

    async def _while_served(self, call: Awaitable[T]) -> T:
        """A call that may wait for long ends when the queen goes."""
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                return await call
            finally:
                self._waiting.discard(scope)
        raise QueenAway()
