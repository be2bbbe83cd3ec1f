"""Shared resources by example: who gets units, who is kept from them and why, and that many who wait cost little."""

from __future__ import annotations

import time

import pytest

from formicary.runner.core.schedule import AntView, Limits, OfferView, Running, Waiting, admit
from formicary.runner.core.semaphores import Claim, Need, Pool, Pools
from formicary.runner.core.sharing import share

NOW = 1_000.0
ANTS = [AntView("ant", frozenset(), frozenset({"SHELL"}), "linux", 4, 4)]


def need(value=1, **fields):
    return Need("db", value=value, **fields)


def waits(number, value=1, *, priority=0, wants=None, job="ci", **fields):
    fields = {"max_concurrency": 10, "tags": frozenset(), "methods": frozenset({"SHELL"}), **fields}
    return Waiting(
        request_id=number,
        organization_id="o",
        job_key=("o", 1, job),
        job_type=job,
        priority=priority,
        created_at=float(number),
        scheduled_at=None,
        need=wants or need(value),
        **fields,
    )


def task(request_id, value=1, *, holds=False):
    name = f"{request_id}-1"
    return OfferView(
        name,
        0,
        NOW,
        frozenset(),
        frozenset({"SHELL"}),
        True,
        "o",
        need(value),
        (0, float(request_id), request_id),
        holds,
    )


def shared(waiting, offers=(), *, quota=2, used=0, limits=None, running=None, pools=None):
    pools = Pools(pools or [Pool(1, "o", "db", quota=quota)])
    running = running or Running({}, {}, units={1: used})
    return share(waiting, offers, running, limits or Limits(), pools, ANTS, NOW)


def test_first_come_first_served_within_a_priority():
    assert dict(shared([waits(3), waits(1), waits(2)]).given) == {1: 1, 2: 1}
    assert dict(shared([waits(1), waits(2), waits(3, priority=5)]).given) == {3: 1, 1: 1}


def test_free_units_are_kept_for_who_wants_many():
    shares = shared([waits(1, 2), waits(2), waits(3)], used=1)
    assert not shares.given
    assert shares.reason(Claim(1, "o", need(2))) == "1 of 2 units of `db` are held, and it asks for 2"
    assert shares.reason(Claim(2, "o", need())) == "the free units of `db` are kept for request 1, which comes first"


def test_tasks_and_jobs_stand_in_one_line():
    """By the age of their requests; only who holds something already goes before all."""
    assert list(shared([waits(2)], [task(1), task(3)], quota=1).given) == ["1-1"]
    assert list(shared([waits(2)], [task(3)], quota=1).given) == [2]
    assert list(shared([waits(2)], [task(3, holds=True)], quota=1).given) == ["3-1"]


def test_what_could_not_start_anyway_keeps_nothing():
    """Else a job that waits for an ant that never comes, or for its own place, would stop all others."""
    lost = waits(1, 2, tags=frozenset({"gpu"}))
    full = waits(2, 2, job="full", max_concurrency=1)
    grouped = waits(3, 2, group=("o", 1, "g", True))
    off = waits(4, 2, job="off")
    running = Running(
        {("o", 1, "full"): 1}, {"o": 1}, {("o", 1, "g", True): (9,)}, {1: 0}, frozenset({("o", 1, "off")})
    )
    assert dict(shared([lost, full, grouped, off, waits(5)], running=running).given) == {5: 1}
    assert not shared([waits(1)], limits=Limits(max_running_of_organization=1), running=running).given
    assert not shared([waits(1)], limits=Limits(max_running_jobs=1), running=running).given


def test_no_more_get_units_than_places():
    shares = shared([waits(1, max_concurrency=1), waits(2, max_concurrency=1)])
    assert dict(shares.given) == {1: 1}


def test_the_fitting_pool_with_most_units_left_is_taken():
    pools = [
        Pool(1, "o", "db", quota=2),
        Pool(2, "o", "db", "linux", frozenset({"eu", "ssd"}), 3),
        Pool(3, "o", "db", quota=9, disabled=True),
        Pool(4, "other", "db", quota=9),
    ]
    assert [shared([waits(n) for n in range(1, 5)], pools=pools).given[n] for n in range(1, 5)] == [2, 1, 2, 1]
    only = need(tags=frozenset({"eu"}), platform="linux")
    assert dict(shared([waits(1, wants=only)], pools=pools).given) == {1: 2}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Need("gone"), "no resource `gone` is registered"),
        (need(platform="mac"), "no resource `db` with the platform mac is registered"),
        (need(tags=frozenset({"b", "a"})), "no resource `db` with the tag a and the tag b is registered"),
        (need(5), "it asks for 5 units of `db`, which has 2"),
    ],
)
def test_what_can_never_be_given(wanted, why):
    assert shared([waits(1, wants=wanted)]).reason(Claim(1, "o", wanted)) == why


def test_a_smaller_quota_takes_nothing_away():
    shares = shared([waits(1)], quota=1, used=3)
    assert shares.reason(Claim(1, "o", need())) == "3 of 1 units of `db` are held"


def best_of(times, call):
    found = []
    for _ in range(times):
        began = time.thread_time()
        call()
        found.append(time.thread_time() - began)
    return min(found)


def test_a_thousand_who_wait_for_one_semaphore_cost_milliseconds():
    """All of them looked at, which happens only where a page asks why each of them waits."""
    waiting, running = [waits(n, 1 + n % 3, max_concurrency=5000) for n in range(1000)], Running({}, {}, units={1: 2})
    pools = Pools([Pool(1, "o", "db", quota=3)])

    def everything():
        shares = share(waiting, (), running, Limits(), pools, ANTS, NOW)
        return admit(waiting, running, Limits(), ANTS, NOW, shares=shares)

    assert [one.request_id for one in everything().admissions] == [0]
    assert best_of(5, everything) < 0.05
