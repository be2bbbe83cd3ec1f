"""Artifacts, tokens, ants, health and figures over the API."""

import io
import time
from datetime import datetime

import pytest

from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.records import Artifact
from formicary.runner.core.states import State

LIST = "/api/jobs/requests"


async def submit(client, headers, **body):
    return await client.post(LIST, json={"job_type": "ci", **body}, headers=headers)


# Requests


@pytest.fixture
async def artifact(door, store, make_request, make_execution):
    request = await make_request()
    execution = await make_execution(request)
    digest = door.objects.put(io.BytesIO(b"<script>0123456789"))
    made = Artifact(
        repository_id=request.repository_id,
        request_id=request.id,
        task_execution_id=f"{execution.id}-1",
        task_type="build",
        name='out/a"\r\nb é.html',
        size=digest.size,
        digest=digest.sha256,
        created_at=time.time(),
    )
    return await store.write(lambda tx: tx.add_artifact(made))


async def test_an_artifact_is_an_attachment_that_runs_nothing(client, admin, artifact):
    """T15."""
    response = await client.get(f"/api/artifacts/{artifact.id}/download", headers=admin)
    assert response.content == b"<script>0123456789"
    assert response.headers["content-disposition"] == "attachment; filename*=utf-8''a%22%0D%0Ab%20%C3%A9.html"
    assert response.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["content-length"] == "18"


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=0-7", 206, b"<script>", "bytes 0-7/18"),
        ("bytes=8-", 206, b"0123456789", "bytes 8-17/18"),
        ("bytes=-3", 206, b"789", "bytes 15-17/18"),
        ("bytes=-99", 206, b"<script>0123456789", "bytes 0-17/18"),
        ("bytes=17-99", 206, b"9", "bytes 17-17/18"),
        ("bytes=18-", 416, None, "bytes */18"),
        ("bytes=-0", 416, None, "bytes */18"),
        ("bytes=5-2", 200, b"<script>0123456789", None),
        ("bytes=0-1,3-4", 200, b"<script>0123456789", None),
        ("lines=0-1", 200, b"<script>0123456789", None),
        ("bytes=-", 200, b"<script>0123456789", None),
        ("bytes=" + "9" * 30 + "-", 200, b"<script>0123456789", None),
    ],
)
async def test_a_part_of_an_artifact(client, admin, artifact, wanted, status, body, content_range):
    response = await client.get(f"/api/artifacts/{artifact.id}/download", headers={**admin, "range": wanted})
    assert response.status_code == status
    assert response.headers.get("content-range") == content_range
    if body is not None:
        assert response.content == body


async def test_a_part_of_another_artifact_is_the_whole(client, admin, artifact):
    headers = {**admin, "range": "bytes=0-1", "if-range": '"other"'}
    assert (await client.get(f"/api/artifacts/{artifact.id}/download", headers=headers)).status_code == 200


async def test_an_artifact_by_its_attempt_and_number(client, admin, as_, store, artifact, other_repository):
    """What tasks have as `<task>_ArtifactURL_<n>`."""

    def number(tx):
        execution = tx.execution(int(artifact.task_execution_id.partition("-")[0]))
        run, attempt = execution.attempt(artifact.task_execution_id)
        ref = ArtifactRef(name=artifact.name, digest=artifact.digest, number=2)
        run = run.model_copy(update={"attempts": (attempt.model_copy(update={"artifacts": (ref,)}),)})
        tx.save_execution(execution.model_copy(update={"tasks": {**execution.tasks, run.name: run}}))

    await store.write(number)
    path = f"/api/tasks/{artifact.task_execution_id}/artifacts"
    response = await client.get(f"{path}/2", headers={**admin, "range": "bytes=0-7"})
    assert (response.status_code, response.content) == (206, b"<script>")
    assert "sandbox" in response.headers["content-security-policy"]
    for wrong in (f"{path}/1", f"{path}/0", "/api/tasks/99-1/artifacts/2", "/api/tasks/x/artifacts/2"):
        assert (await client.get(wrong, headers=admin)).status_code == 404
    stranger = await as_(repository_id=other_repository.id)
    assert (await client.get(f"{path}/2", headers=stranger)).status_code == 404
    await store.write(lambda tx: tx.delete_artifacts([artifact.id]))
    assert (await client.get(f"{path}/2", headers=admin)).status_code == 404


async def test_artifacts_are_listed_and_shown(client, admin, as_, artifact, other_repository):
    listed = (await client.get("/api/artifacts", params={"request_id": artifact.request_id}, headers=admin)).json()
    assert [one["id"] for one in listed["records"]] == [artifact.id]
    assert (await client.get(f"/api/artifacts/{artifact.id}", headers=admin)).json() == listed["records"][0]
    assert (await client.get("/api/artifacts?request_id=99", headers=admin)).json()["records"] == []
    stranger = await as_(repository_id=other_repository.id)
    assert (await client.get("/api/artifacts", headers=stranger)).json()["records"] == []
    assert (await client.get(f"/api/artifacts/{artifact.id}/download", headers=stranger)).status_code == 404


async def test_an_artifact_whose_bytes_are_gone_is_not_there(client, admin, artifact, door):
    door.objects.delete(artifact.digest)
    assert (await client.get(f"/api/artifacts/{artifact.id}/download", headers=admin)).status_code == 404


# Tokens


async def test_a_token_is_shown_once_and_works(client, admin, repository):
    body = {"name": "deploy", "role": "developer", "repository": "demo", "expires_at": "2099-01-01T00:00:00Z"}
    made = await client.post("/api/users/admin/tokens", json=body, headers=admin)
    assert made.status_code == 201
    assert made.json()["repository_id"] == repository.id
    secret = made.json()["token"]
    assert (await client.get(LIST, headers={"Authorization": f"Bearer {secret}"})).status_code == 200
    listed = await client.get("/api/users/admin/tokens", headers=admin)
    assert secret not in listed.text and "digest" not in listed.text
    assert {one["name"] for one in listed.json()["records"]} == {"test", "deploy"}


async def test_a_token_expires_in_ninety_days_unless_it_says_never(client, admin):
    first = (await client.post("/api/users/admin/tokens", json={"name": "a"}, headers=admin)).json()
    never = (await client.post("/api/users/admin/tokens", json={"name": "b", "expires_at": None}, headers=admin)).json()
    left = datetime.fromisoformat(first["expires_at"]).timestamp() - time.time()
    assert 89 * 86400 < left < 91 * 86400
    assert never["expires_at"] is None
    assert first["role"] == "viewer"


async def test_wrong_tokens_are_not_made(client, admin):
    for body in ({}, {"name": ""}, {"name": "x", "role": "king"}, {"name": "x", "expires_at": "2001-01-01T00:00:00Z"}):
        assert (await client.post("/api/users/admin/tokens", json=body, headers=admin)).status_code == 422
    assert (await client.post("/api/users/bob/tokens", json={"name": "x"}, headers=admin)).status_code == 404
    assert (await client.delete("/api/users/admin/tokens/99", headers=admin)).status_code == 404


# Ants, health, figures


async def test_ants_are_listed(client, admin):
    (ant,) = (await client.get("/api/ants", headers=admin)).json()["records"]
    assert ant == {
        "ant_id": "ant-1",
        "tags": ["linux"],
        "methods": ["SHELL"],
        "without": {"DOCKER": "no container engine answers"},
        "platform": "linux",
        "hands": 4,
        "free": 3,
        "state": "JOINED",
        "running": ["1-1"],
    }


async def test_health_is_yes_or_no_and_nothing_else(client, queen, door):
    """T17, D9: alive is that the loop turns, ready is that the parts answer."""
    for path in ("/health/live", "/health/ready"):
        response = await client.get(path)
        assert (response.status_code, response.text) == (200, "yes\n")
    queen.illness["bus"] = "cannot reach nats://secret-host"
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.text) == (503, "no\n")
    assert (await client.get("/health/live")).status_code == 200
    queen.illness["bus"] = ""
    door.close()
    assert (await client.get("/health/ready")).status_code == 503


async def test_not_ready_without_a_store(client, store):
    store.close()
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/live")).status_code == 200


async def test_the_version_is_told(client, admin):
    assert (await client.get("/version", headers=admin)).json()["version"][0].isdigit()


async def test_figures_for_prometheus(client, admin, make_request, make_execution, store):
    await client.post("/hooks/commit", content=b"{}")
    live = await make_request()
    await make_execution(await make_request(), State.COMPLETED)

    async def figures():
        response = await client.get("/metrics", headers=admin)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        lines = [line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    first = await figures()
    assert first['formicary_requests{state="PENDING"}'] == 1
    assert first["formicary_queue_length"] == 1
    assert first["formicary_ant_hands"] == 4
    assert first["formicary_ant_hands_free"] == 3
    assert first["formicary_tasks_running"] == 1
    assert first["formicary_webhook_bad_signatures_total"] == 1
    assert first['formicary_deliveries_total{verdict="bad_signature"}'] == 1
    assert first['formicary_job_duration_seconds_count{state="COMPLETED"}'] == 1
    await make_execution(live, State.COMPLETED)
    assert (first['formicary_outbox{state="waiting"}'], first["formicary_outbox_age_seconds"]) == (0, 0)
    await store.write(lambda tx: tx.owe("status", "a", {}))
    await store.write(lambda tx: tx.owe("status", "b", {}))
    (entry, _) = store.read().outbox_since(0)
    await store.write(lambda tx: tx.defer(entry.id, due_at=0.0, error="404", dead=True))
    second = await figures()
    assert (second['formicary_outbox{state="waiting"}'], second['formicary_outbox{state="dead"}']) == (1, 1)
    assert second["formicary_outbox_age_seconds"] >= 0
    assert second['formicary_job_duration_seconds_count{state="COMPLETED"}'] == 2
    assert (await figures())['formicary_job_duration_seconds_count{state="COMPLETED"}'] == 2


async def test_what_a_push_would_run_is_explained(client, admin, repository):
    said = {"repository": repository.name, "ref": "topic"}
    found = await client.post("/api/explain", json=said, headers=admin)
    assert found.status_code == 200
    (one,) = found.json()["records"]
    assert (one["job_type"], one["answer"]) == ("ci", "skipped") and "`topic`" in one["reason"]
    assert (await client.post("/api/explain", json={**said, "ref": "gone"}, headers=admin)).status_code == 404
    assert (await client.post("/api/explain", json={**said, "commit": "x"}, headers=admin)).status_code == 422
    assert (await client.post("/api/explain", json={"repository": "nope"}, headers=admin)).status_code == 404
