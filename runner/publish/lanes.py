"""Which of what is owed may be sent now: a lane for each destination, so that none waits for another. Pure.

Two laws hold in here. Of one place (organization, kind, key) only the newest entry is ever sent, and never while an
older one is still on its way. And a lane in trouble sends one entry at a time, until one arrives.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from formicary.runner.core.records import OutboxEntry

IN_FLIGHT: Final = 2
"""Sendings at a time in a lane that is well. Forges ask for few (GitHub: "make requests serially")."""

Place = tuple[str, str, str]


@dataclass(slots=True)
class Waiting:
    """The newest entry of its place."""

    entry_id: int
    place: Place
    lane: str
    due_at: float


@dataclass(slots=True)
class Lane:
    """`failures`: tries in a row that did not reach the destination; `paused_until`: nothing is sent before."""

    room: int
    heap: list[tuple[float, int, Place]] = field(default_factory=list)
    in_flight: int = 0
    failures: int = 0
    paused_until: float = 0.0

    @property
    def free(self) -> int:
        return (1 if self.failures else self.room) - self.in_flight


class Lanes:
    """`take` what may be sent; when it was tried, say what became of it (`settled` or `put_off`), then `land` it."""

    def __init__(self) -> None:
        self._waiting: dict[Place, Waiting] = {}
        self._flying: set[Place] = set()
        self._lanes: dict[str, Lane] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, entry: OutboxEntry, lane: str, room: int = 1) -> None:
        """In place of an older one of the same place. `room`: how many this lane sends at a time."""
        place = (entry.organization_id, entry.kind, entry.key)
        self._waiting[place] = waiting = Waiting(entry.id, place, lane, entry.due_at)
        self._lanes.setdefault(lane, Lane(room))
        self._push(waiting)

    def _push(self, waiting: Waiting) -> None:
        heapq.heappush(self._lanes[waiting.lane].heap, (waiting.due_at, waiting.entry_id, waiting.place))

    def take(self, now: float) -> Iterator[Waiting]:
        """Everything that may be sent now; it is on its way from here on."""
        for lane in self._lanes.values():
            while lane.free > 0 and lane.paused_until <= now:
                waiting = self._first(lane)
                if waiting is None or waiting.due_at > now:
                    break
                heapq.heappop(lane.heap)
                self._flying.add(waiting.place)
                lane.in_flight += 1
                yield waiting

    def _first(self, lane: Lane) -> Waiting | None:
        """The head of its queue, without those that were replaced, moved, or wait for an older one to land."""
        while lane.heap:
            due_at, entry_id, place = lane.heap[0]
            waiting = self._waiting.get(place)
            if waiting and (waiting.entry_id, waiting.due_at) == (entry_id, due_at) and place not in self._flying:
                return waiting
            heapq.heappop(lane.heap)
        return None

    def next(self) -> float | None:
        """When something may be sent, as far as is known; None where only an event can change that."""
        times = []
        for lane in self._lanes.values():
            first = self._first(lane)
            if first is not None and lane.free > 0:
                times.append(max(first.due_at, lane.paused_until))
        return min(times, default=None)

    def settled(self, taken: Waiting) -> None:
        """It is done with (sent, dead, or not owed any more)."""
        now = self._waiting.get(taken.place)
        if now is not None and now.entry_id == taken.entry_id:
            del self._waiting[taken.place]

    def put_off(self, taken: Waiting, due_at: float) -> None:
        """It is to be sent again, not before then; a newer one of its place keeps its own time."""
        now = self._waiting.get(taken.place)
        if now is not None and now.entry_id == taken.entry_id:
            now.due_at = due_at

    def land(self, taken: Waiting) -> None:
        """It is on its way no longer; a newer one of its place may go."""
        self._flying.discard(taken.place)
        lane = self._lanes[taken.lane]
        lane.in_flight -= 1
        now = self._waiting.get(taken.place)
        if now is not None:
            self._push(now)
        if not lane.heap and not lane.in_flight and not lane.failures:
            del self._lanes[taken.lane]

    # How a lane does

    def reached(self, taken: Waiting) -> None:
        """The destination answered."""
        self._lanes[taken.lane].failures = 0

    def missed(self, taken: Waiting) -> int:
        """The destination did not answer as it should; how often in a row."""
        lane = self._lanes[taken.lane]
        lane.failures += 1
        return lane.failures

    def pause(self, taken: Waiting, until: float) -> None:
        """Send nothing on its lane before then."""
        lane = self._lanes[taken.lane]
        lane.paused_until = max(lane.paused_until, until)
