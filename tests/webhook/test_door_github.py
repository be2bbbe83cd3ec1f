"""GitHub's hook: its signature, its two content types, its events, and what becomes of each (T9, T10, D1)."""

import hashlib
import json
from urllib.parse import urlencode

import pytest

from formicary.webhook.forges.signature import sign

HOOK = "/hooks/github"
SECRET = b"it's a secret"
HEAD = "a" * 40


@pytest.fixture
async def ant_hill(store, repository, door):
    """The repository as acme/hill of GitHub, with a secret of its own."""
    hill = repository.model_copy(update={"forge": "github", "slug": "Acme/Hill"})
    await store.write(lambda tx: tx.put_repository(hill))
    door.forge_secret = lambda one: SECRET if one.id == hill.id else None
    return hill


def push(slug="acme/hill", **fields) -> dict:
    return {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": HEAD,
        "repository": {"full_name": slug},
        "sender": {"login": "ada"},
        **fields,
    }


def pull(action="opened", slug="acme/hill", head_slug="acme/hill", at="2026-01-01T00:00:00Z", **fields) -> dict:
    head_repo = {"full_name": head_slug} if head_slug else None
    about = {
        "number": 7,
        "state": "open",
        "title": "A title",
        "user": {"login": "ada"},
        "head": {"ref": "topic", "sha": HEAD, "repo": head_repo},
        "base": {"ref": "main", "sha": "b" * 40, "repo": {"full_name": slug}},
        "updated_at": at,
        **fields,
    }
    return {"action": action, "number": 7, "pull_request": about, **push(slug)}


@pytest.fixture
def post(client):
    async def post(payload, event="push", delivery="d-1", secret=SECRET, form=False, path=HOOK, **headers):
        text = json.dumps(payload)
        body = urlencode({"payload": text}).encode() if form else text.encode()
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        said = {
            "Content-Type": kind,
            "X-Hub-Signature-256": sign(secret, body),
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery,
        }
        return await client.post(path, content=body, headers={**said, **headers})

    return post


@pytest.mark.parametrize("form", [False, True])
async def test_a_push_is_written_down_and_wakes_the_reconciler(post, ant_hill, store, door, form):
    """The signature is over the raw bytes, also of a form; capitals of the name do not count."""
    response = await post(push(), form=form)
    assert response.status_code == 202 and response.json()["duplicate"] is False
    delivery = store.read().delivery_by_id(1)
    assert (delivery.forge, delivery.event, delivery.verdict) == ("github", "push", "accepted")
    assert delivery.fact["refs"] == ["refs/heads/main"] and delivery.repository_id == ant_hill.id
    assert json.loads(delivery.body)["after"] == HEAD
    assert door.reconciler.woken == [ant_hill.id]


async def test_a_delivery_seen_before_starts_nothing(post, ant_hill, store, door):
    """T10: by its id."""
    await post(push())
    again = await post(push())
    assert (again.status_code, again.json()["duplicate"], again.json()["delivery_id"]) == (200, True, 1)
    assert len(door.reconciler.woken) == 1 and store.read().deliveries().total_records == 1


async def test_a_fact_that_cannot_be_read_back_counts_once_by_its_body(post, ant_hill, store, door):
    """T10: the id is not signed. A push under another id only wakes the reconciler."""
    await post(pull(), "pull_request", "d-1")
    again = await post(pull(), "pull_request", "d-2")
    assert (again.status_code, again.json()["delivery_id"]) == (200, 1)
    assert len(door.reconciler.woken) == 1
    await post(push(), "push", "d-3")
    assert (await post(push(), "push", "d-4")).status_code == 202
    assert len(door.reconciler.woken) == 3


async def test_pull_requests_are_facts_and_forks_are_known_as_such(post, ant_hill, store):
    """T3: a head whose repository is another one, or unknown, is a fork's."""
    await post(pull(title="Ünïcode $(rm)"), "pull_request", "d-1")
    await post(pull(head_slug="mallory/hill"), "pull_request", "d-2")
    await post(pull(head_slug=None), "pull_request", "d-3")
    facts = [store.read().delivery_by_id(number).fact["pull_request"] for number in (1, 2, 3)]
    assert [fact["fork"] for fact in facts] == [False, True, True]
    first = facts[0]
    assert (first["number"], first["head_commit"], first["base_ref"]) == (7, HEAD, "main")
    assert first["title"] == "Ünïcode $(rm)" and first["updated_at"] == 1767225600.0


@pytest.mark.parametrize(
    ("payload", "event", "refs"),
    [
        ({**push(), "ref": "v1", "ref_type": "tag"}, "create", ["refs/tags/v1"]),
        ({**push(), "ref": "topic", "ref_type": "branch"}, "delete", ["refs/heads/topic"]),
    ],
)
async def test_branches_and_tags_come_and_go(post, ant_hill, store, payload, event, refs):
    await post(payload, event)
    assert store.read().delivery_by_id(1).fact["refs"] == refs


@pytest.mark.parametrize(
    ("payload", "event", "reason"),
    [
        ({"zen": "Keep it simple.", "hook_id": 1, "repository": {"full_name": "acme/hill"}}, "ping", "asked whether"),
        ({"action": "created", "repository": {"full_name": "acme/hill"}}, "star", "acts on such an event"),
    ],
)
async def test_what_nobody_acts_on_is_written_down_and_ignored(post, ant_hill, store, door, payload, event, reason):
    assert (await post(payload, event)).status_code == 202
    delivery = store.read().delivery_by_id(1)
    assert delivery.verdict == "ignored" and reason in delivery.reason
    assert door.reconciler.woken == []


async def test_without_a_secret_nothing_is_accepted(client, post, ant_hill, door, store):
    """T9: fail closed; a wrong, missing or SHA-1 signature is 401, counted, and its body never parsed."""
    for headers in ({"X-Hub-Signature-256": ""}, {"X-Hub-Signature-256": "sha256=" + "0" * 64}):
        assert (await post(push(), **headers)).status_code == 401
    old = await post(push(), **{"X-Hub-Signature-256": "", "X-Hub-Signature": "sha1=" + "0" * 40})
    assert old.status_code == 401 and "has no x-hub-signature-256" in old.json()["detail"].lower()
    door.forge_secret = lambda one: None
    assert (await post(push())).status_code == 401
    assert (await post(push(), secret=b"")).status_code == 401
    broken = await client.post(HOOK, content=b"{", headers={"X-Hub-Signature-256": "sha256=" + "0" * 64})
    assert broken.status_code == 401
    assert door.verdicts["bad_signature"] == 6 and store.read().deliveries().total_records == 0


async def test_a_secret_speaks_for_its_own_repository_only(post, ant_hill, store, door, repository):
    """The default secret speaks for those that have none of their own, and for none that has one."""
    other = repository.model_copy(update={"id": 0, "name": "nest", "forge": "github", "slug": "acme/nest"})
    nest = await store.write(lambda tx: tx.put_repository(other))
    door.default_secrets = {"github": b"default"}
    assert (await post(push("acme/nest"))).status_code == 401
    assert (await post(push("acme/hill"), secret=b"default")).status_code == 401
    assert (await post(push("acme/nest"), secret=b"default")).status_code == 202
    assert store.read().delivery_by_id(1).repository_id == nest.id


async def test_an_organizations_hook_tells_of_repositories_that_are_not_watched(post, ant_hill, store, door):
    """The default secret is good, the repository unknown: written down, and nothing follows."""
    door.default_secrets = {"github": b"default"}
    response = await post(push("acme/unknown"), secret=b"default")
    assert response.status_code == 202
    delivery = store.read().delivery_by_id(1)
    assert (delivery.repository_id, delivery.verdict) == (None, "ignored") and "acme/unknown" in delivery.reason


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"a=b", "application/x-www-form-urlencoded", 400),
        (b"{}", "text/plain", 415),
        (json.dumps({**push(), "ref": 3}).encode(), "application/json", 422),
        (json.dumps({**pull(), "pull_request": {}}).encode(), "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_reason(client, ant_hill, store, content, kind, status):
    event = "pull_request" if b"pull_request" in content else "push"
    headers = {
        "Content-Type": kind,
        "X-Hub-Signature-256": sign(SECRET, content),
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": "d",
    }
    response = await client.post(HOOK, content=content, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert store.read().deliveries().total_records == 0


async def test_the_originals_path_does_the_same(post, ant_hill, store):
    """Its query (job, authorization) is ignored: the signature counts."""
    response = await post(push(), path="/auth/github/webhook?job=x&authorization=token")
    assert response.status_code == 202
    digest = store.read().delivery_by_id(1).body_digest
    assert digest == hashlib.sha256(json.dumps(push()).encode()).hexdigest()
