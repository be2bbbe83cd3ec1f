"""Who takes which place: running jobs by kind, organization and concurrency group; units of shared resources.

A place is taken when somebody is admitted, or gets a task, and given free when he ends, or rests, or it came to
nothing. What was registered (pools, disabled definitions, limits that somebody has set) is known here too. No I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from formicary.runner.core.definition import ExtractConfig, Value
from formicary.runner.core.execution import Held
from formicary.runner.core.records import Definition, JobResource
from formicary.runner.core.schedule import Group, Running
from formicary.runner.core.semaphores import Need, Pool, Pools

JobKey = tuple[str, int | None, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What one running job takes."""

    request_id: int
    key: JobKey
    group: Group | None = None
    held: Held | None = None


class Places:
    def __init__(self) -> None:
        self.pools = Pools()
        self.disabled: set[JobKey] = set()
        self._limits: dict[JobKey, int] = {}
        self._resources: dict[int, JobResource] = {}
        self._by_job: Counter[JobKey] = Counter()
        self._by_organization: Counter[str] = Counter()
        self._by_group: dict[Group, list[int]] = {}
        self._units: Counter[int] = Counter()

    # What is registered

    def register(self, resources: Iterable[JobResource]) -> None:
        """These are all the shared resources that there are."""
        self._resources = {one.id: one for one in resources}
        self.pools = Pools(pool_of(one) for one in self._resources.values())

    def switch(self, definition: Definition) -> None:
        """Whether it is disabled, and the limit that somebody has set."""
        key = (definition.organization_id, definition.repository_id, definition.job_type)
        (self.disabled.add if definition.disabled else self.disabled.discard)(key)
        if definition.max_concurrency is None:
            self._limits.pop(key, None)
        else:
            self._limits[key] = definition.max_concurrency

    def limit(self, key: JobKey, otherwise: int) -> int:
        """How many of these jobs may run at a time, where the definition says `otherwise`."""
        return self._limits.get(key, otherwise)

    def held(self, pool_id: int, need: Need) -> Held:
        """These units of the pool, and the variables that come with them."""
        resource = self._resources.get(pool_id)
        variables = variables_of(resource, need.extract) if resource and need.extract else {}
        return Held(resource_id=pool_id, resource_type=need.resource_type, value=need.value, variables=variables)

    def unknown(self, organization_id: str, need: Need) -> str:
        """Why no pool could ever give this, if none of this kind is registered at all."""
        return "" if self.pools.suiting(organization_id, need) else self.pools.reason(organization_id, need)

    # What is taken

    def running(self) -> Running:
        return Running(self._by_job, self._by_organization, self._by_group, self._units, self.disabled)

    def take(self, place: Place) -> None:
        self._by_job[place.key] += 1
        self._by_organization[place.key[0]] += 1
        if place.group is not None:
            self._by_group.setdefault(place.group, []).append(place.request_id)
        self.hold(place.held)

    def give(self, place: Place) -> None:
        self._by_job[place.key] -= 1
        self._by_organization[place.key[0]] -= 1
        if place.group is not None:
            self._by_group[place.group].remove(place.request_id)
            if not self._by_group[place.group]:
                del self._by_group[place.group]
        self.release(place.held)

    def hold(self, held: Held | None) -> None:
        if held is not None:
            self._units[held.resource_id] += held.value

    def release(self, held: Held | None) -> None:
        if held is not None:
            self._units[held.resource_id] -= held.value

    def units(self) -> dict[int, int]:
        """Pool → units of it that are held."""
        return {pool_id: units for pool_id, units in self._units.items() if units}

    def job_is_full(self, key: JobKey, most: int, count: int = 0) -> bool:
        """Whether with `count` more of them as many run as may."""
        return self._by_job[key] + count >= most

    def may_start(self, group: Group | None, need: Need | None, organization_id: str) -> bool:
        """Whether anybody of this group, with this need, could start by these alone."""
        if group is not None and group in self._by_group:
            return False
        if need is None:
            return True
        suiting = self.pools.suiting(organization_id, need)
        return any(not pool.disabled and pool.quota - self._units[pool.id] >= need.value for pool in suiting)


def pool_of(resource: JobResource) -> Pool:
    return Pool(
        id=resource.id,
        organization_id=resource.organization_id,
        resource_type=resource.resource_type,
        platform=resource.platform,
        tags=frozenset(resource.tags),
        quota=resource.quota,
        disabled=resource.disabled,
    )


def variables_of(resource: JobResource, extract: ExtractConfig) -> dict[str, Value]:
    """`<prefix>_<property>` for each property that is named, or for all."""
    names = extract.properties or tuple(resource.configs)
    return {variable(extract, name): resource.configs[name] for name in names if name in resource.configs}


def variable(extract: ExtractConfig, name: str) -> str:
    return f"{extract.context_prefix}_{name}" if extract.context_prefix else name
