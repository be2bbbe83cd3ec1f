"""How queen and ants reach each other. The lease lives in the store alone; the bus only carries.

An ant calls `join`, then `claim` as long as it has a free hand, and for every order it got `heartbeat` at a third of
the lease, `log` as bytes come, and one final `report` (after the last log byte). The queen serves these calls through
`serve(desk)`. Calls of one ant may be concurrent; every one is safe to repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from formicary.runner.core.messages import Ant, LogChunk, Report, TaskOrder


class Desk(Protocol):
    """The queen's side of the bus: what she answers to ants."""

    def joined(self, ant: Ant) -> None: ...
    async def left(self, ant_id: str, *, lost: bool) -> None: ...

    async def claim(self, ant_id: str, free: int) -> TaskOrder:
        """Wait until there is a task for this ant. Leaving the scope withdraws the claim; an order that was already
        made for it is returned by the queen herself."""
        ...

    async def heartbeat(self, ant_id: str, fences: Mapping[str, int]) -> frozenset[str]:
        """Extend the leases; returns the task executions that the ant must stop at once."""
        ...

    async def report(self, report: Report) -> None:
        """Returns once what was said is on disk (or was said before, or by a fence that is no longer the newest)."""
        ...

    async def log(self, chunk: LogChunk) -> int:
        """Append; returns the log's size now, from which the ant goes on."""
        ...


class Bus(Protocol):
    """The ant's side. `stops` yields ids of task executions to be stopped (cancel, lost lease)."""

    def serve(self, desk: Desk) -> AbstractAsyncContextManager[None]: ...
    def join(self, ant: Ant) -> AbstractAsyncContextManager[None]: ...
    async def announce(self, ant: Ant) -> None:
        """Say anew what an ant that has joined can do. Raises WorldError while nobody hears it."""
        ...

    async def claim(self, ant_id: str, free: int) -> TaskOrder: ...
    async def heartbeat(self, ant_id: str, fences: Mapping[str, int]) -> frozenset[str]: ...
    async def report(self, report: Report) -> None: ...
    async def log(self, chunk: LogChunk) -> int: ...
    def stops(self, ant_id: str) -> AsyncIterator[str]: ...
    def stop(self, ant_id: str, task_execution_id: str) -> None:
        """Queen: tell that ant to end that task execution."""
        ...
