"""What a commit's status says: contexts, states and sentences, made of what is known of a request. Pure.

`error` is for what is not the commit's fault (D12: an ant that was lost, a definition that cannot be rendered, a
checkout or an artifact that failed) and for what was cancelled; `failure` for scripts that failed or took too long.
A filtered-out or skipped job is a success (D11), because a required check must not be left waiting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from formicary.runner.core.deciding.outcome import forgiven, span
from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import (
    ERR_ARTIFACT,
    ERR_CANCELLED,
    ERR_CHECKOUT,
    ERR_DEFINITION,
    ERR_EXIT_CODE,
    ERR_IMAGE,
    ERR_REJECTED,
    ERR_TIMEOUT,
    LOST_CODES,
    Problem,
)
from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.graph import Graph
from formicary.runner.core.names import SECRET_TOKEN
from formicary.runner.core.records import JobRequest, Repository
from formicary.runner.core.reports import together
from formicary.runner.core.states import ACTIVE, SUCCESS, TERMINAL, State

PENDING, SUCCEEDED, FAILURE, ERROR = "pending", "success", "failure", "error"
MOST_CHARACTERS: Final = 140
"""Of a description; GitHub takes no more."""
MOST_OF_A_CONTEXT: Final = 255
SYNC_CONTEXT: Final = "formicary/sync"
PULL_REQUEST: Final = "pull_request"
NOT_THE_COMMITS_FAULT: Final = LOST_CODES | {ERR_DEFINITION, ERR_CHECKOUT, ERR_ARTIFACT}
FORGES: Final = frozenset({"github", "gitlab", "gitea"})
"""Forges that take statuses."""

_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class Verdict(NamedTuple):
    state: str
    description: str


@dataclass(frozen=True, slots=True)
class Status:
    """One status of a commit. Texts are masked already."""

    commit: str
    context: str
    state: str
    description: str
    target_url: str = ""


class Forge(Protocol):
    """Where statuses are posted. Posting one twice is harmless."""

    def lane(self, repository: Repository) -> str:
        """What answers for this repository, by a name: a host, and whose limits count there."""
        ...

    async def post_status(self, repository: Repository, status: Status) -> None:
        """Raises ToldToWait, Undeliverable, WorldError."""
        ...


def takes_statuses(repository: Repository | None) -> bool:
    return repository is not None and repository.forge in FORGES and bool(repository.slug)


def side(request: JobRequest) -> str:
    """Pull requests have a context of their own where a commit was pushed as well."""
    return PULL_REQUEST if request.event == PULL_REQUEST else ""


def context_of(request: JobRequest, job: JobDefinition | None, *, both: bool = False, task: str = "") -> str:
    """`both`: the commit has requests of a push and of a pull request."""
    given = one_line(job.status.context) if job else ""
    context = given or f"formicary/{request.job_type}" + (" (pull_request)" if both and side(request) else "")
    return (f"{context}/{task}" if task else context)[:MOST_OF_A_CONTEXT]


def one_line(text: str) -> str:
    """Without line ends and control characters; the token of a secret says nothing."""
    return _BLANKS.sub(" ", SECRET_TOKEN.sub("***", text)).strip()


def described(text: str, mask: Callable[[str], str]) -> str:
    """As a forge takes it: masked before anything is cut off (T8), on one line, not too long."""
    line = one_line(mask(text))
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1].rstrip() + "…"


def speaker(requests: Sequence[JobRequest]) -> JobRequest:
    """Whose state is shown, of several requests of one job and commit: the newest. One that was skipped overrules none
    that ran: a branch that excludes the job makes no failed commit green."""
    ran = [request for request in requests if request.state is not State.SKIPPED]
    return max(ran or requests, key=lambda request: request.id)


# A job


def verdict(request: JobRequest, job: JobDefinition | None, execution: Execution | None, why: str = "") -> Verdict:
    """What a request's status says now. `why`: for what it waits."""
    state = request.state
    if state not in TERMINAL:
        return Verdict(PENDING, _unfinished(state, execution, why))
    if state is State.SKIPPED:
        return Verdict(SUCCEEDED, f"skipped: {request.reason}" if request.reason else "skipped")
    if state is State.CANCELLED:
        return Verdict(ERROR, _message(request, execution) or "cancelled")
    counted = _counted(job, execution)
    if state is State.COMPLETED:
        told = _with_time(counted or "passed", execution) + _allowed(job, execution)
        tested = _tested(execution)
        return Verdict(SUCCEEDED, f"{told}; {tested}" if tested else told)
    what = _what_failed(request, job, execution)
    return Verdict(_fault(_code(request, execution)), f"{counted}; {what}" if counted else what)


def _unfinished(state: State, execution: Execution | None, why: str) -> str:
    if state is State.MANUAL_APPROVAL_REQUIRED:
        return _asks(execution)
    if state is State.PAUSED:
        return "paused"
    if state in ACTIVE and execution is not None and state is not State.READY:
        return "running"
    return f"waiting: {why}" if why else "waiting"


def _asks(execution: Execution | None) -> str:
    runs = execution.tasks.values() if execution else ()
    asked = [run.name for run in runs if run.state is State.MANUAL_APPROVAL_REQUIRED]
    names = ", ".join(f"`{name}`" for name in asked)
    return f"waits for an approval of {names}" if names else "waits for an approval"


def _message(request: JobRequest, execution: Execution | None) -> str:
    return request.error_message or (execution.error_message if execution else "") or request.reason


def _code(request: JobRequest, execution: Execution | None) -> str:
    return request.error_code or (execution.error_code if execution else "")


def _fault(code: str) -> str:
    return ERROR if code in NOT_THE_COMMITS_FAULT else FAILURE


def _counted(job: JobDefinition | None, execution: Execution | None) -> str:
    """ "3 of 5 tasks passed", "5 tasks passed, 1 skipped"; nothing where the job has one task only."""
    runs = [run for run in execution.tasks.values() if run.combinations is None] if execution else []
    if job is None or len(runs) < 2:
        return ""
    skipped = sum(run.state is State.SKIPPED for run in runs)
    passed = sum(run.state is State.COMPLETED for run in runs)
    whole = f"{passed} of {len(runs)}" if passed + skipped < len(runs) else f"{passed}"
    return f"{whole} task{'' if whole == '1' else 's'} passed" + (f", {skipped} skipped" if skipped else "")


def _allowed(job: JobDefinition | None, execution: Execution | None) -> str:
    """The first task that failed and was allowed to."""
    runs = execution.tasks.values() if execution and job else ()
    may = [run.name for run in runs if run.state is State.FAILED and job is not None and _forgiven(job, run)]
    return f"; `{may[0]}` failed, which is allowed" if may else ""


def _forgiven(job: JobDefinition, run: TaskRun) -> bool:
    node = Graph.of(job).nodes.get(run.name)
    return node is not None and forgiven(node.task, run)


def _what_failed(request: JobRequest, job: JobDefinition | None, execution: Execution | None) -> str:
    """The first task that failed and was not allowed to (of a matrix one of its combinations), else what the job itself
    says."""
    runs = [run for run in execution.tasks.values() if run.combinations is None] if execution else []
    failed = [run for run in runs if run.state is State.FAILED and job is not None and not _forgiven(job, run)]
    if execution is not None and execution.timed_out and job is not None:
        return f"it ran into its timeout of {span(job.timeout)}"
    if failed:
        first = min(failed, key=_ended_at)
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"`{first.name}`{more} {_how(first)}"
    return _message(request, execution) or "failed"


def _tested(execution: Execution | None) -> str:
    """ "120 tests passed, 87.1% of lines covered", over all tasks."""
    runs = execution.tasks.values() if execution else ()
    tally = together(run.last.tally if run.last else None for run in runs)
    return tally.failing or tally.passing if tally else ""


def _ended_at(run: TaskRun) -> float:
    return (run.last.ended_at if run.last else None) or 0.0


def _how(run: TaskRun) -> str:
    """ "failed: exit code 1 after 12s"."""
    last = run.last
    if last is None:
        return f"failed: {run.reason}" if run.reason else "failed"
    took = _took(last)
    after = f" after {took}" if took else ""
    if last.error_code == ERR_IMAGE:
        return "could not have its image" + (f": {last.error_message}" if last.error_message else "")
    if last.error_code in LOST_CODES:
        return "was lost with its ant" + (f": {last.error_message}" if last.error_message else "")
    if last.error_code == ERR_TIMEOUT:
        return f"timed out{after}"
    if last.error_code == ERR_REJECTED:
        return f"was rejected: {last.error_message}"
    if last.error_code == ERR_CANCELLED:
        return "was cancelled"
    if last.tally is not None and last.tally.failing:
        return f"failed: {last.tally.failing}"
    if last.error_code in ("", ERR_EXIT_CODE) and last.exit_code is not None:
        return f"failed: exit code {last.exit_code}{after}"
    return f"failed: {last.error_message or last.error_code}"


def _took(attempt: Attempt) -> str:
    start = attempt.executing_at or attempt.started_at
    return _rounded(attempt.ended_at - start) if start is not None and attempt.ended_at is not None else ""


def _rounded(seconds: float) -> str:
    """To the second above ten of them, to the tenth below, to the millisecond below one."""
    return span(float(round(seconds)) if seconds >= 10 else max(round(seconds, 1 if seconds >= 1 else 3), 0.0))


def _with_time(text: str, execution: Execution | None) -> str:
    if execution is None or execution.started_at is None or execution.ended_at is None:
        return text
    return f"{text} in {_rounded(execution.ended_at - execution.started_at)}"


# A task


def task_verdict(request: JobRequest, execution: Execution | None, name: str, why: str = "") -> Verdict:
    """What a task's own status says now (`per_task`)."""
    run = execution.tasks.get(name) if execution else None
    if run is None or (run.state not in TERMINAL and request.state in TERMINAL):
        if request.state is State.COMPLETED:
            return Verdict(SUCCEEDED, "skipped: nothing led to it")
        return verdict(request, None, None, why)  # it never came to that: the job's own word holds
    last = run.last
    if run.state is State.SKIPPED:
        return Verdict(SUCCEEDED, f"skipped: {run.reason}" if run.reason else "skipped")
    if run.state in SUCCESS:
        took = _took(last) if last else ""
        told = f"passed in {took}" if took else "passed"
        tally = last.tally if last else None
        tested = tally.failing or tally.passing if tally else ""
        return Verdict(SUCCEEDED, f"{told}; {tested}" if tested else told)
    if run.state is State.CANCELLED:
        return Verdict(ERROR, run.reason or "cancelled")
    if run.state is State.FAILED:
        return Verdict(_fault(last.error_code if last else ""), _how(run))
    if run.state is State.MANUAL_APPROVAL_REQUIRED:
        return Verdict(PENDING, "waits for an approval")
    if run.state in (State.STARTED, State.EXECUTING):
        return Verdict(PENDING, "running")
    return Verdict(PENDING, f"waiting: {run.reason}" if run.reason else "waiting")


# The definitions


def sync_verdict(problems: Sequence[Problem]) -> Verdict:
    """What `formicary/sync` says of a commit's definitions: the first problem with its place, and its remedy if that
    fits."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return Verdict(SUCCEEDED, "every definition is valid")
    first = errors[0]
    place = f"{first.path}:{first.line}" if first.line else first.path
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    text = f"{place}: {first.message}"
    with_remedy = f"{text} ({first.expected})" if first.expected else text
    return Verdict(FAILURE, (with_remedy if len(with_remedy + more) <= MOST_CHARACTERS else text) + more)
