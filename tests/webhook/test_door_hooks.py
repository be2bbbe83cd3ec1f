"""The commit hook: signed, on disk before it is answered, and harmless however often it comes."""

import hashlib
import json
import os

import pytest

from formicary.runner.core.records import Delivery
from formicary.webhook import datafolder
from formicary.webhook.datafolder import hook_secret, known_hook_secret
from formicary.webhook.forges.commit import means
from formicary.webhook.forges.signature import sign, signers

HOOK = "/hooks/commit"


@pytest.fixture
def secret(data, repository) -> bytes:
    return hook_secret(data, repository)


def body_of(repository="demo", **fields) -> bytes:
    move = {"ref": "refs/heads/main", "before": "0" * 40, "after": "a" * 40}
    return json.dumps({"repository": repository, "refs": [move], "at": "2026-01-01T00:00:00Z", **fields}).encode()


def headers_of(secret: bytes, body: bytes, delivery="d-1") -> dict[str, str]:
    return {"X-Formicary-Signature-256": sign(secret, body), "X-Formicary-Delivery": delivery}


async def test_a_signed_call_is_written_down_and_wakes_the_reconciler(client, secret, store, door, repository):
    body = body_of()
    response = await client.post(HOOK, content=body, headers=headers_of(secret, body))
    assert response.status_code == 202
    assert response.json() == {"delivery_id": 1, "duplicate": False, "request_ids": []}
    delivery = store.read().delivery_by_id(1)
    assert delivery.body.encode() == body
    assert delivery.body_digest == hashlib.sha256(body).hexdigest()
    assert delivery.repository_id == repository.id
    assert door.reconciler.woken == [repository.id]


async def test_the_delivery_is_on_disk_before_the_reconciler_hears_of_it(client, secret, store, door):
    """D1: a crash after the answer loses nothing; nor does one before the wake-up."""
    seen = []
    door.reconciler.wake = lambda repository_id: seen.append(store.read().deliveries().total_records)
    body = body_of()
    await client.post(HOOK, content=body, headers=headers_of(secret, body))
    assert seen == [1]


async def test_what_cannot_be_written_down_is_not_accepted(client, secret, store, door):
    """D1."""
    store.close()
    body = body_of()
    response = await client.post(HOOK, content=body, headers=headers_of(secret, body))
    assert response.status_code >= 500
    assert door.reconciler.woken == []


async def test_a_delivery_seen_before_starts_nothing(client, secret, store, door):
    """T10: 200, the first one's id, and the request ids that it has by now."""
    body = body_of()
    await client.post(HOOK, content=body, headers=headers_of(secret, body))
    first = store.read().delivery_by_id(1)
    await store.write(lambda tx: tx.save_delivery(first.model_copy(update={"request_ids": (7, 8)})))
    for _ in range(2):
        again = await client.post(HOOK, content=body, headers=headers_of(secret, body))
        assert again.status_code == 200
        assert again.json() == {"delivery_id": 1, "duplicate": True, "request_ids": [7, 8]}
    assert len(door.reconciler.woken) == 1
    assert store.read().deliveries().total_records == 1


async def test_a_replay_under_another_id_only_wakes_the_reconciler(client, secret, store, door, queen):
    """T10: the id is not signed; a look at the refs is all that it can cause."""
    body = body_of()
    for delivery in ("d-1", "d-2"):
        response = await client.post(HOOK, content=body, headers=headers_of(secret, body, delivery))
        assert response.status_code == 202
    assert queen.asks == []
    assert len(door.reconciler.woken) == 2


@pytest.mark.parametrize(
    "signature",
    [None, "", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40, "0" * 64, "sha256=" + "é" * 64],
)
async def test_a_bad_signature_is_refused_and_counted_and_its_body_not_parsed(
    client, secret, store, door, monkeypatch, signature
):
    """T9: fail closed."""
    from formicary.webhook.forges import commit

    def never(*_):
        raise AssertionError("the body was parsed")

    monkeypatch.setattr(commit.CommitHook, "model_validate_json", never)
    headers = {"X-Formicary-Delivery": "d-1"}
    if signature is not None:
        headers["X-Formicary-Signature-256"] = signature.encode("latin-1")
    response = await client.post(HOOK, content=body_of(), headers=headers)
    assert response.status_code == 401
    assert door.verdicts["bad_signature"] == 1
    assert store.read().deliveries().total_records == 0
    assert door.reconciler.woken == []


async def test_the_signature_is_over_the_raw_bytes(client, secret, store):
    body = body_of()
    headers = headers_of(secret, body)
    for changed in (body + b" ", body.replace(b"main", b"evil")):
        assert (await client.post(HOOK, content=changed, headers=headers)).status_code == 401


async def test_without_a_secret_nothing_is_accepted(client, data, repository):
    """T9: no secret configured means refused."""
    assert known_hook_secret(data, repository) is None
    body = body_of()
    for secret in (b"", b"None"):
        assert (await client.post(HOOK, content=body, headers=headers_of(secret, body))).status_code == 401
    (data / "hooks").mkdir()
    (data / "hooks" / f"{repository.id}.secret").write_text("\n")
    assert (await client.post(HOOK, content=body, headers=headers_of(b"", body))).status_code == 401


async def test_a_secret_speaks_for_its_own_repository_only(client, secret, store, other_repository, door):
    for name in ("other", "/src/other", "nobody", "../demo"):
        body = body_of(name)
        assert (await client.post(HOOK, content=body, headers=headers_of(secret, body))).status_code == 401
    assert store.read().deliveries().total_records == 0
    assert door.verdicts["bad_signature"] == 4


@pytest.mark.parametrize("name", ["demo", "/src/demo", "/src/demo/", "/src/demo/.git", "1"])
async def test_a_repository_may_be_named_in_several_ways(client, secret, name):
    body = body_of(name)
    assert (await client.post(HOOK, content=body, headers=headers_of(secret, body))).status_code == 202


async def test_the_same_delivery_id_of_two_repositories_is_two_deliveries(
    client, data, secret, other_repository, store
):
    for name, key in (("demo", secret), ("other", hook_secret(data, other_repository))):
        body = body_of(name)
        assert (await client.post(HOOK, content=body, headers=headers_of(key, body))).status_code == 202


@pytest.mark.parametrize("delivery", ["", "a b", "x" * 201])
async def test_a_delivery_has_an_id(client, secret, delivery):
    body = body_of()
    assert (await client.post(HOOK, content=body, headers=headers_of(secret, body, delivery))).status_code == 400


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"{}", 422), (b"[]", 422), (b'{"repository": 5}', 422)])
async def test_signed_nonsense_is_named(client, secret, body, status):
    response = await client.post(HOOK, content=body, headers=headers_of(secret, body))
    assert response.status_code == status


async def test_a_large_body_is_checked_as_well(client, secret):
    body = body_of(padding="x" * (2 << 20))
    assert (await client.post(HOOK, content=body, headers=headers_of(secret, body))).status_code == 202
    assert (await client.post(HOOK, content=body + b" ", headers=headers_of(secret, body))).status_code == 401


async def test_a_hook_secret_is_made_once_and_for_nobody_else(data, repository):
    first = hook_secret(data, repository)
    assert hook_secret(data, repository) == first == known_hook_secret(data, repository)
    assert len(first) >= 43
    path = data / "hooks" / f"{repository.id}.secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_hook_secret_is_read_again_when_its_file_has_changed(data, repository, other_repository, monkeypatch):
    """Also one that somebody has changed by hand, without another file."""
    read, reading = [], datafolder._read
    monkeypatch.setattr(datafolder, "_read", lambda path: read.append(path.name) or reading(path))
    known = datafolder.HookSecrets(data)
    assert known.all() == {}
    first, other = hook_secret(data, repository), hook_secret(data, other_repository)
    path = data / "hooks" / f"{repository.id}.secret"
    (data / "hooks" / ".odd").write_text("x")
    for one in (path, path.with_name(f"{other_repository.id}.secret")):
        os.utime(one, (1_700_000_000, 1_700_000_000))
    read.clear()
    for _ in range(3):
        assert known.all() == {repository.id: first, other_repository.id: other}
    assert len(read) == 2, "once each"
    for text in ("another", "evil!!!"):  # as long, and within one tick of the clock
        path.write_text(text)
        assert known.all()[repository.id] == text.encode()
    path.unlink()
    assert known.all() == {other_repository.id: other}


def test_every_secret_is_tried():
    assert signers({1: b"a", 2: b"b", 3: b"b"}, b"body", sign(b"b", b"body")) == [2, 3]
    assert signers({1: b"a", 2: b""}, b"body", sign(b"", b"body")) == []
    assert signers({}, b"body", sign(b"a", b"body")) == []


def test_a_repository_is_meant_by_name_id_or_path():
    own = {"repository_id": 3, "name": "demo", "path": "/src/demo"}
    assert means("/src/demo/.git", **own)
    assert not means("/src", **own)
    assert not means(".git", **own)
    assert means("/srv/demo.git", repository_id=3, name="x", path="/srv/demo.git")


# What was delivered


async def test_deliveries_are_listed_without_and_shown_with_their_body(client, admin, secret, as_):
    body = body_of()
    await client.post(HOOK, content=body, headers=headers_of(secret, body))
    listed = (await client.get("/api/deliveries", headers=admin)).json()
    assert listed["total_records"] == 1
    assert "body" not in listed["records"][0]
    one = (await client.get("/api/deliveries/1", headers=admin)).json()
    assert one["body"].encode() == body
    from formicary.runner.core.records import Role

    assert (await client.get("/api/deliveries/1", headers=await as_(Role.DEVELOPER))).status_code == 403
    assert (await client.get("/api/deliveries/99", headers=admin)).status_code == 404


async def test_deliveries_of_others_are_not_there(client, as_, store, repository, other_repository):
    for repository_id in (repository.id, other_repository.id):
        delivery = Delivery(forge="commit", delivery_key=str(repository_id), repository_id=repository_id)
        await store.write(lambda tx, delivery=delivery: tx.add_delivery(delivery))
    headers = await as_(repository_id=repository.id)
    assert (await client.get("/api/deliveries", headers=headers)).json()["total_records"] == 1
    assert (await client.get("/api/deliveries/2", headers=headers)).status_code == 404
