"""Shared resources over HTTP."""

from __future__ import annotations

import pytest

from formicary.runner.core.execution import Held
from formicary.runner.core.records import JobResource, Role

PATH = "/api/jobs/resources"
DB = {"resource_type": "db", "quota": 3, "platform": "linux", "tags": ["eu"], "configs": {"host": "db1"}}


@pytest.fixture
async def maintainer(as_):
    return await as_(Role.MAINTAINER)


@pytest.fixture
async def made(client, maintainer):
    answer = await client.post(PATH, headers=maintainer, json=DB)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{PATH}/{answer.json()['id']}"
    return answer.json()


async def test_a_resource_is_registered_changed_switched_and_forgotten(client, maintainer, queen, made):
    one = f"{PATH}/{made['id']}"
    assert {name: made[name] for name in DB} == DB
    assert (made["held"], made["disabled"]) == (0, False) and ("ring",) in queen.calls
    queen.registry.board.places.hold(Held(resource_id=made["id"], resource_type="db", value=2))
    assert (await client.get(one, headers=maintainer)).json()["held"] == 2
    changed = await client.put(one, headers=maintainer, json={**DB, "quota": 9, "description": "fast"})
    assert (changed.status_code, changed.json()["quota"], changed.json()["created_at"]) == (200, 9, made["created_at"])
    assert (await client.post(f"{one}/disable", headers=maintainer)).json()["disabled"] is True
    assert next(iter(queen.registry.board.places.pools.by_id.values())).disabled
    assert (await client.post(f"{one}/enable", headers=maintainer)).json()["disabled"] is False
    assert (await client.delete(one, headers=maintainer)).status_code == 204
    for call in (client.get(one, headers=maintainer), client.delete(one, headers=maintainer)):
        assert (await call).status_code == 404


async def test_properties_are_set_and_removed_one_by_one(client, maintainer, made):
    one = f"{PATH}/{made['id']}/configs"
    answer = await client.post(one, headers=maintainer, json={"name": "port", "value": 5432})
    assert answer.json()["configs"] == {"host": "db1", "port": 5432}
    assert (await client.delete(f"{one}/host", headers=maintainer)).status_code == 204
    assert (await client.delete(f"{one}/host", headers=maintainer)).status_code == 404
    assert (await client.get(f"{PATH}/{made['id']}", headers=maintainer)).json()["configs"] == {"port": 5432}


async def test_lists_show_what_is_the_organization_s(client, maintainer, store, made):
    await store.write(lambda tx: tx.put_resource(JobResource(organization_id="other", resource_type="db")))
    theirs = next(one.id for one in store.read().resources() if one.organization_id == "other")
    await client.post(PATH, headers=maintainer, json={"resource_type": "bus"})
    listed = (await client.get(PATH, headers=maintainer)).json()
    assert [one["resource_type"] for one in listed["records"]] == ["bus", "db"]
    only = (await client.get(PATH, headers=maintainer, params={"resource_type": "db"})).json()
    assert [one["id"] for one in only["records"]] == [made["id"]]
    assert (await client.get(f"{PATH}/{theirs}", headers=maintainer)).status_code == 404
    assert (await client.delete(f"{PATH}/{theirs}", headers=maintainer)).status_code == 404


async def test_who_may(client, as_, repository, made):
    for headers in (await as_(Role.DEVELOPER), await as_(Role.MAINTAINER, repository_id=repository.id)):
        assert (await client.get(PATH, headers=headers)).status_code == 200
        assert (await client.post(PATH, headers=headers, json={"resource_type": "x"})).status_code == 403
        assert (await client.post(f"{PATH}/{made['id']}/disable", headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (DB, 409, None),
        ({"resource_type": ""}, 422, "resource_type"),
        ({**DB, "quota": 0}, 422, "quota"),
        ({**DB, "units": 4}, 422, "units"),
        ({**DB, "configs": {"not a name": 1}}, 422, "configs.not a name.[key]"),
        ({**DB, "configs": {"long": "x" * 70_000}}, 422, "configs.long"),
    ],
)
async def test_what_is_wrong_is_named(client, maintainer, made, body, status, field):
    answer = await client.post(PATH, headers=maintainer, json=body)
    assert answer.status_code == status
    if field:
        assert answer.json()["errors"][0]["field"] == field
