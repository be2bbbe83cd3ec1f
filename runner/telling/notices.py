"""Who is told that a job or a task has ended: what the registered definition's `notify` says, and nobody else's.

In two steps. The change that ends it owes one entry, where anybody is named at all; when its turn comes, the definition
is rendered with the request's names, `when` is decided, and each recipient becomes an entry of his own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import anyio.to_thread

from formicary.runner.core.definition import JobDefinition, Notify
from formicary.runner.core.execution import Execution, TaskRun
from formicary.runner.core.load import load
from formicary.runner.core.records import Definition, JobRequest
from formicary.runner.core.states import State
from formicary.runner.publish.messages import MessagePublisher
from formicary.runner.queen.told import Moment, Owed
from formicary.runner.store import Reader, Store, Tx
from formicary.runner.telling.lifecycle import is_unread
from formicary.runner.telling.outward import Outward, registered_of

KIND: Final = "notify"
OUTCOMES: Final = frozenset({State.COMPLETED, State.FAILED})
TOLD: Final = OUTCOMES | {State.CANCELLED}
"""Ends that somebody may want to hear of; what was skipped did not run."""
REMEMBERED: Final = 1024
_Wanted = frozenset[str]


class NotifyEffect:
    """What is owed when something has ended. It remembers what a version says, by its number and commit (numbers of a
    change that was undone are given again)."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, str], _Wanted] = {}

    def __call__(self, moment: Moment) -> Iterator[Owed]:
        request = moment.request
        ended = list(_ended(moment)) if request.repository_id is not None else []
        wanted = self._wanted(moment) if ended else frozenset()
        for task, state in ended:
            if task in wanted:
                execution_id = moment.execution.id if moment.execution else 0
                payload = {"request_id": request.id, "execution_id": execution_id, "task": task, "state": str(state)}
                yield Owed(KIND, f"request:{request.id}:{execution_id}:{task}", payload)

    def _wanted(self, moment: Moment) -> _Wanted:
        """The tasks, and "" for the job itself, of whose end the registered definition may want somebody to be told."""
        definition = registered_of(moment.tx, moment.request)
        if definition is None or definition.version_id is None:
            return frozenset()
        if moment.execution and moment.definition and moment.request.version_id == definition.version_id:
            return _named(moment.definition)
        key = (definition.version_id, definition.commit)
        if key not in self._said:
            while len(self._said) >= REMEMBERED:
                del self._said[next(iter(self._said))]
            self._said[key] = _may_be_named(moment.tx, definition)
        return self._said[key]


def _named(job: JobDefinition) -> _Wanted:
    return frozenset([*([""] if job.notify else []), *(task.task_type for task in job.tasks if task.notify)])


def _may_be_named(tx: Tx, definition: Definition) -> _Wanted:
    """As it was loaded; all of them where a template may name somebody, which is found out when he is to be told."""
    version = tx.version(definition.version_id or 0)
    if version is None or "notify" not in version.text:
        return frozenset()
    loaded = load(version.text, path=version.path, dialect=version.dialect)
    job = loaded[version.index].definition if version.index < len(loaded) else None
    if job is None:
        return frozenset()
    if is_unread(version.text, "notify"):
        return frozenset(["", *(task.task_type for task in job.tasks)])
    return _named(job)


def _ended(moment: Moment) -> Iterator[tuple[str, State]]:
    """(task, state) of what ended in this moment; the task is empty for the job itself. A matrix is one task."""
    if moment.execution is not None and moment.definition is not None:
        for task in moment.definition.tasks:
            run = moment.execution.tasks.get(task.task_type)
            old = moment.before.tasks.get(task.task_type) if moment.before else None
            if run is not None and run is not old and run.state in TOLD and _ended_now(old, run, moment.execution):
                yield run.name, run.state
    if moment.moved and moment.state in TOLD:
        yield "", moment.state


def _ended_now(old: TaskRun | None, run: TaskRun, execution: Execution) -> bool:
    """Whether this is its end, in this execution: it was not kept from an earlier one, and has not ended before."""
    if run.combinations is not None:
        return old is not None and old.state is not run.state
    ran = run.last is not None and run.last.id.startswith(f"{execution.id}-")
    return ran and (old is None or old.state is not run.state or old.last != run.last)


class NotifyPublisher:
    """The `Publisher` of kind `notify`: it owes a message to each recipient."""

    kind = KIND

    def __init__(self, store: Store, outward: Outward) -> None:
        self._store = store
        self._outward = outward

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        owed = await anyio.to_thread.run_sync(self._owed, key, payload)
        request = self._store.read().request(int(payload["request_id"]))
        if owed and request is not None:
            await self._store.write(lambda tx: _owe(tx, owed, request.organization_id))

    def _owed(self, key: str, payload: Mapping[str, Any]) -> list[Owed]:
        reader = self._store.read()
        request = reader.request(int(payload["request_id"]))
        if request is None:
            return []
        state = State(payload["state"])
        channels = self._outward.told(reader, request, payload["task"])
        before = before_this(reader, request, payload["execution_id"], payload["task"])
        told = [channel for channel in channels if wants(channel.when, state, before)]
        return [_message(key, payload, channel, one) for channel in told for one in channel.recipients]


def wants(when: str, state: State, before: State | None) -> bool:
    """Whether a channel with this `when` hears of this end. `before`: how the run before it ended, None where there was
    none: then a failure is a change and a success is none. Cancelled runs are told by `always` alone."""
    match when:
        case "always":
            return state in TOLD
        case "onSuccess":
            return state is State.COMPLETED
        case "onFailure":
            return state is State.FAILED
        case "onChange":
            return state in OUTCOMES and state is not (before or State.COMPLETED)
        case _:
            return False


def before_this(reader: Reader, request: JobRequest, execution_id: int, task: str) -> State | None:
    """How the run before this one ended, of the same job (or task) on the same ref; cancelled and skipped ones do not
    count. A request that was run again was run before."""
    for execution in reversed(reader.executions_of(request.id)):
        if execution.id < execution_id and (found := _outcome(execution, task)):
            return found
    earlier = reader.request_before(request, (State.COMPLETED, State.FAILED))
    if earlier is None:
        return None
    execution_before = reader.execution(earlier.execution_id) if earlier.execution_id else None
    return _outcome(execution_before, task) if execution_before else (None if task else earlier.state)


def _outcome(execution: Execution, task: str) -> State | None:
    run = execution.tasks.get(task)
    state = execution.state if not task else run.state if run else None
    return state if state in OUTCOMES else None


def _message(key: str, payload: Mapping[str, Any], channel: Notify, recipient: str) -> Owed:
    mark = sha256(recipient.encode()).hexdigest()[:16]
    more = {"channel": channel.channel, "recipient": recipient}
    return Owed(MessagePublisher.kind, f"{key}:{channel.channel}:{mark}", {**payload, **more})


def _owe(tx: Tx, owed: list[Owed], organization_id: str) -> None:
    for kind, key, payload, due_at in owed:
        tx.owe(kind, key, payload, due_at=due_at, organization_id=organization_id)
