"""`share`, `match` and `admit` over time: limits hold, nobody starves or is overtaken, every reason given is true."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from formicary.runner.core.schedule import AntView, Limits, OfferView, Running, Waiting, admit, match
from formicary.runner.core.semaphores import Need, Pool, Pools
from formicary.runner.core.sharing import share

TAGS, METHODS = st.frozensets(st.sampled_from("xy"), max_size=1), st.frozensets(st.sampled_from(("SHELL", "DOCKER")))
DEPTH = st.none() | st.integers(0, 3)
ORGANIZATIONS = st.sampled_from(("o", "o", "p"))
NEEDS = st.none() | st.builds(
    Need,
    st.sampled_from(("db", "db", "db", "db", "bus", "gone")),
    tags=st.sampled_from((frozenset(), frozenset(), frozenset("a"))),
    value=st.integers(1, 3),
)
_POOL = st.tuples(ORGANIZATIONS, st.sampled_from(("db", "db", "bus")), st.booleans(), st.integers(1, 3), st.booleans())
#: One that many want, of which there is too little, and perhaps others.
POOLS = st.builds(
    lambda first, more: [first, *more],
    st.tuples(st.just("o"), st.just("db"), st.just(False), st.integers(2, 3), st.just(False)) | _POOL,
    st.lists(_POOL, max_size=2),
)


class Queue(RuleBasedStateMachine):
    @initialize(
        hands=st.lists(st.tuples(st.integers(1, 3), TAGS, METHODS, st.booleans()), max_size=3)
        | st.just([(3, frozenset(), frozenset({"SHELL", "DOCKER"}), True)]),
        limits=st.builds(Limits, st.sampled_from((None, None, 1, 3)), st.sampled_from((None, None, 1, 2))),
        pools=POOLS,
    )
    def start(self, hands, limits, pools):
        self.hands = {f"ant-{n}": one for n, one in enumerate(hands)}
        self.limits = limits
        self.pools = [
            Pool(n, organization, kind, tags=frozenset("a") if tagged else frozenset(), quota=quota, disabled=off)
            for n, (organization, kind, tagged, quota, off) in enumerate(pools, 1)
        ]
        self.now, self.next_id = 100.0, 1
        self.disabled = set()
        self.waiting, self.running = {}, {}
        self.offers, self.tasks = {}, {}

    @rule(
        job=st.sampled_from("abc"),
        organization=ORGANIZATIONS,
        priority=st.sampled_from((0, 0, 5)),
        delay=st.sampled_from((None, None, None, 0.0, 15.0)),
        most=st.integers(1, 3),
        tags=TAGS,
        methods=METHODS,
        needs_ant=st.sampled_from((True, True, True, False)),
        trusted=st.sampled_from((True, True, False)),
        group=st.sampled_from((None, None, "g", "h")),
        need=NEEDS,
    )
    def ask(self, job, organization, priority, *, delay, group, **fields):
        due = None if delay is None else self.now + delay
        one = Waiting(
            request_id=self.next_id,
            organization_id=organization,
            job_key=(organization, None, job),
            job_type=job,
            priority=priority,
            created_at=self.now,
            scheduled_at=due,
            max_concurrency=fields.pop("most"),
            group=(organization, None, group, True) if group else None,
            **fields,
        )
        self.waiting[one.request_id] = one
        self.next_id += 1

    @rule(values=st.lists(st.integers(1, 3), min_size=2, max_size=4))
    def crowd(self, values):
        """Some who could all begin at once, but for the resource."""
        none = {"tags": frozenset(), "methods": frozenset(), "trusted": True, "delay": None, "group": None}
        for job, value in zip("abca", values, strict=False):
            self.ask(job, "o", 0, most=3, needs_ant=False, need=Need("db", value=value), **none)

    @rule(need=NEEDS, data=st.data())
    def offer(self, need, data):
        """A job that runs has a task that is ready."""
        if self.running:
            request_id = data.draw(st.sampled_from(sorted(self.running)))
            one, _, pool_id = self.running[request_id]
            name = f"{request_id}-{len(self.offers) + len(self.tasks)}"
            if name not in self.tasks:
                self.offers[name] = OfferView(
                    name, one.priority, self.now, one.tags, one.methods, one.trusted, one.organization_id, need,
                    one.rank, pool_id is not None,
                )  # fmt: skip

    @rule(seconds=st.sampled_from((1.0, 10.0)))
    def pass_time(self, seconds):
        self.now += seconds

    @rule(job=st.sampled_from("abc"), organization=ORGANIZATIONS)
    def switch(self, job, organization):
        self.disabled ^= {(organization, None, job)}

    @rule(index=st.integers(0, 2))
    def switch_pool(self, index):
        if index < len(self.pools):
            self.pools[index] = replace(self.pools[index], disabled=not self.pools[index].disabled)

    @rule(data=st.data())
    def end(self, data):
        if self.running:
            self.end_one(data.draw(st.sampled_from(sorted(self.running))))

    def end_one(self, request_id):
        del self.running[request_id]
        for known in (self.offers, self.tasks):
            for name in [name for name in known if name.startswith(f"{request_id}-")]:
                del known[name]

    @rule(data=st.data())
    def end_task(self, data):
        if self.tasks:
            del self.tasks[data.draw(st.sampled_from(sorted(self.tasks)))]

    @rule(most=DEPTH, order=st.randoms(use_true_random=False))
    def admit(self, most, order):
        waiting = list(self.waiting.values())
        order.shuffle(waiting)
        self.step(waiting, most)

    # -- one round, and what must hold after it -----------------------------------------------------------------------

    def ants(self):
        used = Counter(ant_id for _, ant_id, _ in self.running.values())
        used.update(ant_id for _, ant_id, _ in self.tasks.values())
        return [
            AntView(name, tags, methods, "", max(count - used[name], 0), count, isolates)
            for name, (count, tags, methods, isolates) in self.hands.items()
        ]

    def runs(self):
        groups = {one.group: (one.request_id,) for one, _, _ in self.running.values() if one.group}
        return Running(
            Counter(one.job_key for one, _, _ in self.running.values()),
            Counter(one.organization_id for one, _, _ in self.running.values()),
            groups,
            self.held(),
            self.disabled,
        )

    def held(self):
        units = Counter()
        for one, _, pool_id in (*self.running.values(), *self.tasks.values()):
            if pool_id is not None:
                units[pool_id] += one.need.value
        return units

    def step(self, waiting, most=None):
        pools, runs = Pools(self.pools), self.runs()
        shares = share(waiting, self.offers.values(), runs, self.limits, pools, self.ants(), self.now)
        self.check_order(shares)
        for name, ant_id in match(self.offers.values(), self.ants(), shares):
            self.tasks[name] = (self.offers.pop(name), ant_id, shares.given.get(name))
        ants = self.ants()
        admitted = admit(waiting, self.runs(), self.limits, ants, self.now, shares=shares, most=most)
        assert most is None or len(admitted.admissions) <= most
        for admission in admitted.admissions:
            self.begin(admission, ants)
        self.check_limits()
        ranks = [self.running[a.request_id][0].rank for a in admitted.admissions]
        assert ranks == sorted(ranks)
        later = [w.scheduled_at for w in waiting if w.scheduled_at is not None and w.scheduled_at > self.now]
        assert admitted.next_at == min(later, default=None)
        for one in self.waiting.values():
            self.check_reason(one, admitted.reason(one.request_id), admitted, most)
        return admitted

    def begin(self, admission, ants):
        one = self.waiting.pop(admission.request_id)
        older = [other for other in self.waiting.values() if other.rank < one.rank]
        assert not any(self.startable(other) for other in older), "passed by one that came later"
        runs = self.runs()
        assert one.scheduled_at is None or one.scheduled_at <= self.now
        assert (admission.ant_id is not None) == one.needs_ant
        assert (admission.pool_id is not None) == (one.need is not None)
        assert runs.by_job[one.job_key] < one.max_concurrency and one.job_key not in self.disabled
        assert one.group not in runs.by_group
        if admission.pool_id is not None:
            pool = next(pool for pool in self.pools if pool.id == admission.pool_id)
            assert pool.suits(one.organization_id, one.need) and not pool.disabled
        self.running[one.request_id] = (one, admission.ant_id, admission.pool_id)
        if admission.ant_id:
            assert self.able(next(ant for ant in ants if ant.ant_id == admission.ant_id), one)

    def check_limits(self):
        used = Counter(ant_id for _, ant_id, _ in (*self.running.values(), *self.tasks.values()) if ant_id)
        assert all(used[name] <= count for name, (count, *_) in self.hands.items()), "more hands than there are"
        assert self.limits.max_running_jobs is None or len(self.running) <= self.limits.max_running_jobs
        most = self.limits.max_running_of_organization
        assert most is None or all(count <= most for count in self.runs().by_organization.values())
        held = self.held()
        assert all(held[pool.id] <= pool.quota for pool in self.pools), "more units than there are"

    def check_order(self, shares):
        """Nobody gets units of a pool while somebody waits for it who was to have his before."""
        behind = set()
        for claim in shares.claims:
            suiting = {pool.id for pool in shares.pools.suiting(claim.organization_id, claim.need) if not pool.disabled}
            if claim.who in shares.given:
                assert shares.given[claim.who] not in behind
            elif len(suiting) == 1:
                (pool,) = (shares.pools.by_id[pool_id] for pool_id in suiting)
                behind |= suiting if claim.need.value <= pool.quota else set()
        order = {name: (not one.holds, one.rank) for name, one in self.offers.items()}
        order |= {request_id: (True, one.rank) for request_id, one in self.waiting.items()}
        assert [order[claim.who] for claim in shares.claims] == sorted(order[claim.who] for claim in shares.claims)

    @staticmethod
    def able(ant, one):
        safe = one.trusted or ant.isolates or (one.methods and "SHELL" not in one.methods)
        return one.tags <= ant.tags and one.methods <= ant.methods and safe

    def startable(self, one):
        """Whether its own limits, seen alone, would let it start now."""
        hand = not one.needs_ant or any(ant.free > 0 and self.able(ant, one) for ant in self.ants())
        room = self.limits.max_running_jobs is None or len(self.running) < self.limits.max_running_jobs
        most, runs = self.limits.max_running_of_organization, self.runs()
        room = room and (most is None or runs.by_organization[one.organization_id] < most)
        due = one.scheduled_at is None or one.scheduled_at <= self.now
        free = runs.by_job[one.job_key] < one.max_concurrency and one.group not in runs.by_group
        return hand and room and due and free and one.job_key not in self.disabled and one.need is None

    def check_reason(self, one, reason, admitted, most):
        able = [ant for ant in self.ants() if self.able(ant, one)]
        numbers = [int(text) for text in re.findall(r"\d+", reason)]
        runs, pools = (
            self.runs(),
            [pool for pool in self.pools if one.need and pool.suits(one.organization_id, one.need)],
        )
        open_ = [pool for pool in pools if not pool.disabled]
        left = {pool.id: pool.quota - runs.units[pool.id] for pool in open_}
        if reason.startswith("is due"):
            assert one.scheduled_at > self.now
        elif "until somebody enables it" in reason:
            assert one.job_key in self.disabled
        elif "max_concurrency" in reason:
            assert numbers[:2] == [runs.by_job[one.job_key], one.max_concurrency] and numbers[0] >= numbers[1]
        elif "concurrency group" in reason:
            assert runs.by_group[one.group] == (numbers[0],)
        elif "limit_running" in reason:
            limit = self.limits.max_running_of_organization
            assert numbers[:2] == [runs.by_organization[one.organization_id], limit] and numbers[0] >= numbers[1]
        elif "max_running_jobs" in reason:
            assert numbers[:2] == [len(self.running), self.limits.max_running_jobs] and numbers[0] >= numbers[1]
        elif reason.endswith("is registered"):
            assert not pools
        elif reason.endswith("is disabled"):
            assert pools and not open_
        elif reason.startswith("it asks for"):
            assert numbers == [one.need.value, max(pool.quota for pool in open_)] and numbers[0] > numbers[1]
        elif " are held" in reason:
            assert one.need.value > max(left.values()) and numbers[1] - numbers[0] == max(left.values())
        elif reason.startswith("the free units"):
            first = self.waiting.get(numbers[-1]) or next(iter(self.offers.values()))
            assert first.need and any(pool.suits(first.organization_id, first.need) for pool in pools)
        elif reason.endswith("busy"):
            assert able and not any(ant.free for ant in able)
            assert "only" in reason or numbers == [sum(ant.hands for ant in able)]
        elif reason.startswith("no ant"):
            assert one.needs_ant and not able
        elif reason.startswith("waits behind request"):
            ahead = self.running.get(numbers[0], (self.waiting.get(numbers[0]),))[0]
            assert len(admitted.admissions) == most or one.need is not None
            assert ahead.rank < one.rank
        else:
            assert reason == "no request is admitted at the moment" and most == 0
        if most is None:
            assert not self.startable(one), "it could have started"

    def teardown(self):
        """Nobody starves: as hands and units free up, everybody whose limits allow it starts, within bounded rounds."""
        if not hasattr(self, "hands"):
            return
        self.now += 100.0
        self.disabled.clear()
        self.pools = [replace(pool, disabled=False) for pool in self.pools]
        self.offers.clear()
        for _ in range(len(self.waiting) + len(self.running) + len(self.tasks) + 1):
            if self.running:
                self.end_one(min(self.running))
            self.step(list(self.waiting.values()))
        for one in self.waiting.values():
            never = one.need and Pools(self.pools).reason(one.organization_id, one.need)
            assert never or (one.needs_ant and not any(self.able(ant, one) for ant in self.ants()))


class More(Queue):
    """Other runs each time, and many of them."""


# The same runs everywhere.
BOUNDS = settings(stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestQueue = Queue.TestCase
TestQueue.settings = settings(BOUNDS, max_examples=150, derandomize=True)
TestMore = pytest.mark.soak(More.TestCase)
TestMore.settings = settings(BOUNDS, max_examples=3000, derandomize=False, database=None)
