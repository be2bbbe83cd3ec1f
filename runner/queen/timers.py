"""One heap of what is due when. Its task sleeps until the next entry, or an earlier one is set; it never ticks.

An action that fails is tried again later and ends nothing else (D8): for ever while the world is to blame, else a few
times."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from formicary.runner.core.errors import WorldError

Action = Callable[[], Awaitable[None]]

log = logging.getLogger("formicary.queen")

AGAIN: Final = 1.0
LONGEST: Final = 60.0
JUMP: Final = 5.0
"""Seconds by which the clock was set, or the machine slept; what is less is the clock's own business."""
MOST_FAULTS: Final = 5
"""How often an action may fail for a reason that is not the world's, before it is given up."""


class Timers:
    """`clock` gives seconds since the epoch. Where there is a `steady` one, which nobody sets, it is noticed that the
    other was set: what was to happen in so many seconds still does, and who heeds it is told. What is `wall` happens
    when the clock says so."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._steady = steady
        self._ahead = clock() - steady() if steady else 0.0
        self._heeding: list[Callable[[float], None]] = []
        self._heap: list[tuple[float, int, Action, int, int, bool]] = []
        self._ended: set[int] = set()
        self._order = itertools.count()
        self._changed = anyio.Event()

    def at(self, when: float, action: Action, owner: int = 0, *, wall: bool = False) -> None:
        """Run `action` at `when`, or at once if that has passed. It must be harmless when it is no longer due; of an
        `owner` (an execution) it may be forgotten."""
        self.notice()  # `when` is of the clock as it is now
        self._put(when, action, owner, 0, wall=wall)

    def heed(self, told: Callable[[float], None]) -> None:
        """It is told by how much the clock was set."""
        self._heeding.append(told)

    def notice(self) -> None:
        """Look whether the clock was set since the last look."""
        if self._steady is None:
            return
        before, self._ahead = self._ahead, self._clock() - self._steady()
        by = self._ahead - before
        if abs(by) < JUMP:
            return
        log.warning("the clock was set by %+.0f s, or the machine slept; time limits go on as before", by)
        self._heap = [(one[0] if one[-1] else one[0] + by, *one[1:]) for one in self._heap]
        heapq.heapify(self._heap)
        for told in self._heeding:
            told(by)
        self._changed.set()

    def forget(self, owner: int) -> None:
        """Nothing of this owner is due any more. Swept up now and then: a job's time limit is hours away."""
        self._ended.add(owner)
        if len(self._ended) > max(len(self._heap) // 2, 64):
            self._heap = [entry for entry in self._heap if entry[3] not in self._ended]
            heapq.heapify(self._heap)
            self._ended.clear()

    def _put(self, when: float, action: Action, owner: int, failures: int, *, wall: bool = False) -> None:
        entry = (when, next(self._order), action, owner, failures, wall)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._changed.set()

    async def run(self) -> None:
        """Fire what is due, for ever."""
        while True:
            self._changed = anyio.Event()
            self.notice()
            while self._heap and self._heap[0][0] <= self._clock():
                await self._fire(*heapq.heappop(self._heap)[2:5])
                self.notice()
            delay = self._heap[0][0] - self._clock() if self._heap else None
            # An hour at the most, so that a wall clock set forward is noticed.
            with anyio.move_on_after(3600.0 if delay is None else min(max(delay, 0.0), 3600.0)):
                await self._changed.wait()

    async def _fire(self, action: Action, owner: int, failures: int) -> None:
        try:
            await action()
        except Exception as error:
            log.exception("what was due failed")
            if isinstance(error, WorldError) or failures + 1 < MOST_FAULTS:
                self._put(self._clock() + min(AGAIN * 2.0 ** min(failures, 10), LONGEST), action, owner, failures + 1)
