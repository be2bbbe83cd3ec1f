"""One heap of what is due when. Its task sleeps until the next entry, or an earlier one is set; it never ticks."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Awaitable, Callable

import anyio

Action = Callable[[], Awaitable[None]]


class Timers:
    """`clock` gives seconds since the epoch. A changed wall clock only shifts when things fire."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._changed = anyio.Event()

    def at(self, when: float, action: Action) -> None:
        """Run `action` at `when`, or at once if that has passed. It must be harmless when it is no longer due."""
        entry = (when, next(self._order), action)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._changed.set()

    async def run(self) -> None:
        """Fire what is due, for ever."""
        while True:
            self._changed = anyio.Event()
            while self._heap and self._heap[0][0] <= self._clock():
                await heapq.heappop(self._heap)[2]()
            delay = self._heap[0][0] - self._clock() if self._heap else None
            # An hour at the most, so that a wall clock set forward is noticed.
            with anyio.move_on_after(3600.0 if delay is None else min(max(delay, 0.0), 3600.0)):
                await self._changed.wait()
