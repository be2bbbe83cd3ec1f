"""A request of a registered definition that nobody asked for by hand: by the clock, or as another job has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from formicary.runner.core.definition import JobDefinition, Value
from formicary.runner.core.records import Definition, NewRequest, Repository
from formicary.runner.queen.arriving.requests import checked_params
from formicary.runner.queen.arriving.sources import Sources, git_params, tainted_names


def tracked_git(sources: Sources, repository: Repository, definition: Definition, event: str) -> dict[str, object]:
    """The git parameters of the tracked branch where the definition was registered. Blocks."""
    git, ref = sources.git(repository.path), f"refs/heads/{repository.tracked_branch}"
    return dict(git_params(git, repository, ref=ref, commit=definition.commit, before=None, event=event))


def registered_request(
    definition: Definition,
    job: JobDefinition,
    repository: Repository,
    git: Mapping[str, object],
    *,
    event: str,
    cause: str,
    created_by: str,
    given: Mapping[str, Value] = MappingProxyType({}),
    tainted: Iterable[str] = (),
) -> NewRequest:
    """At the tracked branch, with the defaults of its parameters and what is `given`, of which outsiders had a hand in
    those that are `tainted`. Raises RequestRefused where one is missing, or is not what the definition allows."""
    params, secrets = checked_params(job, given)
    return NewRequest.model_validate(
        {
            "organization_id": definition.organization_id,
            "repository_id": definition.repository_id,
            "version_id": definition.version_id,
            "job_type": definition.job_type,
            "event": event,
            "ref": f"refs/heads/{repository.tracked_branch}",
            "commit": definition.commit,
            "source_path": repository.path,
            "cause_key": cause,
            "params": {**params, **git},
            "secret_params": secrets,
            "tainted": (*tainted_names(git), *(name for name in tainted if name not in git)),
            "priority": job.priority,
            "max_concurrency": job.max_concurrency,
            "created_by": created_by,
        }
    )
