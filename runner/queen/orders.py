"""An order for an ant: the attempt's own task, rendered now, with its environment. Pure but for what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from formicary.runner.core.definition import Combination, JobDefinition, Matrix, Resource, TaskDefinition, Value
from formicary.runner.core.errors import DefinitionError
from formicary.runner.core.execution import Attempt, Execution, Held, Plan, TaskRun
from formicary.runner.core.forked import FanOut
from formicary.runner.core.graph import Graph
from formicary.runner.core.load import attempt as render_attempt
from formicary.runner.core.load import constant_plan, fan_out_of
from formicary.runner.core.load import plan as render_job
from formicary.runner.core.messages import Source, TaskOrder
from formicary.runner.core.names import OUTPUT, Names, environment, names_for, secrets_of
from formicary.runner.core.records import JobRequest, Version
from formicary.runner.core.secrets.sight import NOTHING, Sight
from formicary.runner.queen.arriving.wanted import passed_by
from formicary.runner.queen.board import Live
from formicary.runner.queen.choosing import artifact_urls
from formicary.runner.queen.places import variable
from formicary.runner.queen.results import NO_RESULTS, Results, inputs_of, results_of
from formicary.runner.queen.secrets import Secrets

NO_VALUES: Final[Mapping[str, Value]] = {}


def built_in(
    request: JobRequest, now: float, *, url: str = "", started_at: float | None = None, retry: int = 0
) -> dict[str, Value]:
    """The names that nothing shadows, but for the task's own. Dates are UTC; `CI…` is what common tools look for."""
    day = time.gmtime(now)
    return {
        "JobID": request.id,
        "JobType": request.job_type,
        "JobRetry": retry,
        "JobElapsedSecs": int(now - (started_at or now)),
        "UserID": request.created_by or "system",
        "OrganizationID": request.organization_id,
        "DateYear": day.tm_year,
        "DateMonth": day.tm_mon,
        "DateDay": day.tm_mday,
        "YearDay": day.tm_yday,
        "FullDate": time.strftime("%Y-%m-%d", day),
        "EpochSecs": int(now),
        "CI": True,
        "FORMICARY": True,
        "CI_JOB_NAME": request.job_type,
        "CI_COMMIT_SHA": request.commit,
        "CI_COMMIT_BRANCH": request.params.get("GitBranch", ""),
        "CI_COMMIT_TAG": request.params.get("GitTag", ""),
        "CI_PIPELINE_URL": f"{url}/requests/{request.id}" if url else "",
    }


def render_plan(
    request: JobRequest,
    version: Version,
    secrets: Mapping[str, str],
    now: float,
    url: str,
    seen: Sight = NOTHING,
    held: Mapping[str, Value] = NO_VALUES,
) -> Plan:
    """The definition as this request's execution follows it; `held`: the variables of the resource that it has.

    Raises DefinitionError.
    """
    planned = constant_plan(version.text, version.index, version.dialect)
    if planned is None:
        known = {**held, **built_in(request, now, url=url)}
        names = replace(_names(None, request, secrets, known, seen), seed=request.id)
        with _explaining(seen):
            planned = render_job(version.text, version.index, names, path=version.path, dialect=version.dialect)
    definition = passed_by(planned.definition, request.params)
    return Plan.model_construct(definition=definition, tainted=tuple(sorted(planned.tainted)))


def of_resource(held: Held | None, resource: Resource | None) -> Mapping[str, Value]:
    """The variables of what is held; before it is, those that are named, empty."""
    if held is not None:
        return held.variables
    extract = resource.extract_config if resource else None
    return {variable(extract, name): "" for name in extract.properties} if extract else NO_VALUES


@contextmanager
def _explaining(seen: Sight) -> Iterator[None]:
    """Say of a name that is missing that it is a secret, and why this run does not see it."""
    try:
        yield
    except DefinitionError as error:
        if not seen.refused:
            raise
        raise DefinitionError(tuple(map(seen.explained, error.problems))) from error


def make_order(
    live: Live,
    execution: Execution,
    run: TaskRun,
    attempt: Attempt,
    *,
    now: float,
    lease_seconds: float,
    url: str,
    secrets: Secrets,
) -> TaskOrder:
    """Render the task of this attempt. Raises DefinitionError, SetupError where a secret does not open."""
    request = live.request
    seen = secrets.seen_by(request)
    task, names = render_task(live, execution, run, attempt, now, url, seen)
    values = environment(names, task)
    own = secrets_of(task, names) & names.configs if names.configs else frozenset()
    return TaskOrder.model_construct(
        task_execution_id=attempt.id,
        fence=attempt.fence,
        request_id=request.id,
        execution_id=execution.id,
        organization_id=request.organization_id,
        repository_id=request.repository_id,
        cache_scope=cache_scope(request.organization_id, request.source_path),
        job_type=request.job_type,
        attempt=attempt.number,
        lease_seconds=lease_seconds,
        task=task,
        # Tools look whether a CI variable is there, not whether it says something.
        environment={name: text for name, text in values.variables.items() if text or not name.startswith("CI_")},
        files=values.files,
        secrets=live.secrets | secrets.values(seen, own) if own else dict(live.secrets),
        notes=(*values.notes, *seen.notes(task)),
        source=_source(live, task),
        inputs=inputs_of(execution, Graph.of(live.plan.definition), task),
        trusted=request.trusted,
    )


def render_task(
    live: Live,
    execution: Execution,
    run: TaskRun,
    attempt: Attempt,
    now: float,
    url: str,
    seen: Sight = NOTHING,
    more: Mapping[str, Value] = MappingProxyType({}),
    dirty: frozenset[str] = frozenset(),
) -> tuple[TaskDefinition, Names]:
    """The attempt's own task and the names it was made from. `more` = values that this rendering alone has, those of
    `dirty` tainted. Raises DefinitionError."""
    written, version = run.matrix_of or run.name, live.version
    names = names_of(live, execution, run, attempt, now, url, seen, more, dirty)
    with _explaining(seen):
        task = render_attempt(version.text, version.index, names, written, path=version.path, dialect=version.dialect)
    shape = Graph.of(live.plan.definition).nodes[run.name].task
    if task.method != shape.method:  # it is one for the whole execution: by it the ant was found
        task = task.model_copy(update={"method": shape.method})
    if run.matrix_of:
        task = task.model_copy(
            update={"task_type": run.name, "matrix": None, "fan_out": shape.fan_out and task.fan_out}
        )
    return task, names


def render_fan_out(live: Live, names: Names, name: str, seen: Sight = NOTHING) -> FanOut:
    """What the task says of its items, before there is one. Raises DefinitionError."""
    version = live.version
    with _explaining(seen):
        return fan_out_of(version.text, version.index, names, name, path=version.path, dialect=version.dialect)


def names_of(
    live: Live,
    execution: Execution,
    run: TaskRun,
    attempt: Attempt,
    now: float,
    url: str,
    seen: Sight = NOTHING,
    more: Mapping[str, Value] = MappingProxyType({}),
    dirty: frozenset[str] = frozenset(),
) -> Names:
    """All names that an attempt is rendered from."""
    written = run.matrix_of or run.name
    own: dict[str, Value] = {"TaskType": written, "TaskRetry": run.failures + run.lost}
    graph = Graph.of(live.plan.definition)
    planned, combination = graph.nodes[run.name].task, graph.nodes[run.name].combination
    results = results_of(execution, graph)
    held = {**of_resource(execution.held, None), **of_resource(attempt.held, planned.resources)}
    names = _names(
        live.plan.definition,
        live.request,
        live.secrets,
        {
            **held,
            **artifact_urls(execution, url),
            **built_in(live.request, now, url=url, started_at=execution.started_at, retry=execution.job_retry),
            **own,
        },
        seen,
        results,
        tainted_variables=live.plan.tainted,
        task=planned,
        matrix=graph.nodes[written].task.matrix,
        combination=combination,
    )
    return replace(names.under(more, dirty, OUTPUT) if more else names, seed=attempt.fence)


def _names(
    job: JobDefinition | None,
    request: JobRequest,
    secrets: Mapping[str, str],
    built_in: Mapping[str, Value],
    seen: Sight,
    results: Results = NO_RESULTS,
    *,
    tainted_variables: tuple[str, ...] = (),
    task: TaskDefinition | None = None,
    matrix: Matrix | None = None,
    combination: Combination | None = None,
) -> Names:
    return names_for(
        job,
        built_in=built_in,
        params=request.params,
        tainted_params=frozenset(request.tainted) | frozenset(tainted_variables),
        secrets=secrets,
        configs=seen.configs,
        withheld=seen.withheld,
        outputs=results.outputs,
        outputs_tainted=bool(request.tainted) or results.tainted,
        task=task,
        matrix=combination.values if combination else None,
        tainted_matrix=matrix.tainted if matrix else (),
        by_combination=results.combinations,
    )


@lru_cache(maxsize=256)
def cache_scope(organization_id: str, path: str) -> str:
    """The name under which a repository's caches lie: by where it is, since ids differ from database to database."""
    return sha256(f"{organization_id}\n{path}".encode()).hexdigest()[:20]


def _source(live: Live, task: TaskDefinition) -> Source:
    request = live.request
    path = request.source_path
    if not task.checkout.enabled or not path:
        return Source()
    if task.checkout.ref:
        return Source(kind="commit", path=path, ref=task.checkout.ref, depth=task.checkout.depth)
    if not request.commit:
        return Source(kind="tree", path=path)
    return Source(
        kind="commit",
        path=path,
        commit=request.commit,
        branch=request.ref.removeprefix("refs/heads/") if request.ref.startswith("refs/heads/") else "",
        depth=task.checkout.depth,
    )
