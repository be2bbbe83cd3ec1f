"""Secrets over HTTP: values go in and never out."""

import base64

import pytest

from formicary.runner.core.records import Role

PATH = "/api/secrets"
VALUE = "hunter2-s3cret/va!ue"


@pytest.fixture
async def maintainer(as_):
    return await as_(Role.MAINTAINER, user_id="mia")


@pytest.fixture
def put(client, maintainer):
    async def call(headers=None, **body):
        return await client.post(PATH, headers=headers or maintainer, json={"name": "Key", "value": VALUE, **body})

    return call


async def test_a_secret_is_set_listed_replaced_and_forgotten(client, maintainer, put, repository, data):
    """The value comes back in no answer and lies in no file."""
    answer = await put(repository="demo", job="ci", branches=["main", "release/*"], events=["push"])
    assert answer.status_code == 201
    made = answer.json()
    assert made["warning"] == "" and (made["repository"], made["job"], made["created_by"]) == ("demo", "ci", "mia")
    again = await put(repository=str(repository.id), job="ci", value="another-value")
    assert (again.status_code, again.json()["id"], again.json()["branches"]) == (200, made["id"], [])
    listed = await client.get(PATH, headers=maintainer)
    (shown,) = listed.json()["records"]
    assert shown == {name: value for name, value in again.json().items() if name != "warning"}
    for one in (answer, again, listed):
        assert VALUE not in one.text and "another-value" not in one.text
    shapes = (VALUE, "another-value", base64.b64encode(VALUE.encode()).decode()[:20], VALUE.encode().hex())
    for path in data.rglob("*"):
        assert not path.is_file() or not any(shape.encode() in path.read_bytes() for shape in shapes), path
    assert (await client.delete(f"{PATH}/{made['id']}", headers=maintainer)).status_code == 204
    assert (await client.delete(f"{PATH}/{made['id']}", headers=maintainer)).status_code == 404
    assert (await client.get(PATH, headers=maintainer)).json()["total_records"] == 0


async def test_lists_are_filtered(client, maintainer, put, door, repository, other_repository):
    await put(repository="demo")
    assert door.reconciler.woken == []
    await put(repository="demo", kind="credential", name="token")
    assert door.reconciler.woken == [repository.id], "it may be let in now"
    await put(repository="other", name="B")
    await put(name="A")

    async def names(**query):
        found = (await client.get(PATH, headers=maintainer, params=query)).json()["records"]
        return [(one["repository"], one["name"]) for one in found]

    assert await names() == [("", "A"), ("demo", "token"), ("demo", "Key"), ("other", "B")]
    assert await names(repository="demo", kind="secret") == [("demo", "Key")]
    assert await names(kind="credential") == [("demo", "token")]


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"name": "a-b"}, "name", "letters, digits and _"),
        ({"name": "1a"}, "name", "letters"),
        ({"name": "GitBranch"}, "name", "Formicary's own"),
        ({"name": ""}, "name", ""),
        ({"value": " \n"}, "value", "empty"),
        ({"value": "x" * 65537}, "value", "64 KiB"),
        ({"value": "ab\0cd"}, "value", "NUL"),
        ({"job": "ci"}, "repository", "name it"),
        ({"kind": "credential", "name": "token"}, "repository", "name it"),
        ({"kind": "credential", "repository": "demo"}, "name", "token, username, deploy_key, webhook_secret"),
        ({"kind": "credential", "name": "token", "repository": "demo", "events": ["push"]}, "kind", "no limits"),
        ({"kind": "credential", "name": "token", "repository": "demo", "value": "a\nb"}, "value", "one line"),
        ({"events": ["pusch"]}, "events", "There is no event `pusch`"),
        ({"branches": [""]}, "branches.0", ""),
        ({"braches": ["main"]}, "braches", "no such field"),
    ],
)
async def test_what_is_wrong_is_said_without_the_value(put, repository, body, field, said):
    answer = await put(**body)
    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["errors"]
    assert problem["field"] == field and said in problem["reason"]
    assert VALUE not in answer.text and "ab\\u0000cd" not in answer.text


async def test_a_short_value_is_warned_about(put):
    assert "cannot be masked" in (await put(value="abc")).json()["warning"]


async def test_who_may(client, as_, put, repository, other_repository):
    for role in (Role.VIEWER, Role.DEVELOPER):
        headers = await as_(role)
        assert (await client.get(PATH, headers=headers)).status_code == 403
        assert (await put(headers)).status_code == 403
    await put()
    foreign = (await put(repository="other")).json()["id"]
    bound = await as_(Role.MAINTAINER, repository_id=repository.id)
    assert (await put(bound)).status_code == 403
    assert (await put(bound, repository="other")).status_code == 404
    assert (await put(bound, repository="demo")).status_code == 201
    (own,) = (await client.get(PATH, headers=bound)).json()["records"]
    assert own["repository"] == "demo"
    assert (await client.delete(f"{PATH}/{foreign}", headers=bound)).status_code == 404
    stranger = await as_(Role.ADMIN, organization_id="elsewhere")
    assert (await client.get(PATH, headers=stranger)).json()["records"] == []
    assert (await client.delete(f"{PATH}/{foreign}", headers=stranger)).status_code == 404


async def test_a_repeated_call_keeps_no_value(client, maintainer, data):
    """`Idempotency-Key` keeps the answer on disk, never what was sent."""
    headers = {**maintainer, "Idempotency-Key": "once"}
    for _ in range(2):
        answer = await client.post(PATH, headers=headers, json={"name": "Key", "value": VALUE})
        assert answer.status_code == 201
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert any((data / "idempotency").iterdir())
    assert not any(VALUE.encode() in path.read_bytes() for path in data.rglob("*") if path.is_file())


async def test_without_its_key_nothing_is_set_and_the_key_is_named(client, maintainer, put, door, data):
    made = (await put()).json()
    (data / "master.key").unlink()
    from formicary.cli.masterkey import MasterKey
    from formicary.runner.queen.secrets import Secrets

    door.secrets = Secrets(door.store, MasterKey(data, {}))
    answer = await put(name="Other")
    assert answer.status_code == 422
    assert made["key_id"] in answer.json()["detail"] and str(data / "master.key") in answer.json()["detail"]
    assert not (data / "master.key").exists() and made["key_id"] in door.secrets.complaint()
    await client.delete(f"{PATH}/{made['id']}", headers=maintainer)
    assert (await put(name="Other")).status_code == 201 and (data / "master.key").exists()
