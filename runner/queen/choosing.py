"""Artifacts by other ways than `dependencies`: those that a task names by their ids, and URLs of what tasks kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from formicary.runner.core.definition import Value
from formicary.runner.core.errors import UserError
from formicary.runner.core.execution import ArtifactRef, Execution
from formicary.runner.core.messages import Input
from formicary.runner.core.records import Artifact, JobRequest
from formicary.runner.store import Reader

MOST: Final = 100
"""Artifacts that a task may name."""


class NotThere(UserError):
    """An artifact that a task names is none that it may have."""


def artifact_urls(execution: Execution, url: str) -> Mapping[str, Value]:
    """`<task>_ArtifactURL_<n>`: where the n-th path of a finished task's artifacts can be downloaded, from 1. Without a
    public address of the server they begin with its path. Of tasks whose names no template could say, none."""
    return {
        f"{run.name}_ArtifactURL_{ref.number}": f"{url}/api/tasks/{run.last.id}/artifacts/{ref.number}"
        for run in execution.tasks.values()
        if run.last is not None and run.last.artifacts and run.name.isidentifier()
        for ref in run.last.artifacts
        if ref.number
    }


def chosen(reader: Reader, request: JobRequest, ids: Sequence[str]) -> tuple[Input, ...]:
    """The artifacts of these ids, in this order: the repository's own, of trusted runs, for trusted runs.

    Raises NotThere.
    """
    if not ids:
        return ()
    if not request.trusted:
        raise NotThere("`artifact_ids` is nothing for a run that is not trusted: it may not choose what it gets.")
    if len(ids) > MOST:
        raise NotThere(f"`artifact_ids` names {len(ids)} artifacts; at most {MOST} are put in place.")
    return tuple(_input(reader, request, one.strip()) for one in ids)


def _input(reader: Reader, request: JobRequest, said: str) -> Input:
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None
    if number is None:
        raise NotThere(f"`artifact_ids` takes numbers, as `GET /api/artifacts` shows them, and not `{said[:60]}`.")
    artifact = reader.artifact(number)
    owner = reader.request(artifact.request_id) if artifact else None
    if artifact is None or owner is None or not _may(request, artifact, owner):
        raise NotThere(
            f"There is no artifact {number} for this job: it has expired, or is of another repository, or of a run "
            "that is not trusted."
        )
    return Input(task_type=artifact.task_type, artifact=_ref(reader, artifact))


def _may(request: JobRequest, artifact: Artifact, owner: JobRequest) -> bool:
    same = (artifact.organization_id, artifact.repository_id) == (request.organization_id, request.repository_id)
    return same and owner.trusted


def _ref(reader: Reader, artifact: Artifact) -> ArtifactRef:
    """As its attempt has it, if that is still there: a file may be executable."""
    execution = reader.execution(int(artifact.task_execution_id.partition("-")[0]))
    found = execution.attempt(artifact.task_execution_id) if execution else None
    for ref in found[1].artifacts if found else ():
        if (ref.name, ref.digest) == (artifact.name, artifact.digest):
            return ref
    return ArtifactRef(name=artifact.name, kind=artifact.kind, digest=artifact.digest, size=artifact.size)
