"""A run as lines of a terminal: task states as they change, and what the tasks write, as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.logframes import Frame
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.store import Store

COLOURS = {State.COMPLETED: "green", State.SKIPPED: "yellow", State.FAILED: "red", State.CANCELLED: "yellow"}
MARKS = {State.COMPLETED: "✓", State.SKIPPED: "·", State.FAILED: "✗", State.CANCELLED: "✗"}


@dataclass(slots=True)
class Watcher:
    """Shows what is new of one request each time `show` is called, and of the jobs that it has forked. Lines of several
    tasks carry their task's name, those of forked jobs that of the job (`head`)."""

    store: Store
    logs: Logs
    tasks: list[str]
    only: str = ""
    head: str = ""
    _children: dict[int, Watcher] = field(default_factory=dict)
    _shown: dict[str, State] = field(default_factory=dict)
    _offsets: dict[str, int] = field(default_factory=dict)
    _rest: dict[str, bytes] = field(default_factory=dict)
    _request: JobRequest | None = None
    _ended: bool = False

    def show(self, request: JobRequest) -> None:
        execution = self.store.read().execution(request.execution_id) if request.execution_id else None
        runs = sorted(execution.tasks.values() if execution else (), key=lambda run: run.combinations is not None)
        for run in runs:  # a matrix task ends after its combinations
            for attempt in run.attempts:
                self._show_log(run.name, attempt)
            self._show_children(run)
            self._show_state(run)
        if request.state in TERMINAL and not self._ended:
            self._ended = True
            self._show_end(request, execution)

    def _show_children(self, run: TaskRun) -> None:
        """Of the task that forked them; who waits for them knows them too, and comes later."""
        reader = self.store.read()
        for attempt in run.attempts:
            for child in attempt.children.each if attempt.children else ():
                known = self._children.get(child.request_id)
                if known is not None and known._ended:
                    continue
                request = reader.request(child.request_id)
                if request is not None:
                    known = known or self._child(child.request_id, f"{request.job_type} ({child.label or run.name})")
                    known.show_child(request)

    def _child(self, request_id: int, head: str) -> Watcher:
        name = f"{self.head} > {head}" if self.head else head
        return self._children.setdefault(request_id, Watcher(self.store, self.logs, [], head=name))

    def forked(self) -> Iterator[JobRequest]:
        """The jobs below this one that have not ended, as they were shown last."""
        for child in self._children.values():
            if child._request is not None and not child._ended:
                yield child._request
                yield from child.forked()

    def show_child(self, request: JobRequest) -> None:
        """Its tasks are known once it has begun."""
        self._request = request
        plan = self.store.read().plan(request.execution_id) if request.execution_id and not self.tasks else None
        if plan is not None:
            self.tasks = [task.task_type for task in plan.definition.tasks]
        self.show(request)

    def _name(self, name: str) -> str:
        """What a task is called here: one alone in a forked job as that job."""
        if not self.head:
            return name
        return self.head if [name] == self.tasks else f"{self.head} > {name}"

    def _show_log(self, name: str, attempt: Attempt) -> None:
        if self._offsets.get(attempt.id) == -1:
            return
        alone = (self.only or len(self.tasks) == 1) and name in (self.only, *self.tasks)  # and not one of a matrix
        prefix = f"{name:<{max(map(len, self.tasks))}} | "
        prefix = f"{self._name(name)} | " if self.head else "" if alone else prefix
        for frame in self.logs.frames(attempt.id, self._offsets.get(attempt.id, 0)):
            self._offsets[attempt.id] = frame.end
            self._show_frame(attempt.id, prefix, frame)
        if attempt.state in TERMINAL:
            self._flush(attempt.id, prefix)
            self._offsets[attempt.id] = -1

    def _show_frame(self, attempt_id: str, prefix: str, frame: Frame) -> None:
        if frame.stream == "out":
            *lines, rest = (self._rest.get(attempt_id, b"") + frame.data).split(b"\n")
            self._rest[attempt_id] = rest
            if lines:
                click.echo("\n".join(prefix + line.decode(errors="replace") for line in lines))
            return
        self._flush(attempt_id, prefix)
        mark = "$ " if frame.stream == "cmd" else "· "
        for line in frame.data.decode(errors="replace").splitlines():
            click.echo(prefix + click.style(mark + line, dim=True))

    def _flush(self, attempt_id: str, prefix: str) -> None:
        if rest := self._rest.pop(attempt_id, b""):
            click.echo(prefix + rest.decode(errors="replace"))

    def _show_state(self, run: TaskRun) -> None:
        key = f"{run.name} {len(run.attempts)}"
        if self._shown.get(key) == run.state:
            return
        self._shown[key] = run.state
        if run.state in TERMINAL:
            why = f": {run.reason}" if run.reason and run.state is not State.COMPLETED else ""
            self._say(run.state, f"{self._name(run.name)}{_took(run.last)}{why}")
        elif run.state is State.PENDING and run.attempts:
            wait = f"again in {max(run.retry_at - time.time(), 0):.0f} s" if run.retry_at else "again"
            why = f"{run.reason.rstrip('.')}; {wait}" if run.reason else "again, with the job"
            click.echo(click.style(f"↻ {self._name(run.name)}: {why}", fg="yellow"))

    def _say(self, state: State, text: str) -> None:
        click.echo(click.style(f"{MARKS[state]} {text}", fg=COLOURS[state]))

    def _show_end(self, request: JobRequest, execution: Execution | None) -> None:
        took = ""
        if execution and execution.ended_at:
            took = f" in {execution.ended_at - execution.created_at:.1f} s"
        why = request.error_message or request.reason
        click.echo(
            click.style(f"{self.head or request.job_type} {request.state}{took}", fg=COLOURS[request.state], bold=True)
            + (f": {why}" if why else "")
        )


def _took(attempt: Attempt | None) -> str:
    if attempt is None or attempt.ended_at is None or attempt.started_at is None:
        return ""
    return f" ({attempt.ended_at - attempt.started_at:.1f} s)"
