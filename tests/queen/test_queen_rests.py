"""A job that runs again: it gives its place free while it rests, and is admitted anew; a restart forgets nothing."""

import pytest

from formicary.runner.core.errors import Conflict, WorldError
from formicary.runner.core.states import State

RESTS = """
job_type: ci
max_concurrency: 1
pause_time: {pause}
tasks:
  - task_type: build
    script: [make]
    on_exit_code: {{"3": {word}}}
  - {{task_type: test, needs: [build], script: [test]}}
"""


def rests(word="PAUSE_JOB", pause="1h"):
    return {".formicary/ci.yml": RESTS.format(word=word, pause=pause)}


@pytest.mark.parametrize(("word", "state"), [("PAUSE_JOB", State.PAUSED), ("RESTART_JOB", State.COMPLETED)])
async def test_a_resting_job_takes_nobodys_place(hive, repo, word, state):
    """max_concurrency 1: the next request runs while the first one rests."""
    repo.commit(rests(word))
    await hive.watch(repo)
    async with hive.ant() as ant:
        first, second = await hive.submit(), await hive.submit()
        await ant.work(await ant.claim(), exit_code=3)
        for _ in range(4 if word == "RESTART_JOB" else 2):
            await ant.work(await ant.claim())
        await hive.ended(second.id)
        if word == "RESTART_JOB":
            await hive.ended(first.id)
    assert hive.request(first.id).state is state and hive.request(second.id).state is State.COMPLETED


async def test_pause_and_resume(hive, repo):
    """By a person: nothing new starts, what runs finishes; and then it waits for its turn again."""
    repo.commit(rests("FATAL"))
    await hive.watch(repo)
    waits = await hive.submit()
    with pytest.raises(Conflict, match="has not begun"):
        await hive.queen.pause(waits.id, by="ada")
    async with hive.ant() as ant:
        build = await ant.claim()
        with pytest.raises(Conflict, match="is not paused"):
            await hive.queen.resume(waits.id, by="ada")
        await hive.queen.pause(waits.id, by="ada", reason="look first")
        await ant.work(build)
        await hive.until(lambda: hive.request(waits.id).state is State.PAUSED)
        assert "Paused by ada: look first" in hive.queen.why(waits.id)
        other = await hive.submit()
        taken = await ant.claim()
        assert taken.request_id == other.id, "its place is free"
        await hive.queen.resume(waits.id, by="ada")
        await ant.work(taken)
        await ant.work(await ant.claim())
        await hive.ended(other.id)
        test = await ant.claim()
        assert (test.request_id, test.task.task_type) == (waits.id, "test"), "build is kept"
        await ant.work(test)
        assert (await hive.ended(waits.id)).state is State.COMPLETED
    with pytest.raises(Conflict, match="ended"):
        await hive.queen.pause(waits.id, by="ada")


async def test_a_paused_job_survives_a_restart(open_hive, repo):
    """D7: it rests on, takes nobody's place, and can be resumed or cancelled."""
    repo.commit(rests())
    async with open_hive() as hive:
        await hive.watch(repo)
        async with hive.ant() as ant:
            first = await hive.submit()
            await ant.work(await ant.claim(), exit_code=3)
            await hive.until(lambda: hive.request(first.id).state is State.PAUSED)
    async with open_hive() as hive:
        second = await hive.submit()
        async with hive.ant() as ant:
            build = await ant.claim()
            assert build.request_id == second.id
            await hive.queen.cancel(second.id, by="ada")
            await ant.report(build, exit_code=143, error_code="ERR_CANCELLED")
            await hive.queen.resume(first.id, by="ada")
            again = await ant.claim()
            assert (again.request_id, again.task.task_type, again.attempt) == (first.id, "build", 2)
            await ant.work(again)
            await ant.work(await ant.claim())
            assert (await hive.ended(first.id)).state is State.COMPLETED


def unwritable(_):
    raise WorldError("the disk is full")


async def test_an_act_and_its_trace_are_one_change(hive, repo):
    """Where the trace cannot be written nothing is done: neither to what waits, nor to what rests."""
    repo.commit(rests())
    await hive.watch(repo)
    waits = await hive.submit()
    with pytest.raises(WorldError):
        await hive.queen.cancel(waits.id, by="ada", also=unwritable)
    assert hive.request(waits.id).state is State.PENDING
    async with hive.ant() as ant:
        await ant.work(await ant.claim(), exit_code=3)
        await hive.until(lambda: hive.request(waits.id).state is State.PAUSED)
        before = hive.execution(waits.id)
        with pytest.raises(WorldError):
            await hive.queen.resume(waits.id, by="ada", also=unwritable)
        assert hive.execution(waits.id) == before
        traces = []
        await hive.queen.resume(waits.id, by="ada", also=lambda tx: traces.append(tx.execution(1).retry_at))
        assert len(traces) == 1 and traces[0] < before.retry_at, "written in the change that does it"
        await ant.work(await ant.claim())
        await ant.work(await ant.claim())
        await hive.ended(waits.id)


async def test_resumed_before_its_turn_it_goes_on_after_a_restart(open_hive, repo):
    """D7: what was answered is on disk."""
    repo.commit(rests())
    async with open_hive() as hive:
        await hive.watch(repo)
        async with hive.ant() as ant:
            first = await hive.submit()
            await ant.work(await ant.claim(), exit_code=3)
            await hive.until(lambda: hive.request(first.id).state is State.PAUSED)
            await hive.submit()
            taken = await ant.claim()  # the only place
            await hive.queen.resume(first.id, by="ada")
            assert hive.request(first.id).state is State.PAUSED
            hive.queen._board.workers["a1"].running.clear()  # the process ends without a word
    async with open_hive() as hive, hive.ant() as ant:
        await ant.work(taken)
        await ant.work(await ant.claim())
        again = await ant.claim()
        assert (again.request_id, again.attempt) == (first.id, 2)


async def test_a_resting_job_that_waits_for_its_turn_can_be_cancelled(hive, repo):
    repo.commit(rests("RESTART_JOB"))
    await hive.watch(repo)
    async with hive.ant() as ant:
        first, second = await hive.submit(), await hive.submit()
        await ant.work(await ant.claim(), exit_code=3)
        running = await ant.claim()
        assert running.request_id == second.id
        await hive.queen.cancel(first.id, by="ada")
        assert (await hive.ended(first.id)).state is State.CANCELLED
        await ant.work(running)
        await ant.work(await ant.claim())
        await hive.ended(second.id)
        third = await hive.submit()
        await ant.work(await ant.claim())
        await ant.work(await ant.claim())
        assert (await hive.ended(third.id)).state is State.COMPLETED, "the count of what runs is right"


async def test_polls_are_offered_again_and_old_ones_forgotten(hive, repo):
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\ntasks:\n"
            '  - {task_type: t, script: [ask], delay_between_retries: 1ms, on_exit_code: {"3": EXECUTING}}\n'
        }
    )
    await hive.watch(repo)
    async with hive.ant() as ant:
        request = await hive.submit()
        ids = []
        for _ in range(22):
            order = await ant.claim()
            await ant.log(order, "not yet\n")
            ids.append(order.task_execution_id)
            await ant.work(order, exit_code=3)
        await ant.work(await ant.claim())
        ended = await hive.ended(request.id)
    assert ended.state is State.COMPLETED
    assert hive.logs.read(ids[0]) == b"" and hive.logs.read(ids[-1]), "logs of old polls are gone"
