"""How long a request will wait: the queue played forward, and an honest no where that cannot be known."""

from __future__ import annotations

from math import inf

from formicary.runner.core.estimate import Estimate, Queue, Run, estimate
from formicary.runner.core.schedule import AntView, Limits, Waiting
from formicary.runner.core.semaphores import Need, Pool, Pools

NOW = 1_000.0


def ant(hands=1, tags=()):
    return AntView("ant", frozenset(tags), frozenset({"SHELL"}), "linux", 0, hands)


ONE_HAND = (ant(),)


def waits(number, job="ci", *, most=3, tags=(), **fields):
    fields = {"priority": 0, "scheduled_at": None, **fields}
    return Waiting(
        request_id=number,
        organization_id="o",
        job_key=("o", 1, job),
        job_type=job,
        created_at=float(number),
        max_concurrency=most,
        tags=frozenset(tags),
        methods=frozenset({"SHELL"}),
        **fields,
    )


def run(number, left, job="ci", hands=("ant",), **fields):
    return Run(number, ("o", 1, job), "o", NOW + left, ant_ids=hands, **fields)


def guess(request_id, waiting, runs=(), *, ants=ONE_HAND, pools=(), disabled=(), limits=None, **took):
    queue = Queue(waiting, runs, limits or Limits(), Pools(pools), ants, frozenset(disabled))
    return estimate(request_id, queue, lambda key: {"ci": 60.0, "slow": 600.0, **took}.get(key[2]), NOW)


def test_it_begins_at_once_where_a_hand_is_free():
    assert guess(1, [waits(1)]) == Estimate(0.0, 0)


def test_what_runs_and_what_comes_first_is_waited_for():
    waiting = [waits(1), waits(2, "slow"), waits(3), waits(4, priority=9), waits(5)]
    assert guess(3, waiting, [run(9, 30.0)]) == Estimate(30.0 + 60.0 + 60.0 + 600.0, 3)
    assert guess(4, waiting, [run(9, 30.0)]) == Estimate(30.0, 0)
    assert guess(3, waiting, [run(9, 30.0)], ants=[ant(2)]) == Estimate(60.0 + 30.0, 3)


def test_limits_groups_and_units_count():
    group = ("o", 1, "g", True)
    assert guess(2, [waits(1, most=1), waits(2, most=1)], ants=[ant(9)]).seconds == 60.0
    assert guess(1, [waits(1, group=group)], [run(9, 45.0, group=group)], ants=[ant(9)]).seconds == 45.0
    pool, need = Pool(1, "o", "db", quota=2), Need("db", value=2)
    held = [run(9, 20.0, units=((1, 1),)), run(8, 70.0, units=((1, 1),))]
    assert guess(1, [waits(1, need=need)], held, ants=[ant(9)], pools=[pool]).seconds == 70.0
    most = Limits(max_running_of_organization=1)
    assert guess(1, [waits(1)], [run(9, 15.0)], ants=[ant(9)], limits=most).seconds == 15.0


def test_what_is_due_later_waits_until_then():
    assert guess(1, [waits(1, scheduled_at=NOW + 500.0)]).seconds == 500.0


def test_where_it_cannot_be_known_that_is_said():
    unknown = guess(2, [waits(1, "new"), waits(2)])
    assert (unknown.seconds, unknown.ahead) == (None, 1) and "none has completed yet" in unknown.unknown
    assert guess(1, [waits(1)], [run(9, inf)]).seconds is None
    assert guess(1, [waits(1, tags=("gpu",))]) == Estimate(None, 0, "no ant has the tag gpu")
    assert guess(1, [waits(1)], ants=()) == Estimate(None, 0, "no ant is connected")
    off = guess(1, [waits(1)], disabled=[("o", 1, "ci")])
    assert off.unknown == "`ci` is disabled, and starts nothing until somebody enables it"
    many = guess(2000, [waits(n) for n in range(2001)])
    assert (many.seconds, many.ahead) == (None, 2000)


def test_the_own_job_need_not_have_completed_before():
    assert guess(1, [waits(1, "new")], [run(9, 5.0)]).seconds == 5.0
