"""A delivery is looked at again: the same one, so that nothing has a second cause (T10)."""

import logging

import pytest

from formicary.runner.core.records import Delivery, Role


@pytest.fixture
def add(store, repository):
    async def add(**fields):
        given = {"forge": "github", "delivery_key": "1:d", "repository_id": repository.id, "event": "push", **fields}
        given = {"verdict": "handled", "request_ids": (4,), "received_at": 5.0, "body": "{}", **given}
        return (await store.write(lambda tx: tx.add_delivery(Delivery(**given))))[0]

    return add


def replay(client, number, headers):
    return client.post(f"/api/deliveries/{number}/replay", headers=headers)


async def test_it_is_the_same_delivery_waiting_to_be_looked_at(client, admin, add, store, door, repository, caplog):
    """No new row: what it causes has the cause that it had; and who asked for it stands in the log."""
    delivery = await add(reason="because")
    with door.queen.changes.subscribe() as news, caplog.at_level(logging.WARNING):
        response = await replay(client, delivery.id, admin)
        assert (await news.next()).kind == "delivery"
    assert response.status_code == 202
    said = response.json()
    assert (said["id"], said["verdict"], said["reason"], said["request_ids"]) == (delivery.id, "accepted", "", [4])
    assert store.read().deliveries().total_records == 1
    again = store.read().delivery_by_id(delivery.id)
    assert again == delivery.model_copy(update={"verdict": "accepted", "reason": ""})
    assert door.reconciler.woken == [repository.id]
    assert "delivery 1 (github) is replayed, asked for by admin (token 1)" in caplog.text


@pytest.mark.parametrize("verdict", ["accepted", "handled", "coalesced", "held", "ignored"])
async def test_whatever_became_of_it_it_is_judged_anew(client, admin, add, store, door, verdict):
    """`ignored` too: no job was triggered by it then, and one may be now."""
    delivery = await add(verdict=verdict)
    assert (await replay(client, delivery.id, admin)).json()["verdict"] == "accepted"
    assert store.read().accepted_deliveries(delivery.repository_id) == [store.read().delivery_by_id(delivery.id)]
    assert len(door.reconciler.woken) == 1


@pytest.mark.parametrize("event", ["ping", "other", "other.starred"])
async def test_nothing_follows_from_what_nothing_follows_from(client, admin, add, store, door, event):
    delivery = await add(event=event, verdict="ignored", reason="the forge only asked")
    response = await replay(client, delivery.id, admin)
    assert (response.status_code, response.json()["verdict"]) == (202, "ignored")
    assert store.read().delivery_by_id(delivery.id) == delivery
    assert door.reconciler.woken == []


async def test_one_of_no_watched_repository_is_refused(client, admin, add, store, door, repository):
    nobodys = await add(repository_id=None)
    forgotten = await add(delivery_key="2:d")
    await store.write(lambda tx: tx.delete_repository(repository.id))
    for delivery in (nobodys, forgotten):
        response = await replay(client, delivery.id, admin)
        assert response.status_code == 409
        assert "deliver it again" in response.json()["detail"]
    assert door.reconciler.woken == []


async def test_who_may(client, as_, add, door, repository, other_repository):
    """Maintainers, and only of what they see; what is another's is not there."""
    delivery = await add()
    assert (await replay(client, delivery.id, {})).status_code == 401
    for role in (Role.VIEWER, Role.DEVELOPER):
        assert (await replay(client, delivery.id, await as_(role, name=str(role)))).status_code == 403
    bound = await as_(Role.MAINTAINER, repository_id=other_repository.id)
    assert (await replay(client, delivery.id, bound)).status_code == 404
    assert (await replay(client, delivery.id, await as_(Role.MAINTAINER, organization_id="acme"))).status_code == 404
    assert door.reconciler.woken == []
    assert (await replay(client, delivery.id, await as_(Role.MAINTAINER))).status_code == 202
    assert (await replay(client, 99, await as_(Role.MAINTAINER))).status_code == 404
