"""What every store keeps to about the lists of tasks that run once an item, and about versions of plugins."""

import pytest

from formicary.runner.core.definition import Combination, Matrix
from formicary.runner.core.errors import LostError
from formicary.runner.core.execution import TaskRun
from formicary.runner.core.graph import with_matrices
from formicary.runner.core.records import Repository, Version
from formicary.runner.core.released import Plugin


def with_list(plan, *items):
    name = plan.definition.tasks[0].task_type
    made = tuple(Combination(label=f"n={one}", values={"n": one}) for one in items)
    matrix = Matrix(combinations=made, names=("n",))
    return name, plan.model_copy(update={"definition": with_matrices(plan.definition, {name: matrix})})


async def test_a_list_is_a_part_of_the_plan_that_never_changes(world, reopen):
    """The newest one counts; an execution that is gone takes its lists with it."""
    request = await world.request()
    execution = await world.execution(request.id)
    for items in ((1, 2), ({"x": [1]}, "three")):
        name, plan = with_list(world.plan, *items)
        await world.store.write(lambda tx, plan=plan, name=name: tx.put_list(execution.id, plan, name))
        assert world.store.read().plan(execution.id) == plan
        assert await world.store.write(lambda tx: tx.plan(execution.id)) == plan
        world.store = reopen()
        assert world.store.read().plan(execution.id) == plan


@pytest.mark.parametrize("left", [70, 65, 64, 3])
async def test_tasks_that_are_no_more_are_not_read_back(world, reopen, left):
    """An execution in parts that has become shorter, and whose tasks have changed their places."""
    request = await world.request()
    execution = await world.execution(request.id)
    runs = {f"t{n}": TaskRun(name=f"t{n}") for n in range(100)}
    long = execution.model_copy(update={"tasks": runs})
    await world.store.write(lambda tx: tx.save_execution(long))
    short = long.model_copy(update={"tasks": dict([*runs.items()][100 - left :])})
    await world.store.write(lambda tx: tx.save_execution(short))
    for open_again in (lambda: world.store, reopen):
        world.store = open_again()
        found = world.store.read().execution(execution.id)
        assert found == short and [*found.tasks] == [*short.tasks]
    longer = short.model_copy(update={"tasks": short.tasks | {f"n{n}": TaskRun(name=f"n{n}") for n in range(90)}})
    await world.store.write(lambda tx: tx.save_execution(longer))
    assert reopen().read().execution(execution.id) == longer


@pytest.fixture
async def keep(world):
    """Keep a version: keep("1.0", digest=…)."""

    def write(tx):
        repository = tx.put_repository(Repository(id=0, name="plugins", path="/plugins"))
        at = {"repository_id": repository.id, "job_type": "lint"}
        text = Version(id=0, version=0, digest="d", path="a.yml", index=0, text="job_type: lint\n", **at)
        return {**at, "version_id": tx.put_version(text).id}

    at = await world.store.write(write)

    async def put(plain, **fields):
        plugin = Plugin(
            **{"sem_version": plain, "plain": plain, "released": "-" not in plain, "digest": "d"} | at | fields
        )
        return await world.store.write(lambda tx: tx.put_plugin(plugin))

    return put


async def test_versions_of_plugins_are_read_back(world, keep, reopen):
    first, second = await keep("1.0.0"), await keep("1.1.0-dev", public=True)
    reader = reopen().read()
    assert reader.plugins("default") == reader.plugins("default", "lint") == [first, second]
    assert reader.plugins("far") == [second], "another organization sees what is public"
    assert reader.plugins("default", "other") == []
    assert reader.plugin(first.id) == first and reader.plugin(99) is None


async def test_a_pre_release_gives_way_and_a_release_does_not(world, keep):
    await keep("1.0.0-dev")
    again = await keep("1.0.0-dev", digest="e")
    assert [one.digest for one in world.store.read().plugins("default")] == [again.digest] == ["e"]
    kept = await keep("1.0.0")
    with pytest.raises(LostError):
        await keep("1.0.0", digest="e")
    assert world.store.read().plugin(kept.id) == kept
