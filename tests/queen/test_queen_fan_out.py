"""`fan_out` of a task's own script, from the definition to the ants: its list is made when it is about to start."""

import json

import anyio
import pytest

from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.states import State

JOB = """
job_type: ci
tasks:
  - {task_type: plan, script: [plan]}
  - task_type: deploy
    needs: [plan]
    fan_out: {source: Regions, item_var: Region, max_parallel: 2}
    script: ["deploy {{ Region }}"]
  - task_type: report
    dependencies: [deploy]
    script: ["echo {{ FanOutItemCount }} {{ Region_1_status }} {{ Region_0_url }} {{ deploy['Region=us'].url }}"]
"""


def artifact(name, kind="file"):
    return ArtifactRef(name=name, kind=kind, digest="0" * 64)


async def begun(hive, repo, text, **params):
    repo.commit({".formicary/ci.yml": text})
    await hive.watch(repo)
    return await hive.submit(**params)


async def test_the_list_is_an_output_of_an_earlier_task(hive, repo):
    async with hive.ant(hands=3) as ant:
        request = await begun(hive, repo, JOB)
        await ant.work(await ant.claim(), outputs={"Regions": json.dumps(["eu", "us", "ap"])})
        for region in ("eu", "us", "ap"):
            order = await ant.claim()
            assert (order.task.task_type, order.task.script) == (f"deploy (Region={region})", (f"deploy {region}",))
            assert order.environment["Region"] == region and order.environment["TaskType"] == "deploy"
            assert order.task.fan_out is None and order.task.matrix is None
            assert hive.execution(request.id).tasks["deploy"].combinations.busy <= 2
            await ant.work(order, outputs={"url": f"{region}.example"}, artifacts=(artifact("out"),))
        order = await ant.claim()
        assert order.task.script == ("echo 3 COMPLETED eu.example us.example",)
        folders = [(one.folder, one.artifact.name) for one in order.inputs]
        assert folders == [(f"Region={region}", "out") for region in ("eu", "us", "ap")]
        assert (order.environment["FanOutMode"], order.environment["FanOutSource"]) == ("task", "Regions")
        await ant.work(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED
    plan = hive.store.read().plan(hive.execution(request.id).id)
    assert [one.label for one in plan.definition.task("deploy").matrix.combinations] == [
        "Region=eu",
        "Region=us",
        "Region=ap",
    ]


async def test_an_empty_list_completes_with_a_sentence(hive, repo):
    async with hive.ant() as ant:
        request = await begun(
            hive, repo, JOB.replace("{{ Region_1_status }} {{ Region_0_url }} {{ deploy['Region=us'].url }}", "none")
        )
        await ant.work(await ant.claim(), outputs={"Regions": "[]"})
        order = await ant.claim()
        assert order.task.script == ("echo 0 none",)
        await ant.work(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED
    run = hive.execution(request.id).tasks["deploy"]
    assert (run.state, run.reason) == (State.COMPLETED, "Its `fan_out` has no item: there was nothing to do.")


ITEMS = """
job_type: ci
params: {Items: {}}
retry: 0
tasks:
  - task_type: work
    fan_out: {source: "{{ Items }}", item_var: one, max_parallel: MOST, fail_fast: FAST}
    script: ["work {{ one.name }} {{ one.size }}"]
"""
TWO = json.dumps([{"name": "a", "size": 1}, {"name": "b", "size": 2}])


def items(most=0, fast="false"):
    return ITEMS.replace("MOST", str(most)).replace("FAST", fast)


async def test_items_that_are_mappings_are_named_by_their_place(hive, repo):
    async with hive.ant(hands=2) as ant:
        request = await begun(hive, repo, items(), params={"Items": TWO})
        orders = [await ant.claim(), await ant.claim()]
        assert [one.task.task_type for one in orders] == ["work (0)", "work (1)"]
        assert [one.task.script for one in orders] == [("work a 1",), ("work b 2",)]
        await ant.work(orders[0])
        await ant.work(orders[1], exit_code=4)
        ended = await hive.ended(request.id)
    assert ended.error_message == "task `work (1)` failed with exit code 4"
    assert hive.execution(request.id).tasks["work"].reason == f"1 of 2 items failed: {ended.error_message}"


async def test_fail_fast_ends_the_others(hive, repo):
    async with hive.ant() as ant:
        request = await begun(hive, repo, items(1, "true"), params={"Items": TWO})
        await ant.work(await ant.claim(), exit_code=1)
        await hive.ended(request.id)
    other = hive.execution(request.id).tasks["work (1)"]
    assert (other.state, other.reason) == (State.SKIPPED, "Task `work (0)` failed, and its fan_out is fail_fast.")


async def test_run_again_for_what_failed_it_keeps_the_items_that_completed(hive, repo):
    async with hive.ant() as ant:
        request = await begun(hive, repo, items(1), params={"Items": TWO})
        await ant.work(await ant.claim())
        await ant.work(await ant.claim(), exit_code=1)
        await hive.ended(request.id)
        await hive.queen.restart(request.id, by="ann", failed=True)
        order = await ant.claim()
        assert order.task.task_type == "work (1)"
        await ant.work(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED
    assert {run.state for run in hive.execution(request.id).tasks.values()} == {State.COMPLETED}


async def test_a_cancel_ends_all_items(hive, repo):
    async with hive.ant() as ant:
        request = await begun(hive, repo, items(1), params={"Items": TWO})
        order = await ant.claim()
        await hive.queen.cancel(request.id, by="ann")
        await ant.report(order, error_code="ERR_CANCELLED")
        await hive.ended(request.id)
    assert {run.state for run in hive.execution(request.id).tasks.values()} == {State.CANCELLED}


async def test_the_items_survive_the_queen(hive, repo):
    """The list is on disk with the attempt that waited for it; what has ended stays so."""
    numbers = json.dumps([*range(100)])
    text = items(3).replace("{{ one.name }} {{ one.size }}", "{{ one }}")
    async with hive.ant() as ant:
        request = await begun(hive, repo, text, params={"Items": numbers})
        for _ in range(40):
            await ant.work(await ant.claim())
    async with hive.ant() as ant:
        for _ in range(60):
            await ant.work(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED
    assert len(hive.execution(request.id).tasks) == 101


REFUSED = [
    ("5001", "the `fan_out` of `work` has 5,001 items, with which the job would have 5,001 runs; at most 5,000"),
    ("text", "the `source` of `fan_out` is no list, nor the name of one: 'text'"),
    ('{"a": 1}', "the `source` of `fan_out` is no list"),
]


async def test_what_is_no_list_or_too_long_fails_the_task(hive, repo):
    await begun(hive, repo, items().replace("{{ one.name }} {{ one.size }}", "{{ one }}"), params={"Items": "[]"})
    for given, told in REFUSED:
        given = json.dumps([*range(5001)]) if given == "5001" else given
        async with hive.ant() as ant, anyio.create_task_group() as group:
            group.start_soon(ant.claim)
            request = await hive.submit(params={"Items": given})
            ended = await hive.ended(request.id)
            group.cancel_scope.cancel()
        assert (ended.state, ended.error_code) == (State.FAILED, "ERR_DEFINITION")
        assert told in ended.error_message


TAINTED = """
job_type: ci
tasks:
  - {task_type: first, script: [first]}
  - task_type: each
    needs: [first]
    fan_out: {source: GitChangedFiles, item_var: File}
    script: ["cat {{ File }}"]
"""


async def test_an_item_that_outsiders_can_write_reaches_no_script(hive, repo):
    """T6: the list was made of names of files; each item is refused or taken on its own."""
    repo.commit({".formicary/ci.yml": TAINTED, "good.txt": "", "a; rm -rf x": ""})
    await hive.watch(repo)
    async with hive.ant(hands=2) as ant:
        request = await hive.submit()
        await ant.work(await ant.claim())
        for name in (".formicary/ci.yml", "good.txt"):
            order = await ant.claim()
            assert order.task.script == (f"cat {name}",)
            await ant.work(order)
        ended = await hive.ended(request.id)
    assert ended.state is State.FAILED and '"$File"' in ended.error_message
    assert hive.execution(request.id).tasks["each (File=good.txt)"].state is State.COMPLETED


async def test_what_has_not_run_goes_on_after_a_restart_of_the_server(open_hive, repo):
    """The list is read back from the disk, and not made anew."""
    repo.commit({".formicary/ci.yml": JOB})
    async with open_hive() as hive:
        await hive.watch(repo)
        request = await hive.submit()
        async with hive.ant() as ant:
            await ant.work(await ant.claim(), outputs={"Regions": ["eu", "us", "ap"]})
            await ant.work(await ant.claim(), outputs={"url": "eu.example"})
    async with open_hive() as hive, hive.ant() as ant:
        names = []
        for _ in range(3):
            order = await ant.claim()
            names.append(order.task.task_type)
            await ant.work(order, outputs={"url": "us.example"})
        assert names == ["deploy (Region=us)", "deploy (Region=ap)", "report"]
        assert order.task.script == ("echo 3 COMPLETED eu.example us.example",)
        assert (await hive.ended(request.id)).state is State.COMPLETED


@pytest.mark.parametrize("again", [["a", "b"], ["b", "c"]])
async def test_a_retry_of_the_job_makes_the_list_anew(hive, repo, again):
    text = JOB.replace("script: [plan]", "script: [plan], allow_start_if_completed: true") + "retry: 1\n"
    async with hive.ant() as ant:
        request = await begun(hive, repo, text.replace("max_parallel: 2", "max_parallel: 1"))
        await ant.work(await ant.claim(), outputs={"Regions": ["a", "b"]})
        await ant.work(await ant.claim())
        await ant.work(await ant.claim(), exit_code=1)
        await ant.work(await ant.claim(), outputs={"Regions": again})
        left = [one for one in again if one != "a"]
        for region in left:
            order = await ant.claim()
            assert order.task.task_type == f"deploy (Region={region})"
            await ant.work(order, outputs={"url": region})
    tasks = hive.execution(request.id).tasks
    assert {name for name in tasks if name.startswith("deploy (")} == {f"deploy (Region={one})" for one in again}
