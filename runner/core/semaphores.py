"""Shared resources as semaphores: who gets units of which pool, first come, first served, whatever the amount. Pure.

A pool is closed behind the first who waits for it, so that many who want little never keep out one who wants much.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from formicary.runner.core.definition import ExtractConfig, Resource


@dataclass(frozen=True, slots=True)
class Need:
    """`value` units of a pool of this type, this platform (if any) and all of these tags. `extract`: which of its
    properties the holder wants to know."""

    resource_type: str
    platform: str = ""
    tags: frozenset[str] = frozenset()
    value: int = 1
    extract: ExtractConfig | None = field(default=None, compare=False)

    @classmethod
    def of(cls, resource: Resource | None) -> Need | None:
        if resource is None:
            return None
        tags = frozenset(resource.tags)
        return cls(resource.resource_type, resource.platform, tags, resource.value, resource.extract_config)

    def __str__(self) -> str:
        platform = [f"the platform {self.platform}"] if self.platform else []
        tags = [f"the tag {tag}" for tag in sorted(self.tags)]
        return f"`{self.resource_type}`" + (f" with {' and '.join(platform + tags)}" if platform or tags else "")


@dataclass(frozen=True, slots=True)
class Pool:
    """A registered resource: so many units of it may be held at a time."""

    id: int
    organization_id: str
    resource_type: str
    platform: str = ""
    tags: frozenset[str] = frozenset()
    quota: int = 1
    disabled: bool = False

    def suits(self, organization_id: str, need: Need) -> bool:
        """Whether it is what is asked for, however much of it is there."""
        return (
            self.organization_id == organization_id
            and self.resource_type == need.resource_type
            and need.platform in ("", self.platform)
            and need.tags <= self.tags
        )


class Pools:
    """What is registered, by what it is called."""

    __slots__ = ("_by_type", "by_id")

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self.by_id = {pool.id: pool for pool in pools}
        self._by_type: dict[tuple[str, str], list[Pool]] = {}
        for pool in self.by_id.values():
            self._by_type.setdefault((pool.organization_id, pool.resource_type), []).append(pool)

    def suiting(self, organization_id: str, need: Need) -> list[Pool]:
        found = self._by_type.get((organization_id, need.resource_type), ())
        return [pool for pool in found if pool.suits(organization_id, need)]

    def reason(self, organization_id: str, need: Need) -> str:
        """Why no pool could ever give this, as it is registered now; "" if one could."""
        suiting = self.suiting(organization_id, need)
        if not suiting:
            return f"no resource {need} is registered"
        open_ = [pool for pool in suiting if not pool.disabled]
        if not open_:
            return f"the resource {need} is disabled"
        most = max(pool.quota for pool in open_)
        return "" if need.value <= most else f"it asks for {need.value} units of {need}, which has {most}"


class Units:
    """The units, as they are given away in one pass. `used`: pool → units that are held already."""

    __slots__ = ("_behind", "_hopeless", "_pools", "_used")

    def __init__(self, pools: Pools, used: Mapping[int, int]) -> None:
        self._pools = pools
        self._used = dict(used)
        self._behind: dict[int, Hashable] = {}
        self._hopeless: set[tuple[str, Need]] = set()

    def take(self, organization_id: str, need: Need, who: Hashable) -> int | None:
        """The pool that gives the units: the one with most of them left; None where none can now.

        Then the pool that is nearest to it gives nothing to those who ask later, until `who` has had his.
        """
        if (organization_id, need) in self._hopeless:
            return None
        suiting = [pool for pool in self._pools.suiting(organization_id, need) if not pool.disabled]
        open_ = [pool for pool in suiting if pool.id not in self._behind and need.value <= pool.quota]
        best = max(open_, key=lambda pool: (self._left(pool), -pool.id), default=None)
        if best is not None and need.value <= self._left(best):
            self._used[best.id] = self._used.get(best.id, 0) + need.value
            return best.id
        if best is not None:
            self._behind[best.id] = who
        self._hopeless.add((organization_id, need))
        return None

    def _left(self, pool: Pool) -> int:
        return pool.quota - self._used.get(pool.id, 0)


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody who would start now, if he had the units. `who`: a request's id, or a task execution's."""

    who: Hashable
    organization_id: str
    need: Need


@dataclass(frozen=True, slots=True)
class Shares:
    """Who was given units of which pool in one pass, and who asked for some, in the order in which they were asked."""

    given: Mapping[Hashable, int]
    claims: Sequence[Claim]
    pools: Pools
    used: Mapping[int, int]

    def reason(self, claim: Claim, started: Collection[Hashable] = ()) -> str:
        """Why these units were not given; "" if they were, or if it is not for them. `started`: those that were given
        units and have them now."""
        if claim.who in self.given:
            return ""
        if never := self.pools.reason(claim.organization_id, claim.need):
            return never
        suiting = self.pools.suiting(claim.organization_id, claim.need)
        held = {pool.id: self._held(pool, started) for pool in suiting if not pool.disabled}
        best = max((pool for pool in suiting if pool.id in held), key=lambda pool: pool.quota - held[pool.id])
        if claim.need.value > best.quota - held[best.id]:
            asked = f", and it asks for {claim.need.value}" if claim.need.value > 1 else ""
            return f"{held[best.id]} of {best.quota} units of {claim.need} are held{asked}"
        first = self._first(claim, started)
        return f"the free units of {claim.need} are kept for {_named(first.who)}, which comes first" if first else ""

    def _held(self, pool: Pool, started: Collection[Hashable]) -> int:
        got = (claim.need.value for claim in self.claims if claim.who in started and self.given[claim.who] == pool.id)
        return self.used.get(pool.id, 0) + sum(got)

    def _first(self, claim: Claim, started: Collection[Hashable]) -> Claim | None:
        """The first one before it that wants of the same pools and has nothing yet; None for who did not ask at all,
        because somebody else has his place."""
        if all(other.who != claim.who for other in self.claims):
            return None
        pools = {pool.id for pool in self.pools.suiting(claim.organization_id, claim.need)}
        for other in self.claims:
            if other.who == claim.who:
                return None
            wanted = self.pools.suiting(other.organization_id, other.need)
            if other.who not in started and any(pool.id in pools for pool in wanted):
                return other
        return None


NOTHING_SHARED: Final = Shares({}, (), Pools(), {})


def _named(who: Hashable) -> str:
    return f"request {who}" if isinstance(who, int) else f"the task execution {who}"
