"""`admit`: which waiting requests may start now, and why the others may not; `match`: which ant gets which ready task.

Pure, and called after every change: one pass over what waits, an order of the few that may start, no more. Reasons are
made when somebody asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from formicary.runner.core.containing import CONTAINER
from formicary.runner.core.semaphores import NOTHING_SHARED, Claim, Need, Shares

Group = tuple[str, int | None, str, bool]
"""A concurrency group: organization, repository, name, and whether its requests are trusted."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits to be admitted. `job_key` is what max_concurrency counts by; `tags` and `methods` are what
    one ant must have, unless it needs none; `need` is what it holds of a shared resource while it runs."""

    request_id: int
    organization_id: str
    job_key: tuple[Any, ...]
    job_type: str
    priority: int
    created_at: float
    scheduled_at: float | None
    max_concurrency: int
    tags: frozenset[str]
    methods: frozenset[str]
    needs_ant: bool = True
    trusted: bool = True
    group: Group | None = None
    need: Need | None = None
    rank: tuple[int, float, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", (-self.priority, self.created_at, self.request_id))


@dataclass(frozen=True, slots=True)
class OfferView:
    """A ready task of an execution that runs already. `need` is what it holds of a shared resource while it runs;
    `rank` is its request's, and `holds` whether its job holds some resource already."""

    task_execution_id: str
    priority: int
    ready_at: float
    tags: frozenset[str]
    methods: frozenset[str]
    trusted: bool = True
    organization_id: str = ""
    need: Need | None = None
    rank: tuple[int, float, int] = (0, 0.0, 0)
    holds: bool = False


@dataclass(frozen=True, slots=True)
class AntView:
    """An ant that is present. `free` of its `hands` wait for work; `isolates` = its SHELL tasks cannot see what others
    own, so that untrusted requests may run there (T19); `without`: methods that it cannot run now, and why."""

    ant_id: str
    tags: frozenset[str]
    methods: frozenset[str]
    platform: str
    free: int
    hands: int
    isolates: bool = False
    without: Mapping[str, str] = field(default_factory=dict)

    def lacks(self, need: Waiting | OfferView) -> bool:
        """Whether it could not run this even with a free hand."""
        return not (need.tags <= self.tags and need.methods <= self.methods) or self.exposes(need)

    def exposes(self, need: Waiting | OfferView) -> bool:
        """T19: an untrusted SHELL task would see what is not its own."""
        return not need.trusted and not self.isolates and (not need.methods or "SHELL" in need.methods)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs may run at a time: in all, and of one organization."""

    max_running_jobs: int | None = None
    max_running_of_organization: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """How many jobs run, by job_key and by organization; the requests that run, by concurrency group; the units that
    are held, by pool. Of the `disabled` jobs nothing starts."""

    by_job: Mapping[tuple[Any, ...], int]
    by_organization: Mapping[str, int]
    by_group: Mapping[Group, Collection[int]] = field(default_factory=dict)
    units: Mapping[int, int] = field(default_factory=dict)
    disabled: Collection[tuple[Any, ...]] = frozenset()


@dataclass(frozen=True, slots=True)
class Admission:
    """The request may start; `ant_id` has a hand for it (None: it needs none), and `pool_id` the units (likewise)."""

    request_id: int
    ant_id: str | None
    pool_id: int | None = None


class Hands:
    """The free hands, as they are given away. The ant with the most free hands is asked first; then by name."""

    __slots__ = ("ants", "free", "total")

    def __init__(self, ants: Sequence[AntView]) -> None:
        self.ants = ants
        self.free = {ant.ant_id: ant.free for ant in ants if ant.free > 0}
        self.total = sum(self.free.values())

    def take(self, need: Waiting | OfferView) -> str | None:
        """Take a hand that can run this, if one is free."""
        best: str | None = None
        for ant in self.ants:
            name = ant.ant_id
            if name in self.free and not ant.lacks(need) and (best is None or self._before(name, best)):
                best = name
        if best is not None:
            self._give(best)
        return best

    def _before(self, one: str, other: str) -> bool:
        return (-self.free[one], one) < (-self.free[other], other)

    def _give(self, name: str) -> None:
        self.total -= 1
        self.free[name] -= 1
        if not self.free[name]:
            del self.free[name]


class Admitted:
    """What `admit` decided. It describes the moment of the call, however late a reason is asked for."""

    __slots__ = ("_ants", "_by_id", "_limits", "_now", "_runs", "_shares", "_waiting", "admissions")

    def __init__(
        self,
        admissions: tuple[Admission, ...],
        waiting: Sequence[Waiting],
        runs: _Runs,
        limits: Limits,
        shares: Shares,
        ants: Sequence[AntView],
        now: float,
    ) -> None:
        self.admissions = admissions
        self._waiting = waiting
        self._runs = runs
        self._limits = limits
        self._shares = shares
        self._ants = ants
        self._now = now
        self._by_id: dict[int, Waiting] | None = None

    @property
    def next_at(self) -> float | None:
        """When the next scheduled request becomes due."""
        times = (one.scheduled_at for one in self._waiting if one.scheduled_at is not None)
        return min((at for at in times if at > self._now), default=None)

    def reason(self, request_id: int) -> str:
        """Why this request was not admitted, as one true sentence; "" if it was. Raises KeyError for any other."""
        if self._by_id is None:
            self._by_id = {one.request_id: one for one in self._waiting}
        one = self._by_id[request_id]
        if any(admission.request_id == request_id for admission in self.admissions):
            return ""
        why = self._not_due(one) or self._no_place(one) or self._no_ant(one) or self._no_units(one)
        return why or self._no_hand(one) or self._behind(one)

    def _not_due(self, one: Waiting) -> str:
        if one.scheduled_at is None or one.scheduled_at <= self._now:
            return ""
        at = datetime.fromtimestamp(one.scheduled_at, UTC).replace(tzinfo=None)
        return f"is due at {at.isoformat(timespec='seconds')}Z"

    def _no_place(self, one: Waiting) -> str:
        runs = self._runs
        if one.job_key in runs.disabled:
            return f"`{one.job_type}` is disabled, and starts nothing until somebody enables it"
        count = runs.by_job.get(one.job_key, 0)
        if count >= one.max_concurrency:
            return f"{count} of {one.max_concurrency} runs of `{one.job_type}` are running (max_concurrency)"
        if one.group is not None and (other := runs.in_group(one.group)):
            return f"request {other} of the concurrency group `{one.group[2]}` is running"
        return self._all_full(one)

    def _all_full(self, one: Waiting) -> str:
        limit = self._limits.max_running_of_organization
        count = self._runs.by_organization.get(one.organization_id, 0)
        if limit is not None and count >= limit:
            return f"{count} of {limit} jobs of the organization are running (limit_running)"
        limit = self._limits.max_running_jobs
        count = sum(self._runs.by_job.values()) if limit is not None else 0
        return f"{count} of {limit} jobs are running (max_running_jobs)" if limit is not None and count >= limit else ""

    def _no_units(self, one: Waiting) -> str:
        if one.need is None:
            return ""
        started = {admission.request_id for admission in self.admissions}
        return self._shares.reason(Claim(one.request_id, one.organization_id, one.need), started)

    def _no_ant(self, one: Waiting) -> str:
        return unable(one, self._ants) if one.needs_ant else ""

    def _no_hand(self, one: Waiting) -> str:
        if not one.needs_ant:
            return ""
        able = [ant for ant in self._ants if not ant.lacks(one)]
        given = [admission.ant_id for admission in self.admissions]
        if any(ant.free > given.count(ant.ant_id) for ant in able):
            return ""
        hands = sum(ant.hands for ant in able)
        if hands == 1:
            return "the only hand that could run it is busy"
        return f"all {hands} hands of the ants that could run it are busy"

    def _behind(self, one: Waiting) -> str:
        if first := self._before(one):
            return f"waits behind request {first}, which starts first"
        if not self.admissions:
            return "no request is admitted at the moment"
        return f"waits behind request {self.admissions[-1].request_id}, which starts first"

    def _before(self, one: Waiting) -> int | None:
        """Who has units and a place kept, and no hand yet, where this one asked for none because of that."""
        if one.need is None or one.request_id in self._shares.given or self._by_id is None:
            return None
        kept = [self._by_id[who] for who in self._shares.given if isinstance(who, int) and who in self._by_id]
        started = {admission.request_id for admission in self.admissions}
        return next(
            (other.request_id for other in kept if other.request_id not in started and other.rank < one.rank), None
        )


def unable(one: Waiting | OfferView, ants: Sequence[AntView]) -> str:
    """Why none of the ants could run it, even with a free hand; "" if one could."""
    if any(not ant.lacks(one) for ant in ants):
        return ""
    if not ants:
        return "no ant is connected"
    tags = ", ".join(sorted(one.tags))
    tagged = [ant for ant in ants if one.tags <= ant.tags]
    if not tagged:
        return f"no ant has the tags {tags}" if len(one.tags) > 1 else f"no ant has the tag {tags}"
    who = f"no ant with the tags {tags}" if tags else "no ant"
    if not any(one.methods <= ant.methods for ant in tagged):
        methods = ", ".join("container" if name == CONTAINER else name for name in sorted(one.methods))
        reasons = (ant.without.get(name, "") for ant in tagged for name in sorted(one.methods - ant.methods))
        why = next(filter(None, reasons), "")
        return f"{who} can run {methods} tasks" + (f": {why}" if why else "")
    return f"{who} isolates SHELL tasks, and an untrusted request may run only there"


def admit(
    waiting: Iterable[Waiting],
    running: Running,
    limits: Limits,
    ants: Sequence[AntView],
    now: float,
    *,
    shares: Shares = NOTHING_SHARED,
    most: int | None = None,
) -> Admitted:
    """Choose what starts now: priority first, then age, then id. A request that cannot start holds up no other, but
    for the units that it is the first to wait for (`share`)."""
    everybody, ants, runs, hands = tuple(waiting), tuple(ants), _Runs(running), Hands(ants)
    room = _room(limits, runs, most)
    admissions: list[Admission] = []
    for one in _candidates(everybody, running, shares, bool(hands.total), now) if room > 0 else ():
        if len(admissions) >= room:
            break
        if (one.needs_ant and not hands.total) or not runs.has_place(one, limits):
            continue
        ant_id = hands.take(one) if one.needs_ant else None
        if ant_id is not None or not one.needs_ant:
            runs.start(one)
            pool_id = shares.given[one.request_id] if one.need is not None else None
            admissions.append(Admission(one.request_id, ant_id, pool_id))
    return Admitted(tuple(admissions), everybody, runs, limits, shares, ants, now)


class _Runs:
    """What runs, and what was admitted since."""

    __slots__ = ("_by_group", "by_job", "by_organization", "disabled")

    def __init__(self, running: Running) -> None:
        self.by_job = dict(running.by_job)
        self.by_organization = dict(running.by_organization)
        self.disabled = frozenset(running.disabled)
        self._by_group = {group: min(requests) for group, requests in running.by_group.items() if requests}

    def in_group(self, group: Group) -> int | None:
        """The request of this group that runs."""
        return self._by_group.get(group)

    def has_place(self, one: Waiting, limits: Limits) -> bool:
        limit = limits.max_running_of_organization
        return (
            self.by_job.get(one.job_key, 0) < one.max_concurrency
            and (one.group is None or one.group not in self._by_group)
            and (limit is None or self.by_organization.get(one.organization_id, 0) < limit)
        )

    def start(self, one: Waiting) -> None:
        self.by_job[one.job_key] = self.by_job.get(one.job_key, 0) + 1
        self.by_organization[one.organization_id] = self.by_organization.get(one.organization_id, 0) + 1
        if one.group is not None:
            self._by_group[one.group] = one.request_id


def _room(limits: Limits, runs: _Runs, most: int | None) -> float:
    """How many may be admitted at most."""
    room = float("inf") if most is None else most
    if limits.max_running_jobs is None:
        return room
    return min(room, limits.max_running_jobs - sum(runs.by_job.values()))


def _candidates(waiting: Iterable[Waiting], running: Running, shares: Shares, hands: bool, now: float) -> list[Waiting]:
    """Those that could start by their own limits, in order."""
    count, given, disabled = running.by_job.get, shares.given, running.disabled
    found = [
        one
        for one in waiting
        if (hands or not one.needs_ant)
        and (one.scheduled_at is None or one.scheduled_at <= now)
        and count(one.job_key, 0) < one.max_concurrency
        and (one.need is None or one.request_id in given)
        and not (disabled and one.job_key in disabled)
    ]
    found.sort(key=attrgetter("rank"))
    return found


def match(
    offers: Iterable[OfferView], ants: Sequence[AntView], shares: Shares = NOTHING_SHARED
) -> tuple[tuple[str, str], ...]:
    """(task execution, ant) for ready tasks: priority first, then who waits longest; spread over the ants. One that
    needs units of a shared resource must have got them."""
    hands = Hands(ants)
    pairs: list[tuple[str, str]] = []
    if not hands.total:
        return ()
    for offer in sorted(offers, key=lambda one: (-one.priority, one.ready_at, one.task_execution_id)):
        if not hands.total:
            break
        if offer.need is not None and offer.task_execution_id not in shares.given:
            continue
        ant_id = hands.take(offer)
        if ant_id is not None:
            pairs.append((offer.task_execution_id, ant_id))
    return tuple(pairs)
