"""Artifacts that lie in a bucket: passed on by the door, or given by the bucket itself."""

import io
import time
from dataclasses import replace

import httpx
import pytest
from buckets import open_store

from formicary.runner.core.records import Artifact


@pytest.fixture
async def artifact(door, s3, tmp_path, store, make_request, make_execution):
    door.objects = open_store(s3, tmp_path / "scratch", s3.bucket())
    request = await make_request()
    execution = await make_execution(request)
    digest = door.objects.put(io.BytesIO(b"<script>" + bytes(3_000_000)))
    made = Artifact(
        repository_id=request.repository_id,
        request_id=request.id,
        task_execution_id=f"{execution.id}-1",
        task_type="build",
        name="out/page.html",
        size=digest.size,
        digest=digest.sha256,
        created_at=time.time(),
    )
    return await store.write(lambda tx: tx.add_artifact(made))


async def test_the_door_passes_it_on(client, admin, artifact):
    """Whole and in parts, as an attachment (T15)."""
    path = f"/api/artifacts/{artifact.id}/download"
    whole = await client.get(path, headers=admin)
    assert whole.status_code == 200 and whole.content == b"<script>" + bytes(3_000_000)
    part = await client.get(path, headers={**admin, "range": "bytes=6-9"})
    assert (part.status_code, part.content) == (206, b"t>\0\0")


async def test_the_bucket_gives_it(client, admin, as_, artifact, door, other_repository):
    """Only where the operator wants that, only to who may have it, and not for ever."""
    door.settings = replace(door.settings, download_links=60)
    path = f"/api/artifacts/{artifact.id}/download"
    sent = await client.get(path, headers=admin)
    assert sent.status_code == 307 and sent.headers["cache-control"] == "no-store"
    assert "X-Amz-Expires=60" in sent.headers["location"]
    async with httpx.AsyncClient() as anybody:
        got = await anybody.get(sent.headers["location"], headers={"range": "bytes=0-7"})
    assert (got.status_code, got.content) == (206, b"<script>")
    assert got.headers["content-disposition"] == "attachment; filename*=utf-8''page.html"
    assert (await client.head(path, headers=admin)).status_code == 200
    assert (await client.get(path, headers=await as_(repository_id=other_repository.id))).status_code == 404
    assert (await client.get(path)).status_code == 401


async def test_a_bucket_that_is_away(client, admin, artifact, door, s3, tmp_path):
    """503, to be asked again."""
    door.objects = open_store(s3, tmp_path, "bucket", endpoint="127.0.0.1:9", connect=0.2)
    answer = await client.get(f"/api/artifacts/{artifact.id}/download", headers=admin)
    assert answer.status_code == 503 and answer.headers["retry-after"]
