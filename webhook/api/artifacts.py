"""What tasks kept. A download is always an attachment under a policy that runs nothing (T15)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import BinaryIO, Final
from urllib.parse import quote

import anyio
from pydantic import Field
from starlette.responses import RedirectResponse, Response, StreamingResponse

from formicary.runner.artifacts import CHUNK
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Artifact
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment
from formicary.webhook.api.tasks import request_of_attempt
from formicary.webhook.operations import Call, Operation
from formicary.webhook.ranges import Span, is_one_range, span_of

PATH: Final = "/api/artifacts"
_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"


class ArtifactQuery(shared.PageQuery):
    request_id: int | None = Field(default=None, ge=0, lt=2**63)


class ArtifactView(shared.View):
    """`kind` is file or tar (a directory); `digest` is the sha256 of its bytes."""

    id: int
    organization_id: str
    repository_id: int | None
    request_id: int
    task_execution_id: str
    task_type: str
    name: str
    kind: str
    size: int
    digest: str
    created_at: datetime | None
    expires_at: datetime | None


def view(artifact: Artifact) -> ArtifactView:
    return ArtifactView(
        id=artifact.id,
        organization_id=artifact.organization_id,
        repository_id=artifact.repository_id,
        request_id=artifact.request_id,
        task_execution_id=artifact.task_execution_id,
        task_type=artifact.task_type,
        name=artifact.name,
        kind=artifact.kind,
        size=artifact.size,
        digest=artifact.digest,
        created_at=moment(artifact.created_at),
        expires_at=moment(artifact.expires_at),
    )


async def show_list(call: Call) -> Listed[ArtifactView]:
    query: ArtifactQuery = call.query
    page = call.door.store.read().artifacts(
        request_id=query.request_id,
        organization_id=call.caller.organization_id,
        repository_id=call.caller.repository_id,
        page=query.page,
        page_size=query.page_size,
    )
    return shared.listed(page, view)


async def show(call: Call) -> ArtifactView:
    return view(_artifact(call))


async def download(call: Call) -> Response:
    return await _send(call, _artifact(call))


async def _send(call: Call, artifact: Artifact) -> Response:
    if link := await _link(call, artifact):
        return RedirectResponse(link, 307, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    file = await anyio.to_thread.run_sync(call.door.objects.open, artifact.digest)
    wanted, etag = call.request.headers.get("range"), f'"{artifact.digest}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(_file_name(artifact), safe='')}",
        "Content-Security-Policy": _POLICY,
    }
    try:
        span, status = Span(0, artifact.size, artifact.size), 200
        if wanted and is_one_range(wanted) and call.request.headers.get("if-range", etag) == etag:
            span, status = span_of(wanted, artifact.size), 206
            headers |= span.headers
        headers["Content-Length"] = str(span.end - span.start)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(_read(file, span), status, headers, "application/octet-stream")


async def download_of_task(call: Call) -> Response:
    """The URL that tasks have as `<task>_ArtifactURL_<n>`."""
    task_execution_id, number = call.text("execution"), call.number("number")
    request = request_of_attempt(call, task_execution_id)
    reader = call.door.store.read()
    execution = reader.execution(int(task_execution_id.partition("-")[0]))
    found = execution.attempt(task_execution_id) if execution else None
    refs = [ref for ref in found[1].artifacts if ref.number == number] if found else []
    rows = reader.artifacts(request_id=request.id, page_size=1000).records if refs else ()
    for one in rows:
        if one.task_execution_id == task_execution_id and (one.name, one.digest) == (refs[0].name, refs[0].digest):
            return await _send(call, one)
    raise NotFound(f"Task execution {task_execution_id} has no artifact {number}, or it has expired.")


async def _link(call: Call, artifact: Artifact) -> str | None:
    """Where the store itself gives it to whoever has the link, if the operator wants that."""
    seconds = call.door.settings.download_links
    if not seconds or call.request.method != "GET":
        return None
    presigned = partial(call.door.objects.presigned, artifact.digest, seconds, _file_name(artifact))
    return await anyio.to_thread.run_sync(presigned)


def _artifact(call: Call) -> Artifact:
    artifact_id = call.number()
    artifact = call.door.store.read().artifact(artifact_id)
    if artifact is None or not call.caller.sees(artifact):
        raise NotFound(f"There is no artifact {artifact_id}.")
    return artifact


def _file_name(artifact: Artifact) -> str:
    name = artifact.name.rstrip("/").rpartition("/")[2] or "artifact"
    return f"{name}.tar" if artifact.kind == "tar" else name


def _read(file: BinaryIO, span: Span) -> Iterator[bytes]:
    with file:
        file.seek(span.start)
        left = span.end - span.start
        while left and (block := file.read(min(CHUNK, left))):
            left -= len(block)
            yield block


_TAG: Final = "Artifacts"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List artifacts",
        show_list,
        tag=_TAG,
        query=ArtifactQuery,
        answer=Listed[ArtifactView],
        errors=(422,),
    ),
    Operation("GET", PATH + "/{id:int}", "One artifact", show, tag=_TAG, answer=ArtifactView, errors=(404,)),
    Operation(
        "GET",
        PATH + "/{id:int}/download",
        "Its bytes (range requests)",
        download,
        tag=_TAG,
        media="application/octet-stream",
        also={206: "The range that was asked for", 307: "Where the object store gives it, if `download_links` is set"},
        errors=(404, 416),
    ),
    Operation(
        "GET",
        "/api/tasks/{execution}/artifacts/{number:int}",
        "The bytes of an attempt's artifact, by the number of its path (range requests)",
        download_of_task,
        tag=_TAG,
        media="application/octet-stream",
        also={206: "The range that was asked for", 307: "Where the object store gives it, if `download_links` is set"},
        errors=(404, 416),
    ),
)
