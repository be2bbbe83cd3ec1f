"""What every store keeps to: the numbers of events, what is owed before a key, and the run before a run."""

import anyio

from formicary.runner.core.states import State


async def test_numbers_rise_without_gaps_for_each_organization(world):
    """Whatever is undone gives its number back; eight at once get eight."""
    found = []

    async def one(organization):
        found.append((organization, await world.store.write(lambda tx: tx.next_seq(organization))))

    async def undone():
        def change(tx):
            tx.next_seq("a")
            raise RuntimeError

        try:
            await world.store.write(change)
        except RuntimeError:
            pass

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(one, "ab"[number % 2])
            tasks.start_soon(undone)
    assert sorted(found) == [(name, number) for name in "ab" for number in range(1, 9)]


async def test_what_is_owed_before_a_key(world):
    """In the order of the keys; dead ones and those of other kinds and organizations are not meant."""
    keys = ["x:1", "x:3", "x:2", "x:4", "y:1"]

    def change(tx):
        for key in keys:
            tx.owe("webhook", key, {"key": key})
        tx.owe("site", "x:0", {})
        tx.owe("webhook", "x:0", {}, organization_id="other")

    await world.store.write(change)
    dead = next(one for one in world.store.read().outbox().records if one.key == "x:2")
    await world.store.write(lambda tx: tx.defer(dead.id, due_at=0.0, error="no", dead=True))
    reader = world.store.read()
    assert [one.key for one in reader.owed_before("default", "webhook", "x:", "x:4")] == ["x:1", "x:3"]
    assert [one.key for one in reader.owed_before("default", "webhook", "x:", "x:4", limit=1)] == ["x:1"]
    assert [one.key for one in reader.owed_before("default", "webhook", "x:1!", "y:2")] == ["x:3", "x:4", "y:1"]


async def test_the_run_before_a_run(world):
    """Of the same job, repository and ref; it has ended, in one of the states."""

    async def ended(state, **fields):
        request = await world.request(**{"ref": "refs/heads/main", **fields})
        if state is not None:
            await world.store.write(lambda tx: tx.end_request(request.id, state))
        return world.store.read().request(request.id)

    good = await ended(State.FAILED)
    await ended(State.FAILED, ref="refs/heads/other")
    await ended(State.FAILED, job_type="lint")
    await ended(State.CANCELLED)
    await ended(State.SKIPPED)
    await ended(None)
    this = await ended(State.FAILED)
    await ended(State.FAILED)
    reader, outcomes = world.store.read(), (State.COMPLETED, State.FAILED)
    assert reader.request_before(this, outcomes) == good
    assert reader.request_before(this, (State.COMPLETED, State.COMPLETED)) is None
    assert reader.request_before(good, outcomes) is None
