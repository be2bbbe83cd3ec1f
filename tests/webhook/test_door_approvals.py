"""People approve over HTTP; and everything that people do is written down (T1, T2)."""

import pytest

from formicary.runner.core.errors import Conflict, NotAllowed
from formicary.runner.core.records import Role

REQUESTS = "/api/jobs/requests"


async def test_what_is_asked_is_named(client, as_, asked):
    """Request, commit and digest of the definition say what is approved."""
    response = await client.get(f"{REQUESTS}/{asked.id}/approvals", headers=await as_(Role.VIEWER, user_id="ada"))
    (one,) = response.json()["records"]
    assert (one["request_id"], one["commit"], one["task"]) == (asked.id, "c" * 40, "ok")
    assert one["definition"] and one["who"] == "ada" and one["may"] is True and one["needed"] == 1
    assert (one["sla_deadline"], one["timeout"]) == ("1970-01-01T00:17:10Z", "1970-01-01T00:17:40Z")
    assert one["votes"][0]["by"] == "bob" and one["votes"][0]["comment"] == "fine"
    response = await client.get(f"{REQUESTS}/{asked.id}/approvals", headers=await as_(Role.ADMIN, user_id="eve"))
    assert response.json()["records"][0]["may"] is False


@pytest.mark.parametrize("word", ["approve", "reject"])
async def test_a_vote_is_the_callers_own(client, as_, asked, queen, word):
    """T1: who votes, and as what, is what the token says."""
    headers = await as_(Role.DEVELOPER, user_id="ada")
    body = {"task": "ok", "commit": "ccccccc", "comment": "well"}
    response = await client.post(f"{REQUESTS}/{asked.id}/{word}", json=body, headers=headers)
    assert response.status_code == 200 and response.json()["id"] == asked.id
    ((_, number, ballot),) = queen.calls
    assert number == asked.id and ballot.approved is (word == "approve") and ballot.token_id
    assert (ballot.by, ballot.role, ballot.task, ballot.commit) == ("ada", "developer", "ok", "ccccccc")
    response = await client.post(f"{REQUESTS}/{asked.id}/{word}", json={"by": "eve"}, headers=headers)
    assert response.status_code == 422


@pytest.mark.parametrize(("error", "status"), [(Conflict("of commit x"), 409), (NotAllowed("it is for ada"), 403)])
async def test_a_vote_that_does_not_count(client, admin, asked, queen, error, status, monkeypatch):
    async def refuse(*_):
        raise error

    monkeypatch.setattr(queen, "vote", refuse)
    response = await client.post(f"{REQUESTS}/{asked.id}/approve", json={"commit": "d" * 40}, headers=admin)
    assert response.status_code == status and response.json()["detail"] == str(error)


async def test_what_people_do_is_written_down(client, as_, admin, asked, queen, door):
    """Who, what, when, with which token; never the value of a secret."""
    ada = await as_(Role.MAINTAINER, user_id="ada")
    await client.post(f"{REQUESTS}/{asked.id}/cancel", json={"reason": "late"}, headers=ada)
    made = await client.post("/api/users/admin/tokens", json={"name": "robot"}, headers=admin)
    await client.delete(f"/api/users/admin/tokens/{made.json()['id']}", headers=admin)
    response = await client.get("/api/audits", headers=admin)
    assert response.status_code == 200
    actions = [(one["action"], one["subject"]) for one in response.json()["records"]]
    assert actions[:2] == [("token.revoke", "robot"), ("token.create", "robot")]
    assert made.json()["token"] not in response.text
    assert (await client.get("/api/audits", headers=ada)).status_code == 403
    response = await client.get("/api/audits", params={"action": "token.create"}, headers=admin)
    (one,) = response.json()["records"]
    assert one["token_id"] and one["user_id"] == "admin" and one["detail"] == {"role": "viewer"} and one["at"]


async def test_secrets_and_repositories_leave_a_trace(client, admin, door, store, repository):
    body = {"name": "ApiKey", "value": "very-secret-value", "repository": "demo", "branches": ["main"]}
    made = await client.post("/api/secrets", json=body, headers=admin)
    await client.delete(f"/api/secrets/{made.json()['id']}", headers=admin)
    found = store.read().audits({}).records
    assert [(one.action, one.subject) for one in found] == [("secret.remove", "ApiKey"), ("secret.set", "ApiKey")]
    assert "very-secret" not in str(found) and found[1].detail["branches"] == ["main"]
