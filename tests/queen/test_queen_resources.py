"""Shared resources: held while a job or a task runs, given free at its end however that comes, and fair to all."""

from __future__ import annotations

import anyio
import pytest

from formicary.runner.core.records import JobResource
from formicary.runner.core.states import State

JOB = """\
job_type: {job}
max_concurrency: 1000
resources: {{resource_type: db, value: {value}, extract_config: {{properties: [host], context_prefix: DB}}}}
tasks:
  - {{task_type: use, script: ["psql {{{{ DB_host }}}}"]}}
"""
TASKS = """\
job_type: tasks
tasks:
  - task_type: use
    resources: {resource_type: db, extract_config: {properties: [host]}}
    script: ["psql {{ host }}"]
    except: "{{ host == 'never' }}"
  - {task_type: other, script: [x]}
"""


def job(name="ci", value=1):
    return JOB.format(job=name, value=value)


async def watched(hive, repo, **files):
    repo.commit({f".formicary/{name}.yml": text for name, text in files.items()})
    await hive.watch(repo)


async def register(hive, quota=1, **fields):
    fields = {"resource_type": "db", "configs": {"host": "db1", "port": 5432}, **fields}
    return await hive.queen.registry.put_resource(JobResource(quota=quota, **fields))


async def test_so_many_run_as_there_are_units(hive, repo):
    await watched(hive, repo, ci=job())
    pool = await register(hive, 2)
    asked = [await hive.submit() for _ in range(3)]
    async with hive.ant(hands=3) as ant:
        first, second = await ant.claim(), await ant.claim()
        assert first.task.script == ("psql db1",) and first.environment["DB_host"] == "db1"
        assert "DB_port" not in first.environment
        assert hive.queen.why(asked[2].id) == "2 of 2 units of `db` are held"
        assert hive.queen.registry.held() == {pool.id: 2}
        await ant.work(first)
        third = await ant.claim()
        assert third.request_id == asked[2].id
        await ant.work(second)
        await ant.work(third)
        for one in asked:
            await hive.ended(one.id)
    assert hive.queen.registry.held() == {}


async def test_who_wants_much_is_not_kept_out_by_those_who_want_little(hive, repo):
    await watched(hive, repo, ci=job(), big=job("big", 2))
    await register(hive, 2)
    small = [await hive.submit(), await hive.submit()]
    async with hive.ant(hands=4) as ant:
        orders = [await ant.claim(), await ant.claim()]
        big = await hive.submit("big")
        later = await hive.submit()
        await ant.work(orders[0])
        await hive.ended(small[0].id)
        assert hive.queen.why(big.id) == "1 of 2 units of `db` are held, and it asks for 2"
        assert hive.queen.why(later.id) == f"the free units of `db` are kept for request {big.id}, which comes first"
        await ant.work(orders[1])
        order = await ant.claim()
        assert order.request_id == big.id
        await ant.work(order)
        order = await ant.claim()
        assert order.request_id == later.id
        await ant.work(order)


async def test_a_task_holds_units_only_while_it_runs(hive, repo):
    await watched(hive, repo, tasks=TASKS)
    pool = await register(hive)
    one, two = await hive.submit("tasks"), await hive.submit("tasks")
    async with hive.ant(hands=4) as ant:
        orders = [await ant.claim() for _ in range(3)]
        assert sorted((order.request_id, order.task.task_type) for order in orders) == [
            (one.id, "other"), (one.id, "use"), (two.id, "other"),
        ]  # fmt: skip
        use = next(order for order in orders if order.task.task_type == "use")
        assert use.environment["host"] == "db1" and hive.queen.registry.held() == {pool.id: 1}
        for order in orders:
            if order is not use:
                await ant.work(order)
        await hive.until(lambda: len(hive.execution(two.id).tasks["other"].attempts[-1].outputs) == 0)
        assert hive.queen.why(two.id) == "`use` waits: 1 of 1 units of `db` are held"
        await ant.work(use, exit_code=1)
        order = await ant.claim()
        assert (order.request_id, order.task.task_type) == (two.id, "use")
        await ant.work(order)
        assert (await hive.ended(two.id)).state is State.COMPLETED
    assert hive.queen.registry.held() == {}


async def test_a_cancel_gives_free_what_was_held(hive, repo):
    await watched(hive, repo, ci=job())
    await register(hive)
    async with hive.ant() as ant:
        first = await hive.submit()
        order = await ant.claim()
        await hive.queen.cancel(first.id, by="ada")
        await ant.report(order, exit_code=None, error_code="ERR_CANCELLED")
        await hive.ended(first.id)
        second = await hive.submit()
        assert (await ant.claim()).request_id == second.id


async def test_what_is_held_is_known_after_a_crash(open_hive, repo):
    """An ant on another machine goes on with its task, and what that holds is not given to anybody else."""
    async with open_hive() as hive:
        await watched(hive, repo, ci=job(), tasks=TASKS)
        pool = await register(hive, 2)
        async with hive.ant("far", hands=3) as ant:
            first, second = await hive.submit(), await hive.submit("tasks")
            orders = [await ant.claim() for _ in range(3)]
            waits = await hive.submit()
            hive.queen._board.workers["far"].running.clear()  # it is not known to have gone
    async with open_hive() as hive, hive.ant("far", hands=3) as ant:
        assert hive.queen.registry.held() == {pool.id: 2}
        assert hive.queen.why(waits.id) == "2 of 2 units of `db` are held"
        await ant.report(next(order for order in orders if order.request_id == first.id))
        assert (await ant.claim()).request_id == waits.id
        for order in orders:
            if order.request_id == second.id:
                await ant.report(order)
        await hive.ended(second.id)
        assert hive.queen.registry.held() == {pool.id: 1}


async def test_what_died_with_the_server_holds_nothing(open_hive, repo):
    async with open_hive() as hive:
        await watched(hive, repo, tasks=TASKS.replace("  - {task_type: other, script: [x]}\n", ""))
        pool = await register(hive)
        async with hive.ant("embedded") as ant:
            first = await hive.submit("tasks")
            order = await ant.claim()
            hive.queen._board.workers["embedded"].running.clear()
    async with open_hive() as hive:
        assert hive.queen.registry.held() == {}
        async with hive.ant("embedded") as ant:
            again = await ant.claim()
            assert (again.request_id, again.fence > order.fence) == (first.id, True)
            assert hive.queen.registry.held() == {pool.id: 1}
            await ant.work(again)
            await hive.ended(first.id)


async def test_a_resting_job_holds_nothing_and_gets_units_anew(hive, repo):
    text = job().replace(
        'script: ["psql {{ DB_host }}"]', 'script: ["psql {{ DB_host }}"], on_exit_code: {"3": PAUSE_JOB}'
    )
    await watched(hive, repo, ci=text)
    pool = await register(hive)
    async with hive.ant(hands=2) as ant:
        first, second = await hive.submit(), await hive.submit()
        await ant.work(await ant.claim(), exit_code=3)
        order = await ant.claim()
        assert order.request_id == second.id
        await hive.queen.registry.change_resource(
            pool.id, lambda one: one.model_copy(update={"configs": {"host": "new"}})
        )
        await hive.queen.resume(first.id, by="ada")
        assert hive.queen.why(first.id) == "1 of 1 units of `db` are held"
        await ant.work(order)
        order = await ant.claim()
        assert (order.request_id, order.task.script) == (first.id, ("psql new",))
        assert hive.execution(first.id).held.variables == {"DB_host": "new"}
        await ant.work(order)
        await hive.ended(first.id)
    assert hive.queen.registry.held() == {}


async def test_what_nobody_registered_is_an_error(hive, repo):
    await watched(hive, repo, ci=job(), tasks=TASKS)
    ended = await hive.ended((await hive.submit()).id)
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_DEFINITION")
    assert ended.error_message.startswith("no resource `db` is registered; see `formicary resources list`")
    async with hive.ant(hands=2) as ant:
        asked = await hive.submit("tasks")
        await ant.work(await ant.claim())
        ended = await hive.ended(asked.id)
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_DEFINITION")
    assert "no resource `db` is registered" in ended.error_message


async def test_in_the_go_dialect_it_waits_until_somebody_registers_it(hive, repo):
    text = "template: go\njob_type: ci\nresources: {resource_type: db, platform: linux, tags: [a]}\nscript: [x]\n"
    await watched(hive, repo, ci=text)
    async with hive.ant() as ant:
        asked = await hive.submit()
        await hive.until(lambda: asked.id in hive.queen._board.waiting)
        why = "no resource `db` with the platform linux and the tag a is registered"
        assert hive.queen.why(asked.id) == why
        await register(hive, platform="linux", tags=("a", "b"))
        await ant.work(await ant.claim())
        assert (await hive.ended(asked.id)).state is State.COMPLETED


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"disabled": True}, "the resource `db` is disabled"),
        ({"quota": 1}, "it asks for 2 units of `db`, which has 1"),
    ],
)
async def test_what_cannot_be_given_waits_with_its_reason(hive, repo, fields, why):
    await watched(hive, repo, ci=job(value=2), plain="job_type: plain\nscript: [x]\n")
    pool = await register(hive, **{"quota": 2, **fields})
    async with hive.ant() as ant:
        asked = await hive.submit()
        plain = await hive.submit("plain")
        order = await ant.claim()
        assert order.request_id == plain.id and hive.queen.why(asked.id) == why
        await ant.work(order)
        right = {"disabled": False, "quota": 2}
        await hive.queen.registry.change_resource(pool.id, lambda one: one.model_copy(update=right))
        assert (await ant.claim()).request_id == asked.id


async def test_another_organization_s_resource_is_not_there(hive, repo):
    await watched(hive, repo, ci=job())
    await register(hive, organization_id="other")
    ended = await hive.ended((await hive.submit()).id)
    assert ended.error_message.startswith("no resource `db` is registered")


async def test_a_job_that_is_cancelled_while_it_waits_for_units_takes_none(hive, repo):
    """Its always_run tasks run without them, and what it never had is not given free."""
    tidy = "\n  - {task_type: tidy, script: [x], always_run: true}"
    use = 'script: ["psql {{ DB_host }}"]'
    text = job().replace(use + "}", use + ', on_exit_code: {"3": PAUSE_JOB}}' + tidy)
    await watched(hive, repo, ci=text)
    pool = await register(hive)
    async with hive.ant(hands=2) as ant:
        first, second = await hive.submit(), await hive.submit()
        await ant.work(await ant.claim(), exit_code=3)
        order = await ant.claim()
        assert order.request_id == second.id
        await hive.queen.resume(first.id, by="ada")
        await hive.queen.cancel(first.id, by="ada")
        last = await ant.claim()
        assert (last.request_id, last.task.task_type) == (first.id, "tidy")
        await ant.work(order)
        other = await ant.claim()
        assert (other.request_id, hive.queen.registry.held()) == (second.id, {pool.id: 1})
        async with anyio.create_task_group() as group:
            group.start_soon(ant.claim)  # a free hand: the first one is still in line, and must not be let in
            await anyio.wait_all_tasks_blocked()
            await ant.work(other)
            await hive.ended(second.id)
            await anyio.wait_all_tasks_blocked()
            assert hive.queen.registry.held() == {}
            await ant.work(last)
            assert (await hive.ended(first.id)).state is State.CANCELLED
            group.cancel_scope.cancel()
        assert hive.queen.registry.held() == {}
        await hive.submit()
        await ant.claim()
        waits = await hive.submit()
        assert hive.queen.why(waits.id) == "1 of 1 units of `db` are held"
