"""D5, D8: what is due is done, whatever the clock, the disk or another timer does meanwhile."""

import time
from functools import partial

import anyio
import pytest

from formicary.runner.core.errors import WorldError
from formicary.runner.core.states import State
from formicary.runner.queen.arriving import clockwork
from formicary.runner.queen.timers import Timers

ONE = "job_type: ci\nscript: [make]\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("formicary.runner.queen.timers.AGAIN", 0.01)


async def test_a_timer_that_fails_is_tried_again_and_stops_no_other():
    fired, now = [], [0.0]
    timers = Timers(lambda: now[0])
    done = anyio.Event()

    async def broken():
        fired.append("broken")
        raise ValueError("broken")

    async def fine():
        fired.append("fine")
        done.set()

    timers.at(0.0, broken)
    timers.at(0.0, fine)
    async with anyio.create_task_group() as group:
        group.start_soon(timers.run)
        with anyio.fail_after(5):
            await done.wait()
        while fired.count("broken") < 5:
            now[0] += 1000
            timers._changed.set()
            await anyio.sleep(0)
        now[0] += 1000
        timers._changed.set()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert fired.count("broken") == 5 and fired.count("fine") == 1


async def test_a_schedule_goes_on_when_its_repository_is_there_again(hive, repo, monkeypatch):
    """D5: a run that could not be made when it was due is made later, and the next ones too."""
    monkeypatch.setattr("formicary.runner.queen.arriving.clockwork.AGAIN", 0.01)
    repo.commit({".formicary/ci.yml": "job_type: ci\ncron_trigger: '* * * * * * *'\nscript: [x]\n"})
    real, failures = clockwork.tracked_git, []

    def params(*args):
        if len(hive.requests()) == 1 and len(failures) < 2:
            failures.append(args)
            raise WorldError("the repository is away")
        return real(*args)

    monkeypatch.setattr(clockwork, "tracked_git", params)
    await hive.watch(repo)
    await hive.until(lambda: len(hive.requests()) >= 3)
    assert len(failures) == 2


async def test_a_clock_that_was_set_back_silences_no_schedule(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\ncron_trigger: '* * * * * * *'\nscript: [x]\n"})
    await hive.watch(repo)
    (definition,) = hive.store.read().definitions()
    await hive.store.write(lambda tx: tx.set_cron_last(definition.id, 4e9))
    hive.queen.registered([definition])
    before = len(hive.requests())
    await hive.until(lambda: len(hive.requests()) > before)


@pytest.mark.parametrize(("policy", "count"), [("latest", 1), ("all", 3), ("none", 0)])
async def test_what_was_missed_while_nothing_ran_follows_its_policy(open_hive, repo, policy, count):
    """Three days away: one run, or three, or none; each due time is a cause of its own, and is asked for once."""
    hour = (time.gmtime().tm_hour + 12) % 24
    job = f"job_type: ci\ncron_trigger: '0 {hour} * * *'\ncron_missed: {policy}\nscript: [x]\n"
    repo.commit({".formicary/ci.yml": job})
    async with open_hive() as hive:
        await hive.watch(repo)
        (definition,) = hive.store.read().definitions()
        before = len(hive.requests())
        last = time.time() - 3 * 86_400
        await hive.store.write(lambda tx: tx.set_cron_last(definition.id, last))
    async with open_hive() as hive:
        with anyio.fail_after(10):
            while (hive.store.read().cron_last(definition.id) or 0) <= last:  # of `none` nobody hears
                await anyio.sleep(0.01)
        made = hive.requests()[before:]
        assert [one.event for one in made] == ["schedule"] * count
        for _ in range(2):
            hive.queen.registered(hive.store.read().definitions())
        await anyio.wait_all_tasks_blocked()
        assert len(hive.requests()) == before + count


async def test_a_machine_that_slept_has_not_lost_its_ants(open_hive, repo):
    """A laptop that was closed for a night: the task goes on where it was, and does not run a second time."""
    repo.commit({".formicary/ci.yml": ONE})
    async with open_hive(lease_seconds=0.2) as hive:
        await hive.watch(repo)
        night = [0.0]
        engine = hive.queen._engine
        engine.clock = hive.queen._timers._clock = lambda: time.time() + night[0]
        request = await hive.submit()
        async with hive.ant() as ant:
            order = await ant.claim()
            night[0] = 30_000.0
            looked = anyio.Event()
            hive.queen._timers.at(engine.clock(), partial(anyio.sleep, 0))
            hive.queen._timers.at(engine.clock() + 0.1, lambda: _set(looked))
            await looked.wait()
            assert await hive.bus.heartbeat("a1", {order.task_execution_id: order.fence}) == frozenset()
            await ant.work(order)
            assert (await hive.ended(request.id)).state is State.COMPLETED
            assert len(hive.execution(request.id).tasks["ci"].attempts) == 1


async def _set(event):
    event.set()


async def test_an_ant_that_stays_silent_after_the_sleep_is_lost(open_hive, repo):
    repo.commit({".formicary/ci.yml": ONE})
    async with open_hive(lease_seconds=0.2) as hive:
        await hive.watch(repo)
        night = [0.0]
        hive.queen._engine.clock = hive.queen._timers._clock = lambda: time.time() + night[0]
        await hive.submit()
        async with hive.ant() as ant:
            await ant.claim()
            night[0] = 30_000.0
            assert (await ant.claim()).attempt == 2


async def test_the_time_limits_of_ended_jobs_are_forgotten(hive, repo):
    """A server that runs thousands of jobs an hour keeps nothing of those that have ended."""
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    async with hive.ant() as ant:
        for _ in range(200):
            request = await hive.submit()
            await ant.report(await ant.claim())
        await hive.ended(request.id)
    timers = hive.queen._timers
    assert len(timers._heap) <= 140 and len(timers._ended) <= 70


async def test_what_is_still_due_is_not_forgotten_with_the_rest():
    timers, fired = Timers(lambda: 10.0), anyio.Event()
    timers.at(5.0, lambda: _set(fired), 100)
    for owner in range(1, 100):
        timers.at(5.0, partial(anyio.sleep, 0), owner)
    for owner in range(1, 100):
        timers.forget(owner)
    assert len(timers._heap) < 100
    async with anyio.create_task_group() as group:
        group.start_soon(timers.run)
        with anyio.fail_after(5):
            await fired.wait()
        group.cancel_scope.cancel()
