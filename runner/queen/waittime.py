"""How long a request will wait, from what waits and runs now and from how long such jobs took before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from statistics import median
from typing import Any, Final

from formicary.runner.core.estimate import Estimate, Queue, Run, estimate
from formicary.runner.core.schedule import Limits
from formicary.runner.core.states import State
from formicary.runner.queen.board import Board, Live
from formicary.runner.store import Reader

LOOKED_AT: Final = 50
"""Of each job so many of the last runs that completed."""


@dataclass(slots=True)
class History:
    """How long jobs took, by their key; each is looked up once. Blocks."""

    reader: Reader
    _known: dict[tuple[Any, ...], float | None] = field(default_factory=dict)

    def took(self, key: tuple[Any, ...]) -> float | None:
        """The median of the last runs; None where there is none."""
        if key not in self._known:
            organization, repository, job_type = key
            page = self.reader.requests(
                organization_id=organization,
                repository_id=repository,
                job_type=job_type,
                states=(State.COMPLETED,),
                page_size=LOOKED_AT,
            )
            ran = [one.ended_at - one.started_at for one in page.records if one.started_at is not None and one.ended_at]
            self._known[key] = median(ran) if ran else None
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Running:
    """A job that runs, and since when."""

    live: Live
    hands: tuple[str, ...]
    units: tuple[tuple[int, int], ...]


def snapshot(board: Board, limits: Limits) -> Callable[[int, Reader, float], Estimate]:
    """What there is now, taken on the loop; the estimate is made of it in a thread."""
    hands: dict[int, Counter[str]] = {}
    for worker in board.workers.values():
        for execution_id in worker.running.values():
            hands.setdefault(execution_id, Counter())[worker.ant.ant_id] += 1
    runs = [
        Running(live, tuple(hands.get(live.execution_id, Counter()).elements()), _units(live))
        for live in board.live.values()
        if not live.resting
    ]
    waiting, pools, ants = tuple(board.waiting.values()), board.places.pools, tuple(board.ants())
    disabled = frozenset(board.places.disabled)

    def make(request_id: int, reader: Reader, now: float) -> Estimate:
        history = History(reader)
        ends = [_run(one, history, reader, now) for one in runs]
        queue = Queue(waiting, ends, limits, pools, ants, disabled)
        return estimate(request_id, queue, history.took, now)

    return make


def _units(live: Live) -> tuple[tuple[int, int], ...]:
    held = [*([live.holds] if live.holds else []), *live.tasks_hold.values()]
    return tuple((one.resource_id, one.value) for one in held)


def _run(one: Running, history: History, reader: Reader, now: float) -> Run:
    """What takes longer than usual is taken to end at any moment."""
    place, lasts = one.live.place, history.took(one.live.job_key)
    request = reader.request(place.request_id)
    began = request.started_at if request and request.started_at else now
    ends_at = inf if lasts is None else max(began + lasts, now)
    return Run(place.request_id, place.key, place.key[0], ends_at, place.group, one.units, one.hands)
