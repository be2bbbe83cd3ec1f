"""Tasks of a request and their attempts, and each attempt's log: raw, as records, or live."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import anyio
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from formicary.runner.core.deciding.combinations import in_order
from formicary.runner.core.definition import Value
from formicary.runner.core.errors import NotFound
from formicary.runner.core.execution import ArtifactRef, Attempt, Execution, TaskRun
from formicary.runner.core.records import JobRequest
from formicary.runner.core.reports import Tally
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.queen.changes import Subscription
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment, request_of
from formicary.webhook.eventstream import KEEP_ALIVE, KEEP_ALIVE_EVERY, EventStream, Write, event
from formicary.webhook.logview import Batch, batches
from formicary.webhook.operations import Call, Operation
from formicary.webhook.parts import Door
from formicary.webhook.ranges import is_one_range, span_of

_MAX_OFFSET: Final = 2**62


class TasksQuery(shared.PageQuery):
    execution: int | None = Field(default=None, ge=0, lt=2**63, description="Default: the newest.")


class AttemptView(shared.View):
    """A task execution: one attempt at a task. Its id names its log. `tally`: what its reports say, in figures, and
    `tested` in words."""

    id: str
    number: int
    state: State
    ant_id: str
    ready_at: datetime | None
    started_at: datetime | None
    executing_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    error_code: str
    error_message: str
    outputs: Mapping[str, Value]
    artifacts: tuple[ArtifactRef, ...]
    warnings: tuple[str, ...]
    usage: Mapping[str, float]
    tally: Tally | None
    tested: str


class CombinationsView(shared.View):
    """How many combinations a matrix task has, how many have not ended, and which one decided how it ended."""

    size: int
    left: int
    worst: str


class TaskView(shared.View):
    """A task of one execution. `retry_at` is when a failed one is tried again. A matrix task has `combinations` and no
    attempts; behind it come the runs of these, with `matrix_of` = the task."""

    task_type: str
    execution_id: int
    state: State
    reason: str
    retry_at: datetime | None
    matrix_of: str
    combinations: CombinationsView | None
    attempts: tuple[AttemptView, ...]


class LogQuery(shared.Query):
    format: Literal["raw", "records"] = Field(default="raw", description="`records`: JSON lines {t, s, text}.")
    follow: bool = Field(default=False, description="Server-sent events `log` and, at the end, `end`.")
    offset: int | None = Field(
        default=None,
        ge=0,
        lt=_MAX_OFFSET,
        description="Of framed bytes, as an earlier event's id gave it; for `records` and `follow`.",
    )


def view(execution: Execution, run: TaskRun) -> TaskView:
    return TaskView(
        task_type=run.name,
        execution_id=execution.id,
        state=run.state,
        reason=run.reason,
        retry_at=moment(run.retry_at),
        matrix_of=run.matrix_of,
        combinations=_combinations_view(run),
        attempts=tuple(_attempt_view(attempt) for attempt in run.attempts),
    )


def _combinations_view(run: TaskRun) -> CombinationsView | None:
    whole = run.combinations
    return CombinationsView(size=whole.size, left=whole.left, worst=whole.worst) if whole else None


def _attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        id=attempt.id,
        number=attempt.number,
        state=attempt.state,
        ant_id=attempt.ant_id,
        ready_at=moment(attempt.ready_at),
        started_at=moment(attempt.started_at),
        executing_at=moment(attempt.executing_at),
        ended_at=moment(attempt.ended_at),
        exit_code=attempt.exit_code,
        error_code=attempt.error_code,
        error_message=attempt.error_message,
        outputs=attempt.outputs,
        artifacts=attempt.artifacts,
        warnings=attempt.warnings,
        usage=attempt.usage,
        tally=attempt.tally,
        tested=(attempt.tally.failing or attempt.tally.passing) if attempt.tally else "",
    )


async def show_list(call: Call) -> Listed[TaskView]:
    request, query = request_of(call), call.query
    execution = _execution(call, request, query.execution)
    views = [view(execution, run) for run in in_order(execution.tasks.values())] if execution else []
    return shared.listed(shared.cut(views, query), lambda one: one)


def _execution(call: Call, request: JobRequest, execution_id: int | None) -> Execution | None:
    wanted = request.execution_id if execution_id is None else execution_id
    found = call.door.store.read().execution(wanted) if wanted is not None else None
    if execution_id is not None and (found is None or found.request_id != request.id):
        raise NotFound(f"Job request {request.id} has no execution {execution_id}.")
    return found


async def log(call: Call) -> Response:
    task_execution_id, query = call.text("execution"), call.query
    request = request_of_attempt(call, task_execution_id)
    await anyio.to_thread.run_sync(call.door.queen.logs.find, task_execution_id)  # an archived one is brought here
    if query.follow and call.request.method == "HEAD":
        return Response(media_type=EventStream.media_type)
    if query.follow:
        return _follow(call, request, task_execution_id, _offset(call))
    if query.format == "records":
        return StreamingResponse(
            _json_lines(call.door, task_execution_id, query.offset or 0), media_type="application/jsonl"
        )
    return await _raw(call, task_execution_id)


def request_of_attempt(call: Call, task_execution_id: str) -> JobRequest:
    """Whose attempt it is, if the caller may see it. The form is checked first: the id becomes a path."""
    call.door.queen.logs.path(task_execution_id)
    execution_id = int(task_execution_id.partition("-")[0][:19])
    reader = call.door.store.read()
    execution = reader.execution(execution_id) if execution_id < 2**63 else None
    request = reader.request(execution.request_id) if execution else None
    if not request or not call.caller.sees(request) or not execution or not execution.attempt(task_execution_id):
        raise NotFound(f"There is no task execution {task_execution_id}.")
    return request


async def _raw(call: Call, task_execution_id: str) -> Response:
    raw, wanted = call.door.raw_logs, call.request.headers.get("range")
    media, headers = "text/plain; charset=utf-8", {"Accept-Ranges": "bytes"}
    if wanted is None or not is_one_range(wanted):
        return StreamingResponse(raw.read(task_execution_id), headers=headers, media_type=media)
    span = span_of(wanted, await anyio.to_thread.run_sync(raw.size, task_execution_id))
    body = raw.read(task_execution_id, span.start, span.end)
    return StreamingResponse(body, 206, {**headers, **span.headers}, media)


def _batches(door: Door, task_execution_id: str, offset: int, *, whole: bool) -> Iterator[Batch]:
    logs = door.queen.logs
    if offset and logs.read(task_execution_id, offset - 1, 1) != b"\n":  # the tail of a header reads like a header
        raise _no_record(offset)
    try:
        yield from batches(logs.frames(task_execution_id, offset), whole=whole)
    except ValueError:
        raise _no_record(offset) from None


def _no_record(offset: int) -> HTTPException:
    return HTTPException(422, f"No record begins at the offset {offset}. Take one that an event's id gave, or 0.")


def _json_lines(door: Door, task_execution_id: str, offset: int) -> Iterator[bytes]:
    """Begin to read at once, so that a wrong offset is answered and not just cut off."""
    found = _batches(door, task_execution_id, offset, whole=True)
    first = next(found, None)

    def lines() -> Iterator[bytes]:
        for batch in (first, *found) if first else ():
            yield b"".join(json.dumps(record._asdict()).encode() + b"\n" for record in batch.records)

    return lines()


def _offset(call: Call) -> int:
    """`Last-Event-ID`, which a browser sends when it comes back, is newer than the address's own `offset`."""
    last = call.request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) < 19:
        return int(last)
    return call.query.offset or 0


def _follow(call: Call, request: JobRequest, task_execution_id: str, offset: int) -> Response:
    door = call.door
    next(_batches(door, task_execution_id, offset, whole=False), None)  # a wrong offset is answered, not streamed

    async def produce(write: Write) -> None:
        with door.queen.changes.subscribe() as subscription:
            await _pump(door, request, task_execution_id, offset, subscription, write)

    return EventStream(produce, door.closing)


async def _pump(
    door: Door, request: JobRequest, task_execution_id: str, offset: int, subscription: Subscription, write: Write
) -> None:
    """The state is read before the log: an ended attempt's log has its last byte (D13)."""
    while True:
        attempt = _attempt(door, task_execution_id)
        ended = attempt is None or attempt.state in TERMINAL
        for batch in _batches(door, task_execution_id, offset, whole=ended):
            offset = batch.end
            await write(event("log", _log_event(request, task_execution_id, batch), str(offset)))
        if ended:
            return await write(event("end", _end(task_execution_id, attempt), str(offset)))
        while not await _changed(subscription, request.id, task_execution_id):
            await write(KEEP_ALIVE)


def _attempt(door: Door, task_execution_id: str) -> Attempt | None:
    execution = door.store.read().execution(int(task_execution_id.partition("-")[0]))
    found = execution.attempt(task_execution_id) if execution else None
    return found[1] if found else None


async def _changed(subscription: Subscription, request_id: int, task_execution_id: str) -> bool:
    """Wait until its log or its request may have changed; False when it is time to say that we are still here."""
    with anyio.move_on_after(KEEP_ALIVE_EVERY):
        while True:
            change = await subscription.next()
            if (
                change.kind == "missed"
                or change.task_execution_id == task_execution_id
                or change.request_id == request_id
            ):
                return True
    return False


def _log_event(request: JobRequest, task_execution_id: str, batch: Batch) -> dict[str, Any]:
    return {
        "v": 1,
        "id": f"{task_execution_id}:{batch.end}",
        "at": datetime.fromtimestamp(batch.records[-1].t, UTC).isoformat().replace("+00:00", "Z"),
        "event_type": "LogEvent",
        "organization_id": request.organization_id,
        "task_execution_id": task_execution_id,
        "offset": batch.end,
        "records": [record._asdict() for record in batch.records],
    }


def _end(task_execution_id: str, attempt: Attempt | None) -> dict[str, Any]:
    return {
        "task_execution_id": task_execution_id,
        "state": attempt.state if attempt else None,
        "exit_code": attempt.exit_code if attempt else None,
        "error_code": attempt.error_code if attempt else "",
        "error_message": attempt.error_message if attempt else "",
    }


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/jobs/requests/{id:int}/tasks",
        "Its tasks and their attempts",
        show_list,
        tag="Job requests",
        query=TasksQuery,
        answer=Listed[TaskView],
        errors=(404, 422),
    ),
    Operation(
        "GET",
        "/api/tasks/{execution}/log",
        "What an attempt wrote: raw bytes (range requests), records, or live",
        log,
        tag="Logs",
        query=LogQuery,
        media="text/plain",
        also={206: "The range that was asked for"},
        errors=(404, 416, 422),
    ),
)
