"""The notice of an end, composed from the store, the history and the log: what broke, since when, and how it shows.

Blocking. A history or a log that cannot be read now makes the notice shorter, and not late.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import FormicaryError
from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.names import fill
from formicary.runner.core.records import JobRequest, Repository
from formicary.runner.core.reports import together
from formicary.runner.core.states import State
from formicary.runner.git.model import Commit
from formicary.runner.publish.messages import Message
from formicary.runner.publish.notice import Notice, one_line
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.tail import tail
from formicary.runner.store import Reader, Store
from formicary.runner.telling.escalation import overdue_notice
from formicary.runner.telling.excerpt import excerpt, report
from formicary.runner.telling.notices import before_this
from formicary.runner.telling.outward import Outward

log = logging.getLogger("formicary.queen")

MOST_COMMITS: Final = 10
MOST_RUNS: Final = 50
"""How many failed runs are looked back on for the first of them."""
MOST_SHOWN: Final = 10
"""Failed tasks that are named."""
SHORT: Final = 10


@dataclass(frozen=True, slots=True)
class Ended:
    """A job's or (with `task`) a task's end, as the store knows it now."""

    request: JobRequest
    repository: Repository | None
    execution: Execution | None
    task: str
    state: State
    before: State | None
    job: JobDefinition | None = None

    @property
    def failed(self) -> list[TaskRun]:
        """The tasks that failed and were not forgiven, of a matrix its combinations; for a task's end that task alone,
        forgiven or not."""
        runs = self.execution.tasks.values() if self.execution else ()
        failed = [run for run in runs if run.state is State.FAILED and run.combinations is None]
        if self.task:
            return [run for run in failed if self.task in (run.name, run.matrix_of)]
        return [run for run in failed if not self._forgiven(run)]

    @property
    def reporting(self) -> list[TaskRun]:
        """The tasks with `report_stdout` that have completed, if the whole has; of a matrix its combinations."""
        if self.job is None or self.execution is None or self.state is not State.COMPLETED:
            return []
        wanted = {task.task_type for task in self.job.tasks if task.report_stdout and self.task in ("", task.task_type)}
        runs = [run for run in self.execution.tasks.values() if run.combinations is None]
        return [run for run in runs if run.state is State.COMPLETED and {run.name, run.matrix_of} & wanted]

    def _forgiven(self, run: TaskRun) -> bool:
        if self.job is None or run.last is None:
            return False
        names = (run.name, run.matrix_of)
        return any(task.forgives(run.last.exit_code) for task in self.job.tasks if task.task_type in names)


@dataclass(frozen=True, slots=True)
class Composer:
    store: Store
    logs: Logs
    sources: Sources
    outward: Outward
    mask: Callable[[str], str]

    def message(self, payload: Mapping[str, Any]) -> Message | None:
        """What one recipient is to be sent; None where the request is gone. Raises Undeliverable."""
        reader = self.store.read()
        request = reader.request(int(payload["request_id"]))
        if request is None:
            return None
        recipient = str(payload["recipient"])
        values = self.outward.values(reader, request, f"a recipient of `{request.job_type}`", recipient)
        if "overdue" in payload:
            notice = self._masked(overdue_notice(self.outward, reader, request, payload))
        else:
            notice = self.notice(reader, request, payload)
        return Message(notice, str(payload["channel"]), fill(recipient, values), tuple(values.values()))

    def notice(self, reader: Reader, request: JobRequest, payload: Mapping[str, Any]) -> Notice:
        task, execution_id = str(payload["task"]), int(payload["execution_id"])
        plan = reader.plan(execution_id) if execution_id else None
        ended = Ended(
            request,
            reader.repository(request.repository_id) if request.repository_id is not None else None,
            reader.execution(execution_id) if execution_id else None,
            task,
            State(payload["state"]),
            before_this(reader, request, execution_id, task),
            plan.definition if plan else None,
        )
        bad = ended.state is State.FAILED
        shown = self._excerpt(ended) if bad else self._report(ended)
        more = list(self._since(reader, ended)) if bad else []
        good = {State.COMPLETED: True, State.FAILED: False}.get(ended.state)
        return Notice(
            subject=self.mask(subject(ended)),
            good=good,
            facts=[(label, self.mask(value)) for label, value in facts(ended)],
            more=[(self.mask(heading), [self.mask(line) for line in lines]) for heading, lines in more],
            excerpt_of=shown[0],
            excerpt=self.mask(shown[1]),
            link=f"{self.outward.url}/requests/{request.id}" if self.outward.url else "",
        )

    def _masked(self, notice: Notice) -> Notice:
        facts = [(label, self.mask(value)) for label, value in notice.facts]
        return replace(notice, subject=self.mask(notice.subject), facts=facts)

    def _excerpt(self, ended: Ended) -> tuple[str, str]:
        for run in ended.failed:
            if run.last is not None:
                try:
                    lines = excerpt(tail(self.logs, run.last.id))
                except (OSError, FormicaryError) as error:
                    log.warning("the log of %s cannot be shown in a message: %s", run.last.id, error)
                    continue
                if lines:
                    return f"Log of {run.name}", lines
        return "", ""

    def _report(self, ended: Ended) -> tuple[str, str]:
        """What the task wrote whose `report_stdout` says that people want to read it, once it has completed."""
        for run in ended.reporting:
            if run.last is not None:
                try:
                    lines = report(tail(self.logs, run.last.id))
                except (OSError, FormicaryError) as error:
                    log.warning("what %s wrote cannot be shown in a message: %s", run.last.id, error)
                    continue
                if lines:
                    return f"Output of {run.name}", lines
        return "", ""

    def _since(self, reader: Reader, ended: Ended) -> Iterator[tuple[str, list[str]]]:
        """Since when the job fails on this ref, and what came in with the first failure."""
        request = ended.request
        good = reader.request_before(request, (State.COMPLETED, State.COMPLETED))
        first, runs = first_failed(reader, request, good.id if good else 0)
        if good is None:
            if first is not request:
                yield "Failing since", [f"{_named(first)}, {runs} runs in a row; it has not passed on this branch yet"]
            return
        many = f"{runs} runs in a row" if runs > 1 else "the first time"
        yield "Failing since", [f"{_named(first)}, {many}; it last passed at {_named(good)}"]
        commits = self._commits(ended.repository, good.commit, first.commit)
        if commits:
            yield (
                "Commits since it passed",
                [f"{one.sha[:SHORT]} {_title(one.message)} ({one.author})" for one in commits],
            )

    def _commits(self, repository: Repository | None, before: str, after: str) -> list[Commit]:
        """Newest first."""
        if repository is None or not before or not after or before == after:
            return []
        try:
            return self.sources.git(repository.path).commits_between(before, after, limit=MOST_COMMITS)[::-1]
        except FormicaryError as error:
            log.warning("the commits since %s cannot be told: %s", before, error)
            return []


def first_failed(reader: Reader, request: JobRequest, after: int) -> tuple[JobRequest, int]:
    """The first failed run after the request `after` and up to this one, and how many there are."""
    first, runs = request, 1
    while runs < MOST_RUNS:
        earlier = reader.request_before(first, (State.FAILED, State.FAILED))
        if earlier is None or earlier.id <= after:
            break
        first, runs = earlier, runs + 1
    return first, runs


def subject(ended: Ended) -> str:
    """One line: where, what, how."""
    request = ended.request
    where = f"[{ended.repository.name}] " if ended.repository else ""
    on = f" on {place}" if (place := _place(request)) else ""
    what = f"{request.job_type}: task `{ended.task}`" if ended.task else request.job_type
    why = ""
    if ended.state is State.FAILED and ended.failed:
        why = f": {_how(ended.failed[0])}" if ended.task else f": task `{ended.failed[0].name}` {_how(ended.failed[0])}"
    elif ended.state is State.FAILED:
        why = f": {request.error_message or request.error_code}".rstrip(": ")
    return one_line(f"{where}{what} {_verb(ended)}{on}{why}")


def _verb(ended: Ended) -> str:
    if ended.state is State.CANCELLED:
        return "was cancelled"
    if ended.state is State.FAILED:
        return "still fails" if ended.before is State.FAILED else "failed"
    return "works again" if ended.before is State.FAILED else "passed"


def _how(run: TaskRun) -> str:
    attempt = run.last
    if attempt is None:
        return run.reason
    if attempt.tally is not None and attempt.tally.failing:
        return attempt.tally.failing
    if attempt.exit_code:
        return f"exit code {attempt.exit_code}"
    return attempt.error_message or attempt.error_code or "failed"


def facts(ended: Ended) -> Iterator[tuple[str, str]]:
    request, execution = ended.request, ended.execution
    if ended.repository:
        yield "Repository", ended.repository.name
    yield "Job", f"{request.job_type}, request {request.id}"
    if place := _place(request):
        yield "Branch" if request.ref.startswith("refs/heads/") else "Ref", place
    if request.commit:
        yield "Commit", f"{request.commit[:SHORT]} {_title(str(request.params.get('GitCommitMessage') or ''))}".rstrip()
    if author := str(request.params.get("GitCommitAuthor") or ""):
        yield "Author", author
    by = request.created_by if request.created_by != request.event else ""
    yield "Started by", request.event + (f", {by}" if by else "")
    failed = ended.failed
    for run in failed[:MOST_SHOWN]:
        yield "Failed", f"{run.name}: {_how(run)}{_which(run.last)}"
    if len(failed) > MOST_SHOWN:
        yield "Failed", f"and {len(failed) - MOST_SHOWN} more"
    if tests := _tested(ended):
        yield "Tests", tests
    if not failed and (told := request.error_message or request.reason):
        yield "Reason", told
    ran = execution.tasks[ended.task].last if execution and ended.task in execution.tasks else execution
    if ran and ran.started_at and ran.ended_at:
        yield "Took", _duration(ran.ended_at - ran.started_at)


def _tested(ended: Ended) -> str:
    """What the reports of the tasks say, where nothing went wrong; else the failed tasks say it."""
    runs = ended.execution.tasks.values() if ended.execution else ()
    wanted = [run for run in runs if not ended.task or ended.task in (run.name, run.matrix_of)]
    tally = together(run.last.tally if run.last else None for run in wanted)
    return "" if tally is None else tally.told


def _which(attempt: Attempt | None) -> str:
    return f", attempt {attempt.number}" if attempt is not None and attempt.number > 1 else ""


def _place(request: JobRequest) -> str:
    return request.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _named(request: JobRequest) -> str:
    commit = f"commit {request.commit[:SHORT]} " if request.commit else ""
    return f"{commit}(request {request.id})"


def _title(message: str) -> str:
    return message.strip().partition("\n")[0]


def _duration(seconds: float) -> str:
    """As a person says it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
