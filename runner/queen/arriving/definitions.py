"""The definition as a request runs it, wherever it stands: planned, or rendered for it now."""

from __future__ import annotations

from collections.abc import Callable

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import DefinitionError
from formicary.runner.core.records import JobRequest
from formicary.runner.queen.orders import render_plan
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store import Store


def job_finder(
    store: Store,
    secrets: Secrets,
    loaded: Callable[[int], JobDefinition | None],
    url: str,
    clock: Callable[[], float],
) -> Callable[[JobRequest], JobDefinition | None]:
    """A function that gives the definition as a request runs it: planned, or, before it is, rendered for it now; as it
    was loaded where that cannot be. `loaded`: the definition of a stored version."""

    def job_of(request: JobRequest) -> JobDefinition | None:
        reader = store.read()
        plan = reader.plan(request.execution_id) if request.execution_id is not None else None
        if plan is not None:
            return plan.definition
        job = loaded(request.version_id)
        version = reader.version(request.version_id) if job is not None and job.status.context else None
        if version is None:
            return job
        try:
            named = dict.fromkeys(reader.secret_params(request.id), "")  # known by their names; no value gets in
            return render_plan(request, version, named, clock(), url, secrets.seen_by(request)).definition
        except DefinitionError:
            return job

    return job_of
