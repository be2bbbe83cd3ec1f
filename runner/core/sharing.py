"""`share`: which of those that wait get units of shared resources now. Pure; where nobody needs any, it is not asked.

Whoever could start but for the units is asked in one order: first the tasks of jobs that hold something already (they
are what others wait for), then by the request's priority and age, tasks and whole jobs alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from formicary.runner.core.schedule import AntView, Limits, OfferView, Running, Waiting
from formicary.runner.core.semaphores import Claim, Pools, Shares, Units


def share(
    waiting: Iterable[Waiting],
    offers: Iterable[OfferView],
    running: Running,
    limits: Limits,
    pools: Pools,
    ants: Sequence[AntView],
    now: float,
) -> Shares:
    """Who gets units now. What is given and not taken up in this pass (no hand is free) is kept from those behind."""
    places, units = _Places(running, limits), Units(pools, running.units)
    given: dict[Hashable, int] = {}
    claims: list[Claim] = []
    asking: list[Waiting | OfferView] = [*_tasks(offers), *_jobs(waiting, now)]
    for one in sorted(asking, key=_order):
        if one.need is None or not (isinstance(one, OfferView) or places.free(one)) or not _able(one, ants):
            continue
        who: Hashable = one.task_execution_id if isinstance(one, OfferView) else one.request_id
        claims.append(Claim(who, one.organization_id, one.need))
        pool_id = units.take(one.organization_id, one.need, who)
        if pool_id is not None:
            given[who] = pool_id
            if isinstance(one, Waiting):
                places.take(one)
    return Shares(given, claims, pools, dict(running.units))


def _tasks(offers: Iterable[OfferView]) -> Iterable[OfferView]:
    return (one for one in offers if one.need is not None)


def _jobs(waiting: Iterable[Waiting], now: float) -> Iterable[Waiting]:
    return (one for one in waiting if one.need is not None and (one.scheduled_at is None or one.scheduled_at <= now))


def _order(one: Waiting | OfferView) -> tuple[Any, ...]:
    if isinstance(one, OfferView):
        return (not one.holds, one.rank, one.task_execution_id)
    return (True, one.rank, "")


def _able(one: Waiting | OfferView, ants: Sequence[AntView]) -> bool:
    """Whether some ant could run it, be it busy; units that wait for an ant that may never come would be lost."""
    if isinstance(one, Waiting) and not one.needs_ant:
        return True
    return any(not ant.lacks(one) for ant in ants)


class _Places:
    """The places of jobs, groups and organizations, as they are given away with the units."""

    def __init__(self, running: Running, limits: Limits) -> None:
        self.running, self.limits = running, limits
        self.jobs: Counter[tuple[Any, ...]] = Counter()
        self.organizations: Counter[str] = Counter()
        self.groups: set[tuple[Any, ...]] = set()
        self.total = sum(running.by_job.values()) if limits.max_running_jobs is not None else 0

    def free(self, one: Waiting) -> bool:
        running, limits = self.running, self.limits
        job = running.by_job.get(one.job_key, 0) + self.jobs[one.job_key]
        organization = running.by_organization.get(one.organization_id, 0) + self.organizations[one.organization_id]
        of_all, of_organization = limits.max_running_jobs, limits.max_running_of_organization
        return (
            job < one.max_concurrency
            and one.job_key not in running.disabled
            and (one.group is None or not (running.by_group.get(one.group) or one.group in self.groups))
            and (of_all is None or self.total < of_all)
            and (of_organization is None or organization < of_organization)
        )

    def take(self, one: Waiting) -> None:
        self.jobs[one.job_key] += 1
        self.organizations[one.organization_id] += 1
        self.total += 1
        if one.group is not None:
            self.groups.add(one.group)
