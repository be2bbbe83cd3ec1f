"""What every store keeps to: repositories, definitions, artifacts, deliveries, tokens, the outbox and retention."""

import json

import pytest

from formicary.runner.core.errors import Conflict, LostError, NotFound
from formicary.runner.core.records import Artifact, Definition, Delivery, Repository, Role, SeenRef, SyncState, Token
from formicary.runner.core.states import State


async def repository(world, name="demo", **values):
    new = Repository(id=0, name=name, path="/srv/" + name, **values)
    return await world.store.write(lambda tx: tx.put_repository(new))


async def definition(world, **values):
    given = {"id": 0, "job_type": "build", "path": ".formicary/build.yml", **values}
    return await world.store.write(lambda tx: tx.put_definition(Definition(**given)))


# Repositories


async def test_repositories_are_kept_by_number_and_name(world):
    first = await repository(world, visibility="public", seen_at=3.5)
    second = await repository(world, "other", organization_id="org")
    reader = world.store.read()
    assert reader.repositories() == [first, second]
    assert reader.repository(first.id) == first == reader.repository_named("demo")
    assert reader.repository_named("other") is None
    assert reader.repository_named("other", "org") == second
    moved = first.model_copy(update={"path": "/srv/new", "state": "unavailable", "error": "gone"})
    assert await world.store.write(lambda tx: tx.put_repository(moved)) == moved
    assert reader.repository(first.id) == moved


async def test_two_repositories_of_one_name_are_refused(world):
    await repository(world)
    with pytest.raises(Conflict, match="another repository called demo"):
        await repository(world)
    with pytest.raises(NotFound, match="no repository 9"):
        await world.store.write(lambda tx: tx.put_repository(Repository(id=9, name="x", path="/x")))


async def test_a_deleted_repository_takes_refs_definitions_and_tokens_along(world):
    """T5: a token of a repository must not become one of the whole organization."""
    made = await repository(world)
    kept = await repository(world, "kept")
    await definition(world, repository_id=made.id)
    left = await definition(world, repository_id=kept.id)
    token = Token(name="t", digest="d", repository_id=made.id)
    await world.store.write(lambda tx: tx.add_token(token))
    seen = SeenRef(repository_id=made.id, ref="refs/heads/main", commit="c", generation=1)
    await world.store.write(lambda tx: tx.put_refs([seen]))
    request = await world.run(repository_id=made.id)
    await world.store.write(lambda tx: tx.delete_repository(made.id))
    reader = world.store.read()
    assert reader.repositories() == [kept]
    assert (reader.refs(made.id), reader.definitions(), reader.tokens()) == ({}, [left], [])
    assert reader.requests(repository_id=made.id).records == (request,)
    assert (await repository(world)).id > kept.id


async def test_refs_are_as_the_last_look_found_them(world):
    """D5: refs are kept by name, with their generation."""
    made = await repository(world)
    refs = [SeenRef(repository_id=made.id, ref=f"refs/heads/{n}", commit="a", generation=1) for n in range(3)]
    await world.store.write(lambda tx: tx.put_refs(refs))
    moved = refs[1].model_copy(update={"commit": "b", "generation": 2, "gone": True})
    await world.store.write(lambda tx: tx.put_refs([moved]))
    assert world.store.read().refs(made.id) == {one.ref: one for one in (refs[0], moved, refs[2])}
    with pytest.raises(LostError):
        await world.store.write(lambda tx: tx.put_refs([moved.model_copy(update={"repository_id": 99})]))


# Definitions


async def test_definitions_by_repository_and_organization(world):
    a, b = await repository(world, "a"), await repository(world, "b", organization_id="org")
    one = await definition(world, repository_id=a.id, problems=("p:1:1: bad",), state=SyncState.INVALID)
    two = await definition(world, repository_id=b.id, organization_id="org", job_type="test", disabled=True)
    reader = world.store.read()
    assert reader.definitions() == [one, two]
    assert reader.definitions(repository_id=a.id) == [one]
    assert reader.definitions(organization_id="org") == [two]
    assert reader.definitions(repository_id=a.id, organization_id="org") == []
    changed = one.model_copy(update={"version_id": world.version_id, "state": SyncState.SYNCED, "problems": ()})
    await world.store.write(lambda tx: tx.put_definition(changed))
    assert reader.definition(one.id) == changed
    await world.store.write(lambda tx: tx.set_cron_last(one.id, 5.0))
    await world.store.write(lambda tx: tx.delete_definition(one.id))
    assert (reader.definition(one.id), reader.cron_last(one.id)) == (None, None)


async def test_a_name_finds_the_repositorys_else_the_only_one(world):
    a, b = await repository(world, "a"), await repository(world, "b")
    only = await definition(world, repository_id=a.id)
    reader = world.store.read()
    assert reader.definition_named("build") == only
    assert reader.definition_named("build", repository_id=b.id) == only
    assert reader.definition_named("build", organization_id="org") is None
    second = await definition(world, repository_id=b.id)
    assert reader.definition_named("build", repository_id=b.id) == second
    assert reader.definition_named("build") is None
    assert reader.definition_named("nothing") is None


async def test_versions_count_up_and_the_same_text_is_one(world):
    write = world.store.write
    first = world.store.read().version(world.version_id)
    again = await write(lambda tx: tx.put_version(world.some_version(commit="later")))
    assert again == first and first.version == 1
    second = await write(lambda tx: tx.put_version(world.some_version(digest="d2")))
    other = await write(lambda tx: tx.put_version(world.some_version(repository_id=7)))
    assert (second.version, other.version) == (2, 1)
    page = world.store.read().versions("build")
    assert (page.records, page.total_records) == ((second, first), 2)


async def test_when_a_schedule_was_looked_at(world):
    made = await definition(world)
    assert world.store.read().cron_last(made.id) is None
    for at in (5.0, 6.5):
        await world.store.write(lambda tx, at=at: tx.set_cron_last(made.id, at))
        assert world.store.read().cron_last(made.id) == at


# Artifacts


async def test_artifacts_and_the_bytes_that_may_go(world):
    """A digest is loose once its last row is gone, however that went, and until it is forgotten."""
    one, two = await world.run(), await world.run()

    async def add(request, digest, expires_at=None):
        new = Artifact(
            request_id=request.id,
            task_execution_id="1-1",
            task_type="a",
            name="out",
            digest=digest,
            expires_at=expires_at,
            size=3,
        )
        return await world.store.write(lambda tx: tx.add_artifact(new))

    a, b, c = await add(one, "x", 50.0), await add(two, "x"), await add(two, "y", 40.0)
    reader = world.store.read()
    assert reader.artifact(a.id) == a
    assert reader.artifacts().records == (c, b, a)
    page = reader.artifacts(request_id=two.id, page_size=1)
    assert (page.records, page.total_records) == ((c,), 2)
    assert reader.artifacts_expired(45.0) == [c]
    assert reader.artifacts_expired(50.0) == [c, a]
    assert (reader.usage_of("x"), reader.usage_of("z")) == (2, 0)
    await world.store.write(lambda tx: tx.delete_artifacts([a.id, c.id]))
    assert (reader.usage_of("x"), reader.loose_digests()) == (1, ["y"])
    await world.store.write(lambda tx: tx.expire(ended_before=5000.0, deliveries_before=0.0))
    assert (reader.artifacts().total_records, reader.loose_digests()) == (0, ["x", "y"])
    await world.store.write(lambda tx: tx.forget_digests(["x"]))
    assert reader.loose_digests() == ["y"]


# Deliveries


async def test_a_delivery_is_known_by_its_key(world):
    """T10: the second call gets the first delivery and the request ids that it has by now."""
    new = Delivery(forge="commit", delivery_key="k", body="b" * 100, received_at=1.0, event="push")
    first, fresh = await world.store.write(lambda tx: tx.add_delivery(new))
    assert fresh and world.store.read().delivery("commit", "k") == first == world.store.read().delivery_by_id(first.id)
    handled = first.model_copy(update={"verdict": "handled", "request_ids": (4, 5)})
    await world.store.write(lambda tx: tx.save_delivery(handled))
    again = await world.store.write(lambda tx: tx.add_delivery(new.model_copy(update={"body": "other"})))
    assert again == (handled, False)
    other, fresh = await world.store.write(lambda tx: tx.add_delivery(new.model_copy(update={"forge": "github"})))
    assert fresh
    page = world.store.read().deliveries(page_size=1)
    assert page.records == (other.model_copy(update={"body": ""}),) and page.total_records == 2


async def test_deliveries_are_settled_by_the_refs_that_they_name(world):
    async def deliver(key, body, repository_id=1):
        new = Delivery(forge="commit", delivery_key=key, body=body, repository_id=repository_id)
        return (await world.store.write(lambda tx: tx.add_delivery(new)))[0].id

    local = await deliver("1", json.dumps({"refs": [{"ref": "refs/heads/a"}, {"ref": "refs/heads/b"}]}))
    hub = await deliver("2", json.dumps({"ref": "refs/heads/b"}))
    none = await deliver("3", json.dumps({"ref": "refs/heads/c", "refs": {"odd": 1}}))
    broken = [await deliver(f"b{n}", body) for n, body in enumerate(["", "[", "[1]", '{"refs": [1, {"ref": []}]}'])]
    foreign = await deliver("4", json.dumps({"ref": "refs/heads/a"}), repository_id=2)
    requests = {"refs/heads/a": [10], "refs/heads/b": [11, 12]}
    moved = await deliver("5", json.dumps({"refs": [{"ref": "refs/heads/d"}, {"ref": "refs/heads/e"}]}))
    waits = await deliver("6", json.dumps({"refs": [{"ref": "refs/heads/d"}, {"ref": "refs/heads/f"}]}))
    await world.store.write(
        lambda tx: tx.settle_deliveries(1, {**requests, "refs/heads/e": []}, 1000, later={"refs/heads/f"})
    )
    reader = world.store.read()
    found = {one: (reader.delivery_by_id(one).verdict, reader.delivery_by_id(one).request_ids) for one in (local, hub)}
    assert found == {local: ("handled", (10, 11, 12)), hub: ("handled", (11, 12))}
    assert {reader.delivery_by_id(one).verdict for one in (none, *broken)} == {"coalesced"}
    assert reader.delivery_by_id(none).reason == "an earlier look at the repository had seen all that it names"
    unwanted = reader.delivery_by_id(moved)
    assert (unwanted.verdict, unwanted.reason) == ("ignored", "no job there wants what has moved")
    assert [reader.delivery_by_id(one).verdict for one in (foreign, waits)] == ["accepted"] * 2
    await world.store.write(lambda tx: tx.settle_deliveries(1, {"refs/heads/a": [99]}, 1000))
    assert reader.delivery_by_id(local).request_ids == (10, 11, 12)


# Tokens


async def test_tokens(world):
    new = Token(name="ci", digest="d" * 64, role=Role.DEVELOPER, created_at=1.0, expires_at=9.0)
    token = await world.store.write(lambda tx: tx.add_token(new))
    reader = world.store.read()
    assert (reader.tokens(), reader.token_by_digest("d" * 64), reader.token_by_digest("e")) == ([token], token, None)
    await world.store.write(lambda tx: tx.touch_token(token.id, 7.5))
    assert reader.tokens()[0].used_at == 7.5
    assert await world.store.write(lambda tx: tx.delete_token(token.id))
    assert not await world.store.write(lambda tx: tx.delete_token(token.id))
    assert reader.tokens() == []


# Outbox


async def test_the_newest_effect_of_a_key_stands_for_the_older(world):
    """D10: latest state wins; the end of the older one's sending does not take the newer one away."""
    await world.store.write(lambda tx: tx.owe("status", "k", {"state": "pending"}))
    (older,) = world.store.read().outbox_since(0)
    await world.store.write(lambda tx: tx.owe("status", "k", {"state": "success"}))
    await world.store.write(lambda tx: tx.settle(older.id))
    (newer,) = world.store.read().outbox_since(0)
    assert newer.payload == {"state": "success"} and newer.id > older.id
    await world.store.write(lambda tx: tx.settle(newer.id))
    assert world.store.read().outbox().records == ()


async def test_an_effect_replaced_before_its_first_try_is_not_put_off(world):
    """D10: coalescing never moves a first try to later; a failed one's place is free."""
    write = world.store.write
    await write(lambda tx: tx.owe("status", "k", {"n": 1}, due_at=100.0))
    await write(lambda tx: tx.owe("status", "k", {"n": 2}, due_at=200.0))
    (entry,) = world.store.read().outbox().records
    assert (entry.due_at, entry.payload) == (100.0, {"n": 2}) and entry.created_at > 0
    await write(lambda tx: tx.defer(entry.id, due_at=900.0, error="away"))
    await write(lambda tx: tx.owe("status", "k", {"n": 3}, due_at=50.0))
    (entry,) = world.store.read().outbox().records
    assert (entry.due_at, entry.attempts, entry.error) == (50.0, 0, "")


async def test_whoever_tells_the_outside_hears_of_each_commit_that_owes(world):
    heard = []
    world.store.when_owed(lambda: heard.append(len(world.store.read().outbox().records)))
    await world.store.write(lambda tx: None)
    await world.store.write(lambda tx: tx.owe("status", "k", {}))
    assert heard == [1], "after the commit, and only where something is owed"
    with pytest.raises(ValueError):
        await world.store.write(lambda tx: (tx.owe("status", "l", {}), int("x")))
    assert heard == [1]


async def test_effects_come_in_their_order_and_dead_letters_stay_visible(world):
    """D10: backoff and dead letters."""
    write, reader = world.store.write, world.store.read()
    await write(lambda tx: tx.owe("status", "late", {}, due_at=50.0))
    await write(lambda tx: tx.owe("status", "soon", {}, due_at=10.0, organization_id="org"))
    assert [(entry.key, entry.due_at) for entry in reader.outbox_since(0)] == [("late", 50.0), ("soon", 10.0)]
    assert [entry.key for entry in reader.outbox_since(0, limit=1)] == ["late"]
    soon = reader.outbox_since(0)[1]
    assert soon.organization_id == "org"
    await write(lambda tx: tx.defer(soon.id, due_at=90.0, error="403"))
    await write(lambda tx: tx.defer(soon.id, due_at=90.0, error="403", dead=True))
    assert [entry.key for entry in reader.outbox_since(0)] == ["late"]
    dead = next(entry for entry in reader.outbox().records if entry.key == "soon")
    assert (dead.dead, dead.attempts, dead.error) == (True, 2, "403")


async def test_a_dead_letter_can_be_resent_and_is_new_then(world):
    """D10: dead letters are visible and re-sendable."""
    write, reader = world.store.write, world.store.read()
    await write(lambda tx: tx.owe("status", "a", {"n": 1}, organization_id="org"))
    await write(lambda tx: tx.owe("status", "b", {}))
    first, second = reader.outbox_since(0)
    assert [entry.key for entry in reader.outbox_since(first.id)] == ["b"]
    await write(lambda tx: tx.defer(first.id, due_at=90.0, error="404", dead=True))
    await write(lambda tx: tx.defer(second.id, due_at=90.0, error="wait", tried=False))
    assert (reader.outbox_entry(second.id).attempts, reader.outbox_entry(second.id).error) == (0, "wait")
    counts = reader.outbox_counts()
    assert (counts.living, counts.dead, counts.since) == (1, 1, second.created_at)
    assert [entry.key for entry in reader.outbox(dead=True).records] == ["a"]
    assert [entry.key for entry in reader.outbox(dead=False, organization_id="default").records] == ["b"]
    heard = []
    world.store.when_owed(lambda: heard.append(1))
    again = await write(lambda tx: tx.resend(first.id))
    assert (again.attempts, again.dead, again.error, again.due_at) == (0, False, "", 0.0)
    assert (again.payload, again.organization_id, again.id > second.id, heard) == ({"n": 1}, "org", True, [1])
    assert reader.outbox_entry(first.id) is None and reader.outbox_since(second.id) == [again]
    with pytest.raises(NotFound, match="nothing owed with the number"):
        await write(lambda tx: tx.resend(first.id))


async def test_old_dead_letters_go_with_old_deliveries(world):
    """D10, D14: what nobody resends does not stay for ever."""
    write = world.store.write
    for key, due_at in (("old", 100.0), ("young", 5000.0)):
        await write(lambda tx, key=key: tx.owe("status", key, {}))
        (entry,) = [one for one in world.store.read().outbox().records if one.key == key]
        await write(lambda tx, one=entry, at=due_at: tx.defer(one.id, due_at=at, error="404", dead=True))
    await write(lambda tx: tx.owe("status", "living", {}, due_at=100.0))
    await write(lambda tx: tx.expire(ended_before=1000.0, deliveries_before=1000.0))
    assert [entry.key for entry in world.store.read().outbox().records] == ["living", "young"]


# Retention


async def test_retention_takes_what_ended_long_ago(world):
    """D13: returns the task executions whose logs may go; live requests stay however old."""
    live = await world.request()
    await world.execution(live.id)
    old = [await world.run() for _ in range(3)]
    world.clock.now = 5000.0
    young = await world.run()
    for at in (1.0, 4000.0):
        new = Delivery(forge="f", delivery_key=str(at), received_at=at)
        await world.store.write(lambda tx, new=new: tx.add_delivery(new))
    expire = {"ended_before": 2000.0, "deliveries_before": 2000.0}
    logs = list((await world.store.write(lambda tx: tx.expire(**expire, limit=2))).task_executions)
    logs += (await world.store.write(lambda tx: tx.expire(**expire))).task_executions
    reader = world.store.read()
    assert logs == [f"{request.execution_id}-1" for request in old]
    assert {request.id for request in reader.requests().records} == {live.id, young.id}
    assert reader.counts()[State.COMPLETED] == 1
    assert [reader.execution(request.execution_id) for request in old] == [None] * 3
    assert [reader.plan(request.execution_id) for request in old] == [None] * 3
    assert await world.store.write(lambda tx: tx.execution(old[0].execution_id)) is None
    assert [delivery.delivery_key for delivery in reader.deliveries().records] == ["4000.0"]
    assert await world.store.write(lambda tx: tx.expire(**expire)) == ((), (), 0)


async def test_numbers_are_never_given_twice(world, reopen):
    """Logs and blobs are filed by number: those of expired requests must not come back."""
    last = await world.run()
    await world.store.write(lambda tx: tx.expire(ended_before=5000.0, deliveries_before=0.0))
    world.store = reopen()
    request = await world.request()
    assert request.id > last.id
    assert (await world.execution(request.id)).id > last.execution_id
