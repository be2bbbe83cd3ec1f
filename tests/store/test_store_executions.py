"""What every store keeps to about executions, their plans, and leases."""

import anyio
import pytest

from formicary.runner.core.errors import Conflict, LostError, NotFound, StaleFence
from formicary.runner.core.execution import Attempt, Held, TaskRun
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.store.parts import body_of, parts_of

# Executions


async def test_an_execution_and_its_plan_are_read_back_as_they_were(world, reopen):
    request = await world.request()
    execution = await world.execution(request.id)
    for open_again in (lambda: world.store, reopen):
        reader = open_again().read()
        assert reader.execution(execution.id) == execution
        assert reader.plan(execution.id) == world.plan
        assert reader.executions_of(request.id) == [execution]
        assert reader.live_executions() == [execution.id]
        assert reader.plan(99) is None and reader.execution(99) is None


async def test_an_execution_leads_its_request(world):
    request = await world.request()
    execution = await world.execution(request.id, State.READY)
    assert world.store.read().request(request.id).state is State.READY
    under_way = execution.model_copy(update={"state": State.EXECUTING, "started_at": 1003.0})
    await world.store.write(lambda tx: tx.save_execution(under_way))
    now = world.store.read().request(request.id)
    assert (now.state, now.started_at, now.execution_id, now.executions) == (State.EXECUTING, 1003.0, execution.id, 1)
    await world.end(under_way, State.FAILED, error_code="ERR_EXIT_CODE", error_message="exit code 1")
    now = world.store.read().request(request.id)
    assert (now.state, now.ended_at, now.error_code) == (State.FAILED, 1001.0, "ERR_EXIT_CODE")
    assert now.error_message == "exit code 1"
    assert world.store.read().live_executions() == []


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_the_end_of_an_execution_drops_leases_and_secrets(world, state):
    """D2, T8: nobody holds what has ended, and a secret lives as long as its request."""
    request = await world.request(secret_params={"Token": "hush"})
    execution = await world.execution(request.id)
    await world.store.write(lambda tx: tx.set_lease(world.lease(execution)))
    assert world.store.read().secret_params(request.id) == {"Token": "hush"}
    assert len(world.store.read().leases()) == 1
    await world.end(execution, state)
    assert world.store.read().secret_params(request.id) == {}
    assert world.store.read().leases() == []


async def test_secrets_go_with_a_request_that_is_ended_waiting(world):
    request = await world.request(secret_params={"Token": "hush"})
    await world.store.write(lambda tx: tx.end_request(request.id, State.CANCELLED))
    assert world.store.read().secret_params(request.id) == {}


async def test_an_older_execution_no_longer_leads_its_request(world):
    request = await world.request()
    old = await world.end(await world.execution(request.id))
    new = await world.execution(request.id)
    await world.store.write(lambda tx: tx.save_execution(old.model_copy(update={"error_code": "LATE"})))
    now = world.store.read().request(request.id)
    assert (now.execution_id, now.state, now.error_code, now.ended_at) == (new.id, State.STARTED, "", None)


async def test_one_live_execution_a_request(world):
    request = await world.request()
    await world.execution(request.id)
    with pytest.raises(Conflict, match="live execution"):
        await world.execution(request.id)
    with pytest.raises(NotFound):
        await world.execution(99)


async def test_an_execution_of_other_numbers_is_refused(world):
    request = await world.request()
    with pytest.raises(LostError, match="other numbers"):
        await world.store.write(lambda tx: tx.create_execution(request.id, world.one_task(request.id + 1), world.plan))
    stranger = world.one_task(request.id)(77)
    with pytest.raises(NotFound):
        await world.store.write(lambda tx: tx.save_execution(stranger))


async def test_memory_is_never_ahead_of_disk(world):
    """A rolled back save leaves the execution as it was for the next change; its rolled back id is given again."""
    request = await world.request()
    execution = await world.execution(request.id)

    def change(tx):
        tx.save_execution(execution.model_copy(update={"state": State.EXECUTING}))
        assert tx.execution(execution.id).state is State.EXECUTING
        raise ValueError

    with pytest.raises(ValueError):
        await world.store.write(change)
    assert await world.store.write(lambda tx: tx.execution(execution.id)) == execution
    assert world.store.read().request(request.id).state is State.STARTED


async def test_a_plan_of_a_rolled_back_execution_is_forgotten(world):
    request = await world.request()
    other = world.plan.model_copy(update={"tainted": ("other",)})

    def change(tx):
        tx.create_execution(request.id, world.one_task(request.id), other)
        raise ValueError

    with pytest.raises(ValueError):
        await world.store.write(change)
    execution = await world.execution(request.id)
    assert world.store.read().plan(execution.id) == world.plan


async def test_changes_of_one_commit_see_each_other(world):
    """load → decide → save: nobody decides on a stale state, in one batch neither."""
    execution = await world.execution((await world.request()).id)

    def count(tx):
        now = tx.execution(execution.id)
        tx.save_execution(now.model_copy(update={"job_retry": now.job_retry + 1}))

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(world.store.write, count)
    assert world.store.read().execution(execution.id).job_retry == 40


# Leases


async def test_a_lease_keeps_its_newest_fence(world):
    """D2: fences rise; an older one is refused."""
    execution = await world.execution((await world.request()).id)
    lease = world.lease(execution, fence=2)
    await world.store.write(lambda tx: tx.set_lease(lease))
    with pytest.raises(StaleFence):
        await world.store.write(lambda tx: tx.set_lease(world.lease(execution, fence=1, ant_id="old")))
    assert world.store.read().leases() == [lease]
    newer = world.lease(execution, fence=3, ant_id="new")
    await world.store.write(lambda tx: tx.set_lease(newer))
    assert world.store.read().leases() == [newer]


async def test_heartbeats_extend_only_what_is_still_theirs(world):
    """D2: a heartbeat with an old fence, or of another ant, is refused and moves nothing."""
    execution = await world.execution((await world.request()).id)
    lease = world.lease(execution, fence=2)
    task = lease.task_execution_id
    await world.store.write(lambda tx: tx.set_lease(lease))
    assert await world.store.write(lambda tx: tx.extend_leases("ant", {task: 1, "9-9": 1}, 2000.0)) == {task, "9-9"}
    assert await world.store.write(lambda tx: tx.extend_leases("other", {task: 2}, 2000.0)) == {task}
    assert world.store.read().leases() == [lease]
    assert await world.store.write(lambda tx: tx.extend_leases("ant", {task: 2}, 2000.0)) == set()
    assert world.store.read().leases()[0].deadline == 2000.0
    await world.store.write(lambda tx: tx.drop_lease(task))
    assert world.store.read().leases() == []


# Executions of many tasks


def many(execution, count, **changed):
    """The execution with so many tasks; those of `changed` have begun to run."""
    names = [f"test (n={number})" for number in range(count)]
    attempt = Attempt(id=f"{execution.id}-7", number=1, fence=7, state=State.STARTED, outputs={"tasks": {"a": 1}})
    began = {name: {"state": State.STARTED, "attempts": (attempt,)} for name in changed.get("began", ())}
    runs = {name: TaskRun(name=name, matrix_of="test", **began.get(name, {})) for name in names}
    return execution.model_copy(update={"tasks": {**execution.tasks, **runs}})


async def test_an_execution_of_many_tasks_is_read_back_as_it_was(world, reopen):
    """It may begin small; and what is held, or an output, may be called as the parts of an execution are."""
    request = await world.request()
    small = await world.execution(request.id)
    large = many(small, 300).model_copy(
        update={"held": Held(resource_id=1, resource_type="r", variables={"tasks": "x"})}
    )
    assert len(large.tasks) == 301
    other = await world.execution((await world.request()).id)
    moved = many(large, 300, began=["test (n=150)"])
    for next_one in (large, moved):
        await world.store.write(lambda tx, one=next_one: tx.save_execution(one))
        assert world.store.read().execution(small.id) == next_one
    reader = reopen().read()
    assert reader.execution(small.id) == moved
    assert list(reader.execution(small.id).tasks) == list(moved.tasks)
    assert reader.executions_of(request.id) == [moved]
    assert reader.executions_of(other.request_id) == [other]


async def test_a_save_of_many_tasks_writes_what_has_changed(world):
    """3,000 combinations are a megabyte: an event that moves one of them writes a few thousand bytes."""
    execution = await world.execution((await world.request()).id)
    large = many(execution, 3000)
    await world.store.write(lambda tx: tx.save_execution(large))
    runs = {**large.tasks, "test (n=9)": large.tasks["test (n=9)"].model_copy(update={"reason": "Because."})}
    moved = large.model_copy(update={"tasks": runs})
    written = list(parts_of(moved, large))
    assert len(written) == 1 and len(written[0][1]) < 4000 and len(body_of(moved)) < 1000
    await world.store.write(lambda tx: tx.save_execution(moved))
    assert world.store.read().execution(execution.id) == moved


async def test_a_change_of_many_tasks_that_is_undone_leaves_nothing(world):
    execution = await world.execution((await world.request()).id)
    large = many(execution, 100)
    await world.store.write(lambda tx: tx.save_execution(large))

    def undone(tx):
        tx.save_execution(many(large, 200))
        raise LostError("no")

    with pytest.raises(LostError):
        await world.store.write(undone)
    assert world.store.read().execution(execution.id) == large
    again = many(large, 100, began=["test (n=99)"])
    await world.store.write(lambda tx: tx.save_execution(again))
    assert world.store.read().execution(execution.id) == again


async def test_an_expired_request_tells_the_logs_of_all_its_tasks(world):
    request = await world.request()
    execution = await world.execution(request.id)
    large = many(execution, 100, began=["test (n=70)"])
    await world.store.write(lambda tx: tx.save_execution(large))
    await world.end(large)
    gone = await world.store.write(lambda tx: tx.expire(ended_before=world.clock.now + 1, deliveries_before=0))
    assert sorted(gone.task_executions) == [f"{execution.id}-1", f"{execution.id}-7"]
    assert world.store.read().execution(execution.id) is None
