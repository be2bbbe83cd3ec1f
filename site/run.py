"""Records in, view models out: one request with its tasks, and one attempt's log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from formicary.runner.core.definition import JobDefinition, TaskDefinition, Value
from formicary.runner.core.errors import ERR_EXIT_CODE, NotFound
from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.graph import Graph
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import TERMINAL, State
from formicary.site import explain, graph, matrices, timeline, times
from formicary.site.asked import asked, said
from formicary.site.logview import failing_lines, log_part
from formicary.site.source import Source
from formicary.site.status import status
from formicary.site.tested import tested
from formicary.site.views import (
    ArtifactRow,
    AttemptRow,
    Box,
    EarlierRun,
    Failure,
    GraphView,
    LogView,
    ParamRow,
    RequestRow,
    RequestView,
    TaskRow,
    Walk,
)

_ARTIFACTS: Final = 200
_VALUE: Final = 500
_EMPTY: Final = JobDefinition(job_type="-")
#: Not for strangers: an address to send spam to, a path of the operator's disk.
_INSIDE: Final = frozenset({"GitCommitAuthorEmail", "GitRepositoryURL"})
MASK: Final = "••••••"


def request(source: Source, request_id: int) -> RequestView:
    """Raises NotFound, also for what the caller may not see."""
    found = _found(source, request_id)
    runs = sorted(source.reader.executions_of(found.id), key=lambda one: one.id)
    execution = runs[-1] if runs else None
    definition = _definition(source, execution)
    shapes = Graph.of(definition).nodes
    allowed = frozenset(name for name, node in shapes.items() if node.task.allow_failure)
    because = explain.why(found, execution, allowed, source.reason(found.id))
    tasks = _tasks(source, execution, definition)
    began = execution.started_at or execution.created_at if execution else None
    return RequestView(
        row=source.row(found, because),
        why=because,
        error_code=(execution.error_code if execution else "") or found.error_code,
        message=str(found.params.get("GitCommitMessage") or ""),
        author=str(found.params.get("GitCommitAuthor") or ""),
        created_by=found.created_by if found.created_by != found.event else "",
        trusted=found.trusted,
        waited=max(began - max(found.created_at, found.scheduled_at or 0.0), 0.0) if began else None,
        job_retry=execution.job_retry if execution else 0,
        scheduled_at=found.scheduled_at,
        tasks=tasks,
        ticks=timeline.ticks(execution, source.now),
        graph=_graph(definition, execution, {task.name: task for task in tasks}),
        params=_params(found, definition, source.outside),
        artifacts=_artifacts(source, found),
        failure=_failure(source, execution, allowed),
        earlier=tuple(_earlier(source, one) for one in reversed(runs[:-1])),
        alive=found.state not in TERMINAL,
        restartable=not found.has_secrets,
        asked=() if source.outside else asked(execution, definition),
        commit=found.commit,
        digest=_digest(source, found),
        parent=next(_rows(source, [found.parent_id] if found.parent_id is not None else []), None),
        children=tuple(_rows(source, [one.id for one in source.reader.children(found.id)])),
        tests=tested(source.reader, execution),
    )


def _rows(source: Source, ids: Sequence[int]) -> Iterator[RequestRow]:
    """Of those that the caller may see."""
    yield from (source.row(one) for one in map(source.request, ids) if one is not None)


def log(source: Source, task_execution_id: str) -> LogView:
    """Raises NotFound."""
    execution, run, attempt = find_attempt(source, task_execution_id)
    ended = attempt.state in TERMINAL
    return LogView(
        row=source.row(_found(source, execution.request_id)),
        task=run.name,
        attempt=_attempt(source, execution, attempt),
        siblings=tuple(_attempt(source, execution, one) for one in run.attempts),
        part=log_part(source.logs.find(attempt.id), ended=ended),
        ended=ended,
    )


def find_attempt(source: Source, task_execution_id: str) -> tuple[Execution, TaskRun, Attempt]:
    """The attempt with this id, if the caller may see its request. Raises NotFound."""
    number = task_execution_id.partition("-")[0]
    execution = source.reader.execution(int(number)) if number.isdecimal() and len(number) < 16 else None
    found = execution.attempt(task_execution_id) if execution else None
    if execution is None or found is None or source.request(execution.request_id) is None:
        raise NotFound(f"There is no task execution `{task_execution_id}` here, or it is not yours to see.")
    return execution, *found


def attempt_ids(execution: Execution) -> Iterator[tuple[str, bool]]:
    """(id, whether it has ended) of every attempt."""
    for run in execution.tasks.values():
        for attempt in run.attempts:
            yield attempt.id, attempt.state in TERMINAL


def _found(source: Source, request_id: int) -> JobRequest:
    found = source.request(request_id)
    if found is None:
        raise NotFound(f"There is no request {request_id} here, or it is not yours to see.")
    return found


def _digest(source: Source, found: JobRequest) -> str:
    version = source.reader.version(found.version_id)
    return version.digest if version else ""


def _definition(source: Source, execution: Execution | None) -> JobDefinition:
    plan = source.reader.plan(execution.id) if execution else None
    return plan.definition if plan else _EMPTY


def _tasks(source: Source, execution: Execution | None, definition: JobDefinition) -> tuple[TaskRow, ...]:
    """In the order they began; those that have not, in the file's."""
    if execution is None:
        return ()
    nodes = Graph.of(definition).nodes
    secret = _secret_names(definition)
    shown = matrices.shown(execution)
    return tuple(
        _task(source, execution, run, nodes[run.name].task if run.name in nodes else None, secret) for run in shown
    )


def _task(
    source: Source, execution: Execution, run: TaskRun, shape: TaskDefinition | None, secret: frozenset[str]
) -> TaskRow:
    last = run.last
    return TaskRow(
        name=run.name,
        description=shape.description if shape else "",
        method=shape.method if shape else "",
        status=status(run.state, last.error_code if last else ""),
        reason=explain.sentence(run.reason or (last.error_message if last and run.state is State.FAILED else "")),
        seconds=_seconds(last) if last else None,
        retry_at=run.retry_at if run.state is State.PENDING else None,
        allow_failure=bool(shape and shape.allow_failure),
        always_run=bool(shape and shape.always_run),
        attempts=tuple(_attempt(source, execution, one) for one in run.attempts),
        bars=timeline.bars(execution, run, source.now),
        outputs=_values(last.outputs, secret) if last else (),
        matrix_of=run.matrix_of,
        count=matrices.count(execution, run),
    )


def _attempt(source: Source, execution: Execution, one: Attempt) -> AttemptRow:
    return AttemptRow(
        id=one.id,
        number=one.number,
        status=status(one.state, one.error_code),
        ant_id=one.ant_id,
        started_at=one.started_at,
        seconds=_seconds(one),
        exit_code=one.exit_code,
        error_code=one.error_code,
        error_message=_message(one),
        warnings=one.warnings,
        log=one.started_at is not None,
        votes=() if source.outside else tuple(map(said, one.votes)),
    )


def _seconds(one: Attempt) -> float | None:
    """From the claim on, workspace included: what the timeline shows too."""
    return max(one.ended_at - one.started_at, 0.0) if one.ended_at is not None and one.started_at is not None else None


def _message(one: Attempt) -> str:
    """What went wrong, unless it is the exit code alone, which is shown anyway."""
    plain = one.error_code == ERR_EXIT_CODE and f"exit code {one.exit_code}" in one.error_message
    return "" if plain else one.error_message


def _secret_names(definition: JobDefinition) -> frozenset[str]:
    return frozenset(name for name, param in definition.params.items() if param.secret)


def _params(found: JobRequest, definition: JobDefinition, outside: bool) -> tuple[ParamRow, ...]:
    """What was asked for; a secret's value is not there, and would not be shown if it were (T8)."""
    secret = _secret_names(definition)
    left_out = secret | _INSIDE if outside else secret
    shown = {name: value for name, value in found.params.items() if name not in left_out}
    hidden = [ParamRow(name, MASK, True) for name in sorted(secret)]
    return (*_values(shown, secret), *hidden)


def _values(values: Mapping[str, Value], secret: frozenset[str]) -> tuple[ParamRow, ...]:
    return tuple(
        ParamRow(name, MASK, True) if name in secret else ParamRow(name, text_of(value))
        for name, value in sorted(values.items())
    )


def text_of(value: Value) -> str:
    """A value as the definition language writes it, bounded."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}… ({len(text)} characters)"


def _artifacts(source: Source, found: JobRequest) -> tuple[ArtifactRow, ...]:
    page = source.reader.artifacts(request_id=found.id, page_size=_ARTIFACTS)
    return tuple(ArtifactRow(a.id, a.task_type, a.name, a.kind, a.size, a.digest[:12]) for a in page.records)


def _graph(definition: JobDefinition, execution: Execution | None, rows: Mapping[str, TaskRow]) -> GraphView:
    names = [task.task_type for task in definition.tasks]
    if execution is None or len(names) < 2 or set(names) - set(rows):
        return GraphView()
    last = frozenset(task.task_type for task in definition.tasks if task.always_run)
    plan = graph.layout(names, graph.edges_of(definition), last)
    boxes = tuple(_box(rows[name], x, y) for name, (x, y) in plan.places.items())
    walks = tuple(Walk(trail, _walked(trail.edge, execution)) for trail in plan.trails)
    return GraphView(plan.width, plan.height, boxes, walks)


def _box(row: TaskRow, x: float, y: float) -> Box:
    label = row.name if len(row.name) <= 17 else row.name[:16] + "…"
    note = "Needs approval" if row.status.icon == "approval" else row.status.word
    if row.allow_failure and row.status.tone == "bad":
        note += " · allowed"
    elif len(row.attempts) > 1:
        note += f" · {len(row.attempts)} tries"
    elif row.count:
        note += f" · {row.count.partition(',')[0]}"
    elif row.seconds is not None:
        note += f" · {times.duration(row.seconds)}"
    return Box(row.name, label, note, row.status, x, y, row.log_id)


def _walked(edge: graph.Edge, execution: Execution) -> bool:
    """Whether the run went along here: its source has ended with this outcome, and its target was begun."""
    source, target = execution.tasks.get(edge.source), execution.tasks.get(edge.target)
    if source is None or target is None or source.state not in TERMINAL or not (target.attempts or target.combinations):
        return False
    return edge.kind == "need" or (target.chosen and (edge.kind == "fail") == (source.state is State.FAILED))


def _failure(source: Source, execution: Execution | None, allowed: frozenset[str]) -> Failure | None:
    found = explain.first_failed(execution, allowed) if execution else None
    run, attempt = found or (None, None)
    if execution is None or run is None or attempt is None or run.name in allowed:
        return None
    lines = failing_lines(source.logs.find(attempt.id))
    return Failure(run.name, attempt.id if attempt.started_at else "", _message(attempt), lines)


def _earlier(source: Source, one: Execution) -> EarlierRun:
    spent = one.ended_at - one.started_at if one.ended_at and one.started_at else None
    attempts = [(run.name, _attempt(source, one, attempt)) for run in one.tasks.values() for attempt in run.attempts]
    return EarlierRun(status(one.state, one.error_code), one.started_at, spent, tuple(attempts))
