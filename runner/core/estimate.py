"""How long a request will wait: the queue played forward, by `admit` itself and by how long such jobs took. Pure.

An estimate is given only where everything that it stands on is known; else it is said what is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

from formicary.runner.core.schedule import Admitted, AntView, Group, Limits, Running, Waiting, admit
from formicary.runner.core.semaphores import NOTHING_SHARED, Pools
from formicary.runner.core.sharing import share

MOST_AHEAD: Final = 1000
MOST_STEPS: Final = 2000


@dataclass(frozen=True, slots=True)
class Run:
    """A job that runs until `ends_at` (inf: nobody knows). `ant_ids`: whose hands it has, one entry a hand."""

    request_id: int
    job_key: tuple[Any, ...]
    organization_id: str
    ends_at: float
    group: Group | None = None
    units: tuple[tuple[int, int], ...] = ()
    """(pool, units of it)"""
    ant_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """What there is now."""

    waiting: Sequence[Waiting]
    runs: Sequence[Run]
    limits: Limits
    pools: Pools
    ants: Sequence[AntView]
    disabled: frozenset[tuple[Any, ...]] = frozenset()


@dataclass(frozen=True, slots=True)
class Estimate:
    """`seconds` None: it cannot be said, and `unknown` says why. `ahead`: how many that wait come first."""

    seconds: float | None
    ahead: int = 0
    unknown: str = ""


def estimate(request_id: int, queue: Queue, took: Callable[[tuple[Any, ...]], float | None], now: float) -> Estimate:
    """`took`: how long a job of this key takes, seconds; None where none has completed yet."""
    one = next(each for each in queue.waiting if each.request_id == request_id)
    before = [each for each in queue.waiting if each.rank < one.rank and each.job_key not in queue.disabled]
    ahead = sum(each.scheduled_at is None or each.scheduled_at <= now for each in before)
    if len(before) > MOST_AHEAD:
        return Estimate(None, ahead, f"more than {MOST_AHEAD:,} requests come first")
    waiting, runs, at = {each.request_id: each for each in (*before, one)}, list(queue.runs), now
    for _ in range(MOST_STEPS):
        admitted = _admit(queue, list(waiting.values()), runs, at)
        for admission in admitted.admissions:
            started = waiting.pop(admission.request_id)
            if started is one:
                return Estimate(at - now, ahead)
            lasts = took(started.job_key)
            run = _run(started, admission.ant_id, at + (inf if lasts is None else lasts))
            pool_id = admission.pool_id
            units = ((pool_id, started.need.value),) if started.need and pool_id is not None else ()
            runs.append(replace(run, units=units))
        moments = [run.ends_at for run in runs] + [admitted.next_at or inf]
        at = max(min(moments), at)
        if at == inf:
            return Estimate(None, ahead, _unknown(admitted, one, runs))
        runs = [run for run in runs if run.ends_at > at]
    return Estimate(None, ahead, "too much happens before its turn")


def _run(one: Waiting, ant_id: str | None, ends_at: float) -> Run:
    hands = (ant_id,) if ant_id else ()
    return Run(one.request_id, one.job_key, one.organization_id, ends_at, one.group, ant_ids=hands)


def _admit(queue: Queue, waiting: Sequence[Waiting], runs: Sequence[Run], at: float) -> Admitted:
    hands = Counter(ant_id for run in runs for ant_id in run.ant_ids)
    ants = [replace(ant, free=max(ant.hands - hands[ant.ant_id], 0)) for ant in queue.ants]
    units: Counter[int] = Counter()
    for run in runs:
        for pool_id, value in run.units:
            units[pool_id] += value
    running = Running(
        by_job=Counter(run.job_key for run in runs),
        by_organization=Counter(run.organization_id for run in runs),
        by_group={run.group: (run.request_id,) for run in runs if run.group is not None},
        units=units,
        disabled=queue.disabled,
    )
    needy = any(one.need is not None for one in waiting)
    shares = share(waiting, (), running, queue.limits, queue.pools, ants, at) if needy else NOTHING_SHARED
    return admit(waiting, running, queue.limits, ants, at, shares=shares)


def _unknown(admitted: Admitted, one: Waiting, runs: Sequence[Run]) -> str:
    if any(run.ends_at == inf for run in runs):
        return "of a job that comes first, or runs, none has completed yet, so nobody knows how long it takes"
    return admitted.reason(one.request_id)
