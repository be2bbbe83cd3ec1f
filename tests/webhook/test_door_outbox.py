"""D10: what is owed is shown, dead letters too, and these are sent again when somebody says so."""

import logging

import pytest

from formicary.runner.core.records import Role

PATH = "/api/outbox"


@pytest.fixture
def owe(store):
    async def owe(key, kind="status", *, dead=False, **fields):
        await store.write(lambda tx: tx.owe(kind, key, fields.pop("payload", {}), due_at=4e9, **fields))
        entry = store.read().outbox(page_size=1).records[0]
        if dead:
            await store.write(lambda tx: tx.defer(entry.id, due_at=5e9, error="401 s3cret", dead=True))
        return entry.id

    return owe


async def test_the_list_says_what_is_owed_and_what_was_given_up(client, admin, owe, door):
    """Newest first; secrets are masked (T8), and what is sent is not shown."""
    door.mask = lambda text: text.replace("s3cret", "***")
    await owe("a s3cret", payload={"request_id": 7, "body": "private"}, dead=True)
    await owe("b", kind="webhook", payload={"event": {"request_id": 8}})
    await owe("c", payload={"repository_id": 1})
    response = await client.get(PATH, headers=admin)
    found = response.json()["records"]
    assert [(one["key"], one["state"], one["request_id"], one["attempts"]) for one in found] == [
        ("c", "living", None, 0),
        ("b", "living", 8, 0),
        ("a ***", "dead", 7, 1),
    ]
    assert found[2]["error"] == "401 ***" and found[2]["due_at"] is None
    assert found[0]["due_at"].startswith("2096") and found[0]["created_at"] is not None
    assert "private" not in response.text


@pytest.mark.parametrize(
    "query, keys", [("state=dead", ["a"]), ("state=living", ["c", "b"]), ("kind=page", ["c"]), ("page_size=1", ["c"])]
)
async def test_filters(client, admin, owe, query, keys):
    await owe("a", dead=True)
    await owe("b")
    await owe("c", kind="page")
    found = (await client.get(f"{PATH}?{query}", headers=admin)).json()
    assert [one["key"] for one in found["records"]] == keys
    assert found["total_records"] == (3 if query == "page_size=1" else len(keys))
    assert (await client.get(f"{PATH}?state=undead", headers=admin)).status_code == 422


async def test_a_dead_letter_is_owed_anew(client, admin, owe, store, caplog):
    """It is due at once, with all its attempts before it, and the worker hears of it."""
    told = []
    store.when_owed(lambda: told.append(1))
    number = await owe("a", payload={"request_id": 7}, dead=True)
    told.clear()
    with caplog.at_level(logging.WARNING):
        response = await client.post(f"{PATH}/{number}/resend", headers=admin)
    assert response.status_code == 202
    again = response.json()
    assert (again["state"], again["attempts"], again["error"], again["request_id"]) == ("living", 0, "", 7)
    assert again["id"] > number
    assert told == [1]
    assert [entry.id for entry in store.read().outbox_since(0)] == [again["id"]]
    assert "status a is sent again, asked for by admin (token 1)" in caplog.text
    assert (await client.post(f"{PATH}/{number}/resend", headers=admin)).status_code == 404, "it has a new number"


async def test_one_that_waits_goes_at_once(client, admin, owe, store):
    number = await owe("a")
    again = (await client.post(f"{PATH}/{number}/resend", headers=admin)).json()
    assert [entry.id for entry in store.read().outbox_since(0)] == [again["id"]]


async def test_who_may(client, as_, owe, repository, store):
    """Viewers see, maintainers send; not with a token of one repository, and not what is another organization's."""
    number = await owe("a", dead=True)
    foreign = await owe("b", dead=True, organization_id="acme")
    viewer = await as_(Role.VIEWER, name="v")
    found = (await client.get(PATH, headers=viewer)).json()
    assert [one["key"] for one in found["records"]] == ["a"]
    assert (await client.post(f"{PATH}/{number}/resend", headers=viewer)).status_code == 403
    bound = await as_(Role.MAINTAINER, name="b", repository_id=repository.id)
    assert (await client.get(PATH, headers=bound)).status_code == 403
    assert (await client.post(f"{PATH}/{number}/resend", headers=bound)).status_code == 403
    maintainer = await as_(Role.MAINTAINER, name="m")
    assert (await client.post(f"{PATH}/{foreign}/resend", headers=maintainer)).status_code == 404
    assert (await client.post(f"{PATH}/{number}/resend", headers=maintainer)).status_code == 202
