"""Which commit statuses a change owes: of requests of repositories whose forge takes them, and of definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from formicary.runner.core.execution import Execution
from formicary.runner.core.records import Repository
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.publish.status import side, takes_statuses
from formicary.runner.publish.statuses import ALIKE, KIND, key_of, sync_key
from formicary.runner.queen.told import Moment, Owed

COALESCE: Final = 1.0
"""Seconds that what is not final waits for what follows it (D10)."""
_SENTENCE: Final = {State.READY: State.PENDING, State.STARTED: State.EXECUTING}
"""States that are told as another one is."""


def status_effect(moment: Moment) -> Iterator[Owed]:
    """What a change of a request owes to its commit's statuses."""
    request, job = moment.request, moment.definition
    if request.repository_id is None or not request.commit or (job is not None and not job.status.enabled):
        return
    if request.parent_id is not None:  # its parent's status says how it went; a commit may have hundreds of these
        return
    tasks = list(_tasks(moment))
    says_more = _says_more(moment)
    if not says_more and not tasks:
        return
    if not takes_statuses(moment.tx.repository(request.repository_id)):
        return
    due_at = 0.0 if moment.state in TERMINAL else moment.tx.now + COALESCE
    if says_more:
        yield Owed(KIND, key_of(request, job), {"request_id": request.id}, due_at)
        if _is_new(moment) and not side(request):
            yield from _of_pull_requests(moment, due_at)
    for name, ended in tasks:
        when = 0.0 if ended else due_at
        yield Owed(KIND, key_of(request, job, name), {"request_id": request.id, "task": name}, when)


def _says_more(moment: Moment) -> bool:
    """Whether the job's status says something else than before: not each state has a sentence of its own."""
    if _is_new(moment):
        return True
    before = moment.before.state if moment.before is not None else State.PENDING
    return _SENTENCE.get(before, before) is not _SENTENCE.get(moment.state, moment.state)


def _is_new(moment: Moment) -> bool:
    return moment.before is None and moment.execution is None


def _of_pull_requests(moment: Moment, due_at: float) -> Iterator[Owed]:
    """The commit is a pull request's too: that one's statuses have other contexts from now on."""
    pushed, job = moment.request, moment.definition
    if job is None or job.status.context:
        return
    found = moment.tx.requests(
        repository_id=pushed.repository_id, job_type=pushed.job_type, commit=pushed.commit, page_size=ALIKE
    )
    newest = next((request for request in found.records if side(request)), None)
    for name in ("", *(task.task_type for task in job.tasks if job.status.per_task)):
        if newest is not None:
            named = {"task": name} if name else {}
            yield Owed(KIND, key_of(newest, job, name), {"request_id": newest.id, **named}, due_at)


def _tasks(moment: Moment) -> Iterator[tuple[str, bool]]:
    """(task, whether it has ended) of those whose own status may say something else now; what the job's end leaves
    undone is told with it."""
    job = moment.definition
    if job is None or not job.status.per_task:
        return
    everything = moment.moved and (_is_new(moment) or moment.state in TERMINAL)
    for task in job.tasks:
        now, then = _state(moment.execution, task.task_type), _state(moment.before, task.task_type)
        if (everything and now not in TERMINAL) or now is not then:
            yield task.task_type, now in TERMINAL


def _state(execution: Execution | None, name: str) -> State:
    run = execution.tasks.get(name) if execution else None
    return run.state if run else State.PENDING


def sync_owed(repository: Repository, commit: str) -> Iterator[Owed]:
    """What is owed when the definitions of a commit are found to be invalid, or valid again."""
    if takes_statuses(repository):
        yield Owed(KIND, sync_key(repository.id, commit), {"repository_id": repository.id, "commit": commit})
