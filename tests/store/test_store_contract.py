"""What every store keeps to, whatever it is made of: how writes and reads behave, and requests."""

import anyio
import pytest

from formicary.runner.core.errors import Conflict, ImpossibleTransition, LostError, NotFound
from formicary.runner.core.states import State

# Writes


async def test_eight_writers_at_once_lose_nothing(world):
    """D1: 8 writers of 50 requests each; every one is there."""

    async def writer(number):
        for n in range(50):
            await world.request(cause_key=f"{number}-{n}")

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(writer, number)
    page = world.store.read().requests(page_size=1000)
    assert page.total_records == len(page.records) == 400
    assert len({request.cause_key for request in page.records}) == 400


async def test_what_has_gathered_is_one_commit(world):
    """Group commit: while one commit is under way, 20 changes gather; they become one."""
    before = world.store.commits
    async with world.one_batch() as tasks:
        for _ in range(20):
            tasks.start_soon(world.request)
    assert world.store.commits - before == 2
    assert world.store.read().requests().total_records == 20


async def test_a_change_that_raises_is_rolled_back_alone(world):
    """Its neighbours in the same commit stay, its own error is raised where it was written."""
    outcomes = {}

    async def write(name, error=None):
        def change(tx):
            tx.create_request(world.new(cause_key=name))
            if error:
                raise error

        try:
            await world.store.write(change)
            outcomes[name] = None
        except Exception as raised:
            outcomes[name] = raised

    broken = ValueError("broken")
    async with world.one_batch() as tasks:
        for name, error in [("a", None), ("b", broken), ("c", None)]:
            tasks.start_soon(write, name, error)
    assert outcomes == {"a": None, "b": broken, "c": None}
    found = world.store.read().requests().records
    assert sorted(request.cause_key for request in found) == ["a", "c"]


async def test_an_error_no_future_can_carry_is_wrapped(world):
    with pytest.raises(LostError, match="StopIteration"):
        await world.store.write(lambda tx: next(iter(())))


async def test_reads_see_the_newest_commit_and_nothing_else(world):
    request = await world.request()
    inside = []

    def change(tx):
        tx.end_request(request.id, State.CANCELLED)
        inside.append(tx.request(request.id).state)
        raise ValueError

    with pytest.raises(ValueError):
        await world.store.write(change)
    assert inside == [State.CANCELLED]
    assert world.store.read().request(request.id).state is State.PENDING
    await world.store.write(lambda tx: tx.end_request(request.id, State.CANCELLED))
    assert world.store.read().request(request.id).state is State.CANCELLED


async def test_every_thread_reads_on_its_own(world):
    request = await world.request()
    here = world.store.read()
    there = await anyio.to_thread.run_sync(world.store.read)
    assert here is world.store.read() and there is not here
    assert await anyio.to_thread.run_sync(lambda: world.store.read().request(request.id)) == request


async def test_a_transaction_is_of_no_use_after_its_change(world):
    tx = await world.store.write(lambda tx: tx)
    with pytest.raises(LostError, match="after its change"):
        tx.create_request(world.new())


async def test_a_closed_store_says_so(world):
    world.store.read()
    world.store.close()
    with pytest.raises(LostError, match="closed"):
        world.store.read()
    with pytest.raises(LostError, match="closed"):
        await world.request()
    with pytest.raises(LostError, match="closed"):
        await anyio.to_thread.run_sync(world.store.read)


async def test_what_was_handed_over_before_close_is_kept(world, reopen):
    """D1: closing carries out what waits."""
    async with anyio.create_task_group() as tasks:
        for _n in range(20):
            tasks.start_soon(world.request)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        world.store.close()
    assert reopen().read().requests().total_records == 20


async def test_a_cancelled_waiter_does_not_stop_its_change(world):
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.request)
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    await world.store.write(lambda tx: None)
    assert world.store.read().requests().total_records == 1


async def test_the_epoch_rises_at_every_open(world, reopen):
    """Every transaction carries the queen's epoch."""
    first = world.store.epoch
    assert reopen().epoch == first + 1


async def test_optimize_changes_nothing_that_is_read(world):
    request = await world.run(description="fix it")
    await world.store.optimize()
    assert world.store.read().request(request.id) == request
    assert world.store.read().requests(q="fix").records == (request,)


# Requests


async def test_a_request_is_read_back_as_it_was_made(world):
    given = {
        "repository_id": 3,
        "event": "push",
        "ref": "refs/heads/main",
        "commit": "c" * 40,
        "source_path": "/srv/x",
        "cause_key": "cause",
        "user_key": "mine",
        "params": {"a": 1, "b": [True, None, {"c": "ü"}], "d": 1.5},
        "secret_params": {"Token": "hush"},
        "tainted": ("a", "b"),
        "priority": 7,
        "max_concurrency": 2,
        "scheduled_at": 12.5,
        "description": "why",
        "created_by": "me",
        "trusted": False,
    }
    request = await world.request(**given)
    assert world.store.read().request(request.id) == request
    assert request.has_secrets and request.secret_params == {}
    assert {name: getattr(request, name) for name in given if name != "secret_params"} == {
        name: value for name, value in given.items() if name != "secret_params"
    }
    assert (request.state, request.created_at, request.ended_at) == (State.PENDING, 1000.0, None)


async def test_one_request_a_cause_within_an_organization(world):
    """T10: the same cause asked for again gives the first request, even when that has ended."""
    first = await world.request(cause_key="k")
    again, made = await world.store.write(lambda tx: tx.create_request(world.new(cause_key="k", priority=9)))
    assert (again, made) == (first, False)
    other, made = await world.store.write(
        lambda tx: tx.create_request(world.new(cause_key="k", organization_id="other"))
    )
    assert made and other.id != first.id
    await world.store.write(lambda tx: tx.end_request(first.id, State.CANCELLED))
    again, made = await world.store.write(lambda tx: tx.create_request(world.new(cause_key="k")))
    assert (again.id, made) == (first.id, False)


async def test_requests_without_a_cause_are_never_the_same(world):
    assert (await world.request()).id != (await world.request()).id


async def test_a_user_key_is_unique_while_its_request_is_alive(world):
    first = await world.request(user_key="u")
    assert (await world.request(user_key="u")).id == first.id
    await world.store.write(lambda tx: tx.end_request(first.id, State.CANCELLED))
    second = await world.request(user_key="u")
    assert second.id != first.id
    with pytest.raises(Conflict, match="user_key u is alive"):
        await world.store.write(lambda tx: tx.reopen_request(first.id, keep=False, by="me"))


async def test_a_request_can_be_skipped_at_once(world):
    """D11: a filtered-out job is a request that says why."""
    request = await world.request(state=State.SKIPPED, reason="no path matches", secret_params={"a": "b"})
    assert (request.state, request.reason, request.ended_at) == (State.SKIPPED, "no path matches", 1000.0)
    assert world.store.read().waiting() == []
    assert world.store.read().secret_params(request.id) == {}


async def test_ending_a_waiting_request(world):
    request = await world.request()
    world.clock.now = 1005.0
    await world.store.write(
        lambda tx: tx.end_request(request.id, State.FAILED, reason="r", error_code="E", error_message="m")
    )
    ended = world.store.read().request(request.id)
    assert (ended.state, ended.reason, ended.error_code, ended.error_message) == (State.FAILED, "r", "E", "m")
    assert ended.ended_at == 1005.0
    with pytest.raises(Conflict, match="has ended already"):
        await world.store.write(lambda tx: tx.end_request(request.id, State.CANCELLED))


async def test_what_cannot_be_ended(world):
    request = await world.request()
    with pytest.raises(LostError, match="does not end as READY"):
        await world.store.write(lambda tx: tx.end_request(request.id, State.READY))
    with pytest.raises(ImpossibleTransition):
        await world.store.write(lambda tx: tx.end_request(request.id, State.COMPLETED))
    with pytest.raises(NotFound):
        await world.store.write(lambda tx: tx.end_request(99, State.CANCELLED))
    await world.execution(request.id)
    with pytest.raises(Conflict, match="live execution"):
        await world.store.write(lambda tx: tx.end_request(request.id, State.CANCELLED))


async def test_waiting_is_oldest_first_and_without_executions(world):
    first, second, third = [await world.request(priority=n) for n in range(3)]
    await world.execution(second.id)
    assert world.store.read().waiting() == [first, third]


async def test_counts_of_live_and_ended_requests(world):
    await world.run()
    await world.run()
    await world.run(State.FAILED)
    await world.request()
    await world.request(state=State.SKIPPED)
    await world.execution((await world.request()).id, State.READY)
    counts = world.store.read().counts()
    assert set(counts) == set(State)
    assert {state: n for state, n in counts.items() if n} == {
        State.COMPLETED: 2,
        State.FAILED: 1,
        State.PENDING: 1,
        State.SKIPPED: 1,
        State.READY: 1,
    }


async def test_an_ended_request_is_reopened(world):
    request = await world.run(State.FAILED)
    reopened = await world.store.write(lambda tx: tx.reopen_request(request.id, keep=True, by="ann"))
    assert (reopened.state, reopened.execution_id, reopened.resume_of) == (State.PENDING, None, request.execution_id)
    assert (reopened.started_at, reopened.ended_at, reopened.error_code) == (None, None, "")
    assert "ann" in reopened.reason
    assert world.store.read().waiting() == [reopened]
    assert world.store.read().counts()[State.FAILED] == 0
    execution = await world.execution(request.id)
    again = world.store.read().request(request.id)
    assert (again.execution_id, again.executions) == (execution.id, 2)
    with pytest.raises(Conflict, match="has not ended"):
        await world.store.write(lambda tx: tx.reopen_request(request.id, keep=False, by="ann"))
    await world.end(execution)
    assert (await world.store.write(lambda tx: tx.reopen_request(request.id, keep=False, by="x"))).resume_of is None
