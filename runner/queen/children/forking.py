"""From a FORK_JOB task to the requests that it makes: which definition, at which commit, with which parameters.

A child is trusted only if its parent is, of the same event, and what is tainted stays so (T3, T6). Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.definition import JobDefinition, TaskDefinition, Value
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.execution import Execution, Offer, TaskRun
from formicary.runner.core.forked import DEEPEST, MOST_CHILDREN, Child, FanOut
from formicary.runner.core.graph import task_of
from formicary.runner.core.language.functions import text_of
from formicary.runner.core.load import Loaded
from formicary.runner.core.names import fill, secrets_in
from formicary.runner.core.records import JobRequest, NewRequest
from formicary.runner.queen.arriving.requests import checked_params
from formicary.runner.queen.arriving.sources import NO_GIT, Sources, tainted_names
from formicary.runner.queen.board import Live
from formicary.runner.queen.children.finding import Finding, Found
from formicary.runner.queen.children.spreading import listed
from formicary.runner.queen.orders import names_of, render_fan_out, render_task
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store import Store

LABEL: Final = 60
_JobKey = tuple[int | None, str]


@dataclass(frozen=True, slots=True)
class NewChild:
    request: NewRequest
    job: JobDefinition
    loaded: Loaded | None
    label: str


@dataclass(frozen=True, slots=True)
class Fork:
    """What an attempt forks. `most` of them at once; 0: all."""

    children: tuple[NewChild, ...]
    waits: bool = False
    fail_fast: bool = False
    most: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """Parameters of a child: those of `tainted` are what outsiders can write."""

    params: Mapping[str, Value]
    tainted: frozenset[str]


@dataclass(slots=True)
class Forking:
    """`job_of` gives the definition of a stored version, as it was loaded."""

    store: Store
    sources: Sources
    secrets: Secrets
    job_of: Callable[[int], JobDefinition | None]
    clock: Callable[[], float]
    url: str = ""

    def awaited(self, live: Live, execution: Execution, name: str) -> tuple[Child, ...]:
        """The children of the tasks that this one names; of those that were not chosen there are none."""
        found: list[Child] = []
        for fork in task_of(live.plan.definition, name).await_forked_tasks:
            runs = [run for run in execution.tasks.values() if fork in (run.name, run.matrix_of) and run.last]
            for run in runs:
                children = run.last.children if run.last else None
                for one in children.each if children else ():
                    label = f"{run.name} ({one.label})" if one.label else run.name
                    found.append(Child(request_id=one.request_id, label=label, tainted=one.tainted))
        return tuple(found)

    def made(self, live: Live, execution: Execution, order: Offer) -> Fork:
        """What the attempt forks. Raises UserError, WorldError."""
        run = execution.tasks[order.task]
        if task_of(live.plan.definition, order.task).fan_out is not None:
            return self._fanned(live, execution, run, order)
        task = self._rendered(live, execution, run, {})
        child = self._child(live, self._to_fork(live, task), self._given(live, task), order, 0, "")
        return Fork((child,), waits=task.sub_workflow is not None and task.sub_workflow.wait_for_completion is True)

    def _fanned(self, live: Live, execution: Execution, run: TaskRun, order: Offer) -> Fork:
        """One child an item."""
        assert run.last is not None, "a ready task has an attempt"
        seen = self.secrets.seen_by(live.request)
        names = names_of(live, execution, run, run.last, self.clock(), self.url, seen)
        fan = render_fan_out(live, names, run.matrix_of or run.name, seen)
        items, dirty = listed(fan, names)
        fan = fan.model_copy(update={"tainted": dirty})
        self._refuse_many(execution, len(items))
        children = tuple(self._each(live, execution, run, fan, items, order))
        return Fork(children, waits=True, fail_fast=fan.fail_fast, most=fan.max_parallel)

    def _rendered(
        self, live: Live, execution: Execution, run: TaskRun, more: Mapping[str, Value], tainted: bool = False
    ) -> TaskDefinition:
        assert run.last is not None, "a ready task has an attempt"
        seen = self.secrets.seen_by(live.request)
        dirty = frozenset(more) if tainted else frozenset()
        return render_task(live, execution, run, run.last, self.clock(), self.url, seen, more, dirty)[0]

    def _each(
        self, live: Live, execution: Execution, run: TaskRun, fan: FanOut, items: list[Value], order: Offer
    ) -> Iterator[NewChild]:
        known: dict[tuple[str, str], Found] = {}
        for number, item in enumerate(items):
            task = self._rendered(live, execution, run, {fan.item_var: item}, fan.tainted)
            named = _named(task)
            found = known.get(named) or known.setdefault(named, self._to_fork(live, task))
            given = self._given(live, task)
            dirty = given.tainted | {fan.item_var} if fan.tainted else given.tainted
            given = Given({**given.params, fan.item_var: item}, dirty)
            yield self._child(live, found, given, order, number, _label(item))

    def _to_fork(self, live: Live, task: TaskDefinition) -> Found:
        """Raises UserError."""
        job_type, version = _named(task)
        if not job_type:
            raise RequestRefused("`fork_job_type` is empty, so there is no job to fork")
        finding = Finding(self.store.read(), self.sources, self.job_of)
        found = finding.found(live.request, live.version.dialect, job_type, version)
        self._refuse_circles(live.request, (found.repository_id, found.job.job_type))
        return found

    def _given(self, live: Live, task: TaskDefinition) -> Given:
        """Those that `sub_workflow` names; else those of the parent, but for git's, and the task's variables."""
        sub, request = task.sub_workflow, live.request
        if sub is not None and sub.input_params is not None:
            return Given(dict(sub.input_params), frozenset(sub.tainted))
        handed = {name: value for name, value in request.params.items() if name not in NO_GIT}
        dirty = frozenset(request.tainted).intersection(handed) - task.variables.keys()
        return Given({**handed, **task.variables}, dirty | frozenset(task.tainted_variables))

    def _child(self, live: Live, found: Found, given: Given, order: Offer, number: int, label: str) -> NewChild:
        parent, job = live.request, found.job
        params, secrets = _checked(live, job, given.params)
        dirty = given.tainted.intersection(params) | frozenset(tainted_names(found.git))
        new = NewRequest(
            organization_id=parent.organization_id,
            repository_id=found.repository_id,
            version_id=found.version_id,
            job_type=job.job_type,
            event=parent.event,
            ref=found.ref,
            commit=found.commit,
            source_path=found.source_path,
            cause_key=f"fork:{order.task_execution_id}:{number}",
            params={**found.git, **{name: value for name, value in params.items() if name not in found.git}},
            secret_params=secrets,
            tainted=tuple(sorted(dirty)),
            priority=max(parent.priority, job.priority),
            max_concurrency=job.max_concurrency,
            description=f"forked by `{order.task}` of request {parent.id}" + (f": {label}" if label else ""),
            created_by=parent.created_by,
            trusted=parent.trusted and not found.foreign,
            parent_id=parent.id,
            parent_task=order.task_execution_id,
        )
        return NewChild(new, job, found.loaded, label)

    # What is refused

    def _refuse_circles(self, parent: JobRequest, child: _JobKey) -> None:
        """A job that is among its own ancestors would never end. Raises RequestRefused."""
        reader, above = self.store.read(), [parent]
        while above[-1].parent_id is not None and len(above) <= DEEPEST:
            request = reader.request(above[-1].parent_id)
            if request is None:
                break
            above.append(request)
        chain = " → ".join(f"`{name}`" for name in (*(one.job_type for one in reversed(above)), child[1]))
        if child in [(one.repository_id, one.job_type) for one in above]:
            raise RequestRefused(f"jobs would fork each other in a circle: {chain}")
        if len(above) >= DEEPEST:
            raise RequestRefused(f"at most {DEEPEST} jobs may fork each other, one below the other: {chain}")

    @staticmethod
    def _refuse_many(execution: Execution, more: int) -> None:
        """Raises RequestRefused."""
        known = sum(
            len(attempt.children.each)
            for run in execution.tasks.values()
            for attempt in run.attempts
            if attempt.children is not None
        )
        if known + more > MOST_CHILDREN:
            raise RequestRefused(f"a job may fork {MOST_CHILDREN} others, and this would be {known + more}")


def _checked(live: Live, job: JobDefinition, given: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, str]]:
    """The child's parameters; those apart whose values are secret. Secrets of the parent are no parameters: the child
    has its own. A secret parameter may be handed down to one that the child says is secret too.

    Raises RequestRefused.
    """
    filled: dict[str, Value] = {}
    for name, value in given.items():
        inside = secrets_in(value)
        param = job.params.get(name)
        if inside and not (inside <= live.secrets.keys() and param is not None and param.secret):
            listed = ", ".join(f"`{one}`" for one in sorted(inside))
            raise RequestRefused(
                f"`{name}` would hand the secret {listed} down to `{job.job_type}`, which sees its own secrets alone"
            )
        filled[name] = fill(text_of(value), live.secrets) if inside else value
    try:
        return checked_params(job, filled)
    except RequestRefused as error:
        raise RequestRefused(f"{error}".replace(": give --param ", "; hand down "), field=error.field) from error


def _named(task: TaskDefinition) -> tuple[str, str]:
    """The job that a task forks, and which version of it ("" = none is named)."""
    fan = task.fan_out
    if task.fork_job_type:
        return task.fork_job_type, task.fork_job_version or (fan.fork_job_version if fan else "")
    return (fan.fork_job_type, fan.fork_job_version or task.fork_job_version) if fan else ("", "")


def _label(item: Value) -> str:
    text = " ".join(text_of(item).split())
    return text if len(text) <= LABEL else text[: LABEL - 1] + "…"
