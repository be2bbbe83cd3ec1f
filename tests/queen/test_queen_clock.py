"""A clock that is set, an hour forth or back: what lasts so long lasts as long, what has its hour comes then."""

import time

import anyio
import pytest

from formicary.runner.core.states import State
from formicary.runner.queen.timers import Timers

HOUR = 3600.0
JOB = "job_type: ci\ntimeout: {timeout}\ntasks: [{{task_type: t, script: [make]}}, {{task_type: u, script: [x]}}]\n"


class Wall:
    """The clock on the wall, which somebody sets."""

    def __init__(self):
        self.by = 0.0

    def __call__(self):
        return time.time() + self.by


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
async def hive(open_hive, wall):
    async with open_hive(clocks=(wall, time.monotonic)) as opened:
        yield opened


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_a_job_has_the_time_that_it_was_given(hive, repo, wall, by):
    """Neither ended early, nor forgotten; an execution that begins after it has its own time."""
    repo.commit({".formicary/ci.yml": JOB.format(timeout="30m")})
    await hive.watch(repo)
    async with hive.ant(hands=4) as ant:
        before = await hive.submit()
        first = await ant.claim()
        wall.by = by
        hive.queen._timers._changed.set()  # whatever else is due wakes her
        after = await hive.submit()
        for order in (first, *[await ant.claim() for _ in range(3)]):
            await ant.report(order, "EXECUTING")
            await ant.report(order)
        ended = [await hive.ended(request.id) for request in (before, after)]
        assert [one.state for one in ended] == [State.COMPLETED] * 2


async def test_the_moments_of_an_execution_move_with_the_clock(hive, repo, wall):
    repo.commit({".formicary/ci.yml": JOB.format(timeout="30m")})
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        before = hive.execution(request.id)
        wall.by = HOUR
        await ant.report(order, "EXECUTING")
        await hive.until(lambda: hive.execution(request.id).tasks["t"].state is State.EXECUTING)
        with anyio.fail_after(10):
            while hive.execution(request.id).deadline == before.deadline:
                await anyio.sleep(0.01)
        moved = hive.execution(request.id).deadline - before.deadline
        assert moved == pytest.approx(HOUR, abs=2)
        await ant.report(order)
        await ant.work(await ant.claim())
        await hive.ended(request.id)


async def test_a_clock_that_is_set_back_gives_no_job_an_hour_more(hive, repo, wall):
    repo.commit({".formicary/ci.yml": JOB.format(timeout="1s")})
    await hive.watch(repo)
    async with hive.ant(hands=2) as ant:
        request = await hive.submit()
        orders = [await ant.claim() for _ in range(2)]
        wall.by = -HOUR
        with anyio.fail_after(10):
            while not hive.execution(request.id).timed_out:
                await anyio.sleep(0.01)
        for order in orders:
            await ant.report(order, exit_code=143, error_code="ERR_CANCELLED")
        ended = await hive.ended(request.id)
    assert ended.state is State.FAILED and ended.error_code == "ERR_TIMEOUT"


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_an_ant_that_is_lost_is_noticed_as_soon(open_hive, repo, wall, by):
    """D2: its lease runs out by the time that passes; one that says something keeps it."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    async with open_hive(clocks=(wall, time.monotonic), lease_seconds=1.0) as hive, hive.ant() as ant:
        await hive.watch(repo)
        request = await hive.submit()
        order = await ant.claim()
        wall.by = by
        assert await hive.bus.heartbeat("a1", {order.task_execution_id: order.fence}) == frozenset()
        with anyio.fail_after(10):
            while not hive.execution(request.id).tasks["ci"].attempts[0].error_code:
                await anyio.sleep(0.01)
        assert hive.execution(request.id).tasks["ci"].attempts[0].error_code == "ERR_ANT_LOST"


async def test_what_has_its_hour_comes_at_that_hour(hive, repo, wall):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [make]\n"})
    await hive.watch(repo)
    later = await hive.submit(scheduled_at=wall() + HOUR / 2)
    async with hive.ant(hands=2) as ant:
        wall.by = HOUR
        now = await hive.submit()
        assert {(await ant.claim()).request_id, (await ant.claim()).request_id} == {later.id, now.id}


async def test_small_steps_are_the_clocks_own_business():
    """A clock that is kept right goes a little faster or slower; nobody is told, and nothing gathers."""
    now, steady, told = [1000.0], [0.0], []
    timers = Timers(lambda: now[0], lambda: steady[0])
    timers.heed(told.append)
    for _ in range(100):
        now[0], steady[0] = now[0] + 61.0, steady[0] + 60.0
        timers.notice()
    assert told == []
    now[0] += 3600.0
    timers.notice()
    timers.notice()
    assert told == [3600.0]
