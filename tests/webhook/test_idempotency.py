"""`Idempotency-Key`: what is asked twice is done once, whatever happens between."""

import httpx
import pytest

from formicary.runner.core.errors import Conflict, WorldError
from formicary.webhook.app import build_app

LIST = "/api/jobs/requests"


async def test_the_same_call_with_the_same_key_is_done_once(client, admin, queen, definition):
    headers = {**admin, "Idempotency-Key": "k1"}
    first = await client.post(LIST, json={"job_type": "ci"}, headers=headers)
    second = await client.post(LIST, json={"job_type": "ci"}, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert len(queen.asks) == 1


async def test_another_call_with_the_same_key_is_refused(client, admin, queen, definition):
    headers = {**admin, "Idempotency-Key": "k1"}
    await client.post(LIST, json={"job_type": "ci"}, headers=headers)
    for path, body in ((LIST, {"job_type": "other"}), (f"{LIST}/1/cancel", {}), (LIST + "?x=1", {"job_type": "ci"})):
        response = await client.post(path, json=body, headers=headers)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(queen.asks) == 1


async def test_a_key_is_its_callers_own(client, as_, queen, definition):
    for _ in range(2):
        headers = {**await as_(), "Idempotency-Key": "k1"}
        assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 201
    assert len(queen.asks) == 2


async def test_a_key_outlives_a_restart(door, client, admin, queen, definition):
    headers = {**admin, "Idempotency-Key": "k1"}
    first = await client.post(LIST, json={"job_type": "ci"}, headers=headers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(door)), base_url="http://localhost") as again:
        second = await again.post(LIST, json={"job_type": "ci"}, headers=headers)
    assert second.json() == first.json()
    assert len(queen.asks) == 1


async def test_what_failed_may_be_tried_again_with_its_key(client, admin, queen, definition):
    headers = {**admin, "Idempotency-Key": "k1"}
    queen.refuse = WorldError("Not now.")
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 503
    queen.refuse = None
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 201


async def test_a_crash_before_the_answer_is_kept_does_nothing_twice(
    door, client, admin, store, definition, monkeypatch
):
    """That it was done is on disk with what was done: the file of the answer comes later."""
    from formicary.webhook.idempotency import Answers

    headers = {**admin, "Idempotency-Key": "k1"}

    def crash(*_):
        raise SystemExit("the process ends here")

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Answers, "put", crash)
        await client.post(LIST, json={"job_type": "ci"}, headers=headers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(door)), base_url="http://localhost") as again:
        answer = await again.post(LIST, json={"job_type": "ci"}, headers=headers)
        other = await again.post(LIST, json={"job_type": "other"}, headers=headers)
    assert answer.status_code == 409 and "This was done" in answer.json()["detail"]
    assert other.status_code == 422
    assert store.read().requests().total_records == 1


async def test_a_refusal_after_a_change_may_be_tried_again_with_its_key(client, admin, store, queen, definition):
    async def half(ask):
        await store.write(lambda tx: None)
        raise Conflict("Not so.")

    headers, whole = {**admin, "Idempotency-Key": "k1"}, queen.submit
    queen.submit = half
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 409
    queen.submit = whole
    assert (await client.post(LIST, json={"job_type": "ci"}, headers=headers)).status_code == 201


async def test_a_tokens_secret_is_not_kept_for_its_key(client, admin, data, store):
    headers = {**admin, "Idempotency-Key": "k1"}
    first = await client.post("/api/users/admin/tokens", json={"name": "x"}, headers=headers)
    secret = first.json()["token"]
    second = await client.post("/api/users/admin/tokens", json={"name": "x"}, headers=headers)
    assert second.status_code == 409
    assert len(store.read().tokens()) == 2
    (kept,) = (data / "idempotency").iterdir()
    assert secret not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


async def test_kept_answers_are_bounded(tmp_path):
    from formicary.webhook.idempotency import Answers

    answers = Answers(tmp_path / "kept")
    for number in range(5):
        answers.put(str(number), {"asked": "a", "status": 200, "headers": {}, "body": ""})
    answers.sweep(most=3)
    assert len(list(answers.folder.iterdir())) == 3


async def test_an_answer_is_forgotten_after_a_day(tmp_path):
    import os

    from formicary.webhook.idempotency import KEPT_SECONDS, Answers

    answers = Answers(tmp_path / "kept")
    answers.put("k", {"asked": "a", "status": 200, "headers": {}, "body": ""})
    path = answers.folder / "k"
    os.utime(path, (0, path.stat().st_mtime - KEPT_SECONDS - 1))
    assert answers.get("k") is None
    answers.sweep()
    assert list(answers.folder.iterdir()) == []


@pytest.mark.parametrize("key", [b"", b"x" * 201, b"a b", b"\xe9"])
async def test_a_key_has_a_form(client, admin, key):
    response = await client.post(LIST, json={"job_type": "ci"}, headers={**admin, "Idempotency-Key": key})
    assert response.status_code == 400
