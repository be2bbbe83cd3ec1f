"""Which events a change of a request makes: those that a `webhook` of its definition asks for, and no others.

Each is an entry of the outbox of its own, numbered in the change that makes it. Its key keeps the order: the events of
a request are `request:<id>:<host>:<seq>`, and `publish/webhook.py` sends none before those below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from formicary.runner.core.definition import Hook, JobDefinition, Value
from formicary.runner.core.events import (
    Event,
    JobExecutionLifecycleEvent,
    JobRequestLifecycleEvent,
    TaskExecutionLifecycleEvent,
    rfc3339,
)
from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.publish.webhook import WebhookPublisher, key_of
from formicary.runner.queen.told import Moment, Owed

E = TypeVar("E", bound=Event)

HIDDEN: Final = "***"


def lifecycle_effect(moment: Moment) -> Iterator[Owed]:
    """What is owed to the webhooks that the request's definition names."""
    job = moment.definition
    if job is None or not (job.webhook or any(task.webhook for task in job.tasks)):
        return
    parts = [_of_the_request, _of_the_execution, _of_tasks]
    for part in reversed(parts) if moment.state in TERMINAL else parts:
        yield from part(moment, job)


def _of_the_request(moment: Moment, job: JobDefinition) -> Iterator[Owed]:
    request = moment.request
    if job.webhook is None or not moment.moved:
        return
    repository = moment.tx.repository(request.repository_id) if request.repository_id is not None else None
    event = _made(
        JobRequestLifecycleEvent,
        moment,
        job_type=request.job_type,
        repository=repository.name if repository else "",
        commit=request.commit,
        ref=request.ref,
        state=moment.state,
        reason=request.reason,
        waiting_for=_waiting_for(moment),
        params=_shown(moment),
    )
    yield _owed(event, job.webhook)


def _of_the_execution(moment: Moment, job: JobDefinition) -> Iterator[Owed]:
    execution = moment.execution
    if job.webhook is None or execution is None or not moment.moved:
        return
    event = _made(
        JobExecutionLifecycleEvent,
        moment,
        execution_id=execution.id,
        job_type=moment.request.job_type,
        state=execution.state,
        error_code=execution.error_code,
        error_message=execution.error_message,
        outputs={run.name: run.last.outputs for run in execution.tasks.values() if run.last and run.last.outputs},
    )
    yield _owed(event, job.webhook)


def _of_tasks(moment: Moment, job: JobDefinition) -> Iterator[Owed]:
    if moment.execution is None:
        return
    for task in job.tasks:
        run = moment.execution.tasks.get(task.task_type)
        if task.webhook is None or run is None:
            continue
        old = moment.before.tasks.get(task.task_type) if moment.before else None
        for attempt, state in _steps(moment.execution, old, run):
            yield _owed(
                _of_the_task(moment, moment.execution, run, attempt, state, task.method), task.webhook, run.name
            )


def _steps(execution: Execution, old: TaskRun | None, run: TaskRun) -> Iterator[tuple[Attempt | None, State]]:
    """What has changed: attempts that have another state, or the task itself without one (it was skipped).

    Attempts of an earlier execution, which this one keeps, have not changed."""
    if run is old:
        return
    known = {attempt.id: attempt.state for attempt in old.attempts} if old else {}
    own = [attempt for attempt in run.attempts if attempt.id.startswith(f"{execution.id}-")]
    changed = [attempt for attempt in own if known.get(attempt.id) is not attempt.state]
    yield from ((attempt, attempt.state) for attempt in changed)
    before = old.state if old else State.PENDING
    if not changed and run.state is not before and run.state is State.SKIPPED:
        yield None, run.state


def _of_the_task(
    moment: Moment, execution: Execution, run: TaskRun, attempt: Attempt | None, state: State, method: str
) -> TaskExecutionLifecycleEvent:
    fields: Mapping[str, Any] = {}
    if attempt is not None:
        fields = {
            "task_execution_id": attempt.id,
            "attempt": attempt.number,
            "fence": attempt.fence,
            "exit_code": attempt.exit_code,
            "error_code": attempt.error_code,
            "ant_id": attempt.ant_id,
            "usage": attempt.usage,
        }
    return _made(
        TaskExecutionLifecycleEvent,
        moment,
        execution_id=execution.id,
        task_type=run.name,
        method=method,
        state=state,
        **fields,
    )


def _made(kind: type[E], moment: Moment, **fields: Any) -> E:
    request = moment.request
    return kind(
        id=uuid4().hex,
        at=rfc3339(moment.tx.now),
        organization_id=request.organization_id,
        seq=moment.tx.next_seq(request.organization_id),
        request_id=request.id,
        **fields,
    )


def _owed(event: Any, hook: Hook, task: str = "") -> Owed:
    """`to` is the destination's name, as far as it is known before the URL is rendered."""
    try:
        to = urlsplit(hook.url).netloc
    except ValueError:
        to = ""
    payload = {"event": event.model_dump(mode="json"), "task": task, "to": to}
    return Owed(WebhookPublisher.kind, key_of(event.request_id, to, event.seq), payload)


def _waiting_for(moment: Moment) -> str:
    if moment.state is State.MANUAL_APPROVAL_REQUIRED:
        return "an approval"
    if moment.state is not State.PENDING:
        return ""
    at = moment.request.scheduled_at
    return f"its time, {rfc3339(at)}" if at is not None and at > moment.tx.now else "its turn"


def _shown(moment: Moment) -> dict[str, Value]:
    """The parameters; a secret one shows that it was given."""
    job, request = moment.definition, moment.request
    secret = [name for name, param in job.params.items() if param.secret] if job and request.has_secrets else []
    return {**request.params, **dict.fromkeys(secret, HIDDEN)}
