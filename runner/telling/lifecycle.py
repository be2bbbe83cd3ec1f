"""Which events a change of a request makes: those that a `webhook` of its definition asks for, and no others.

Each is an entry of the outbox of its own, numbered in the change that makes it. Its key keeps the order: the events of
a request are `request:<id>:<seq>`, and `publish/webhook.py` sends none before those below it.
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
UNREAD: Final = Hook(url="")
"""A webhook whose address is known when it is sent to."""
REMEMBERED: Final = 1024


class LifecycleEffect:
    """What is owed to the webhooks that the request's definition names.

    Before an execution has begun, the definition is as it was loaded, and a webhook whose URL is made of names that
    nobody knew then is not in it. So the text is asked whether there may be one; who sends the event knows.
    """

    def __init__(self) -> None:
        self._may_ask: dict[tuple[int, str, str], bool] = {}

    def __call__(self, moment: Moment) -> Iterator[Owed]:
        job = moment.definition
        if job is None:
            return
        unread = moment.execution is None and job.webhook is None and self._is_unread(moment)
        if not (unread or job.webhook or any(task.webhook for task in job.tasks)):
            return
        hook = UNREAD if unread else job.webhook
        whole = [(_of_the_request, hook), (_of_the_execution, hook)] if hook and moment.moved else []
        ended = moment.state in TERMINAL
        if ended:
            yield from _of_tasks(moment, job)
        for part, to in reversed(whole) if ended else whole:
            yield from part(moment, to)
        if not ended:
            yield from _of_tasks(moment, job)

    def _is_unread(self, moment: Moment) -> bool:
        request = moment.request
        key = (request.version_id, request.job_type, request.commit)
        if key not in self._may_ask:
            while len(self._may_ask) >= REMEMBERED:
                del self._may_ask[next(iter(self._may_ask))]
            version = moment.tx.version(request.version_id)
            self._may_ask[key] = version is not None and is_unread(version.text, "webhook")
        return self._may_ask[key]


def is_unread(text: str, key: str) -> bool:
    """Whether a definition may have a value for this key that loading could not know."""
    return key in text and ("{{" in text or "{%" in text)


def _of_the_request(moment: Moment, hook: Hook) -> Iterator[Owed]:
    request = moment.request
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
    yield _owed(event, hook)


def _of_the_execution(moment: Moment, hook: Hook) -> Iterator[Owed]:
    execution = moment.execution
    if execution is None:
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
    yield _owed(event, hook)


def _of_tasks(moment: Moment, job: JobDefinition) -> Iterator[Owed]:
    """Of tasks that ask for it, and of each combination of such a matrix task."""
    asking = {task.task_type: task for task in job.tasks if task.webhook}
    if moment.execution is None or not asking:
        return
    for run in moment.execution.tasks.values():
        task = asking.get(run.matrix_of or run.name)
        if task is None or task.webhook is None:
            continue
        old = moment.before.tasks.get(run.name) if moment.before else None
        for attempt, state in _steps(moment.execution, old, run):
            event = _of_the_task(moment, moment.execution, run, attempt, state, task.method)
            yield _owed(event, task.webhook, task.task_type)


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
    return Owed(WebhookPublisher.kind, key_of(event.request_id, event.seq), payload)


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
