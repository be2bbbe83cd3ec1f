"""Limits and switches of a running queen: disabled definitions, limits that are set, an organization's share."""

from __future__ import annotations

import time

import anyio
import pytest

from formicary.runner.core.errors import Conflict
from formicary.runner.core.records import JobResource
from formicary.runner.core.schedule import Limits
from formicary.runner.core.states import State

CI = "job_type: ci\nmax_concurrency: {most}\ntriggers: {{push: {{}}}}\nscript: [make]\n"


async def watched(hive, repo, most=3):
    repo.commit({".formicary/ci.yml": CI.format(most=most)})
    stored = await hive.watch(repo)
    return stored, hive.store.read().definition_named("ci")


async def test_a_disabled_definition_starts_nothing_and_says_so(hive, repo):
    """D11: what a commit would have started ends SKIPPED, so that no check waits for it."""
    stored, definition = await watched(hive, repo)
    (first,) = hive.requests()
    await hive.queen.registry.disable(definition.id, True)
    assert hive.queen.why(first.id) == "`ci` is disabled, and starts nothing until somebody enables it"
    with pytest.raises(Conflict, match="`ci` is disabled"):
        await hive.submit()
    with pytest.raises(Conflict, match="`ci` is disabled"):
        await hive.submit(ref="main")
    repo.commit(message="more")
    await hive.reconciler.sync(stored.id)
    second = hive.requests()[-1]
    assert (second.state, second.reason) == (State.SKIPPED, "`ci` is disabled")
    assert hive.store.read().definition(definition.id).disabled, "a new text enables nothing"
    async with hive.ant() as ant:
        await hive.queen.registry.disable(definition.id, False)
        await ant.work(await ant.claim())
        assert (await hive.ended(first.id)).state is State.COMPLETED
        await hive.submit()


async def test_a_disabled_definition_stays_so_after_a_restart(open_hive, repo):
    async with open_hive() as hive:
        _, definition = await watched(hive, repo)
        await hive.queen.registry.disable(definition.id, True)
    async with open_hive() as hive, hive.ant():
        assert "is disabled" in hive.queen.why(hive.requests()[0].id)


async def test_schedules_of_a_disabled_time_are_not_made_up_for(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\ntriggers: {schedule: '0 0 1 1 *'}\nscript: [make]\n"})
    await hive.watch(repo)
    definition = hive.store.read().definition_named("ci")
    await hive.queen.registry.disable(definition.id, True)
    await hive.store.write(lambda tx: tx.set_cron_last(definition.id, time.time() - 3 * 366 * 86400))
    await hive.queen.registry.disable(definition.id, False)
    await hive.queen.registry.disable(definition.id, False)
    assert hive.store.read().cron_last(definition.id) > time.time() - 60
    assert not hive.requests()


async def test_a_limit_that_is_set_holds_until_the_text_changes(hive, repo):
    stored, definition = await watched(hive, repo, 3)
    async with hive.ant(hands=4) as ant:
        for _ in range(3):
            await hive.submit()
        orders = [await ant.claim() for _ in range(3)]
        waits = hive.requests()[-1]
        assert hive.queen.why(waits.id) == "3 of 3 runs of `ci` are running (max_concurrency)"
        await hive.queen.registry.limit(definition.id, 4)
        orders.append(await ant.claim())
        late = await hive.submit()
        assert hive.queen.why(late.id) == "4 of 4 runs of `ci` are running (max_concurrency)"
        repo.commit(message="nothing of the text")
        await hive.reconciler.sync(stored.id)
        assert hive.store.read().definition(definition.id).max_concurrency == 4
        repo.commit({".formicary/ci.yml": CI.format(most=1)})
        await hive.reconciler.sync(stored.id)
        assert hive.store.read().definition(definition.id).max_concurrency is None
        assert hive.queen.why(late.id) == "4 of 1 runs of `ci` are running (max_concurrency)"
        for order in orders:
            await ant.work(order)


async def test_an_organization_has_its_share(open_hive, repo):
    async with open_hive(limits=Limits(max_running_of_organization=1)) as hive:
        await watched(hive, repo)
        second = await hive.submit()
        async with hive.ant(hands=2) as ant:
            order = await ant.claim()
            assert hive.queen.why(second.id) == "1 of 1 jobs of the organization are running (limit_running)"
            await ant.work(order)
            assert (await ant.claim()).request_id == second.id


async def test_how_long_a_request_will_wait(hive, repo):
    await watched(hive, repo, 1)
    async with hive.ant() as ant:
        first = hive.requests()[0]
        order = await ant.claim()
        second, third = await hive.submit(), await hive.submit()
        unknown = await hive.queen.wait_time(second.id)
        assert unknown.seconds is None and "none has completed yet" in unknown.unknown
        await ant.work(order)
        await hive.ended(first.id)
        order = await ant.claim()
        found = await hive.queen.wait_time(third.id)
        assert found.seconds is not None and 0.0 <= found.seconds < 10.0 and found.unknown == ""
        assert (await hive.queen.wait_time(order.request_id)).seconds == 0.0
        await ant.work(order)


async def test_a_thousand_who_wait_for_a_semaphore_do_not_slow_the_queen(hive, repo):
    """The dispatcher looks at the head of the line, and at no more while no unit is free."""
    repo.commit({".formicary/ci.yml": CI.format(most=2000) + "resources: {resource_type: db}\n"})
    await hive.watch(repo)
    await hive.queen.registry.put_resource(JobResource(resource_type="db"))
    for _ in range(1000):
        await hive.submit()
    board, dispatcher = hive.queen._board, hive.queen._dispatcher
    send, orders = anyio.create_memory_object_stream(4)

    async def claim():
        await send.send(await ant.claim())

    async with send, orders, hive.ant(hands=4) as ant, anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(claim)
        order = await orders.receive()
        spent = []
        for _ in range(5):
            began = time.thread_time()
            heads, more = dispatcher._heads()
            jobs = dispatcher._admissions(heads, more, dispatcher._shares(heads))
            spent.append(time.thread_time() - began)
            assert (len(heads), more, jobs) == (3, False, [])
        assert min(spent) < 0.002
        for _ in range(3):
            group.start_soon(claim)
            await ant.work(order)
            order = await orders.receive()
        assert board.needy == len(board.waiting) == 996
        group.cancel_scope.cancel()
