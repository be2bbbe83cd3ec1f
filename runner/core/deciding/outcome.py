"""What the end of an attempt means: the task's state, the task it leads to, a retry's delay, the sentence for people.

Every function here looks at one task only. What it means for the others is `advance`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zlib import crc32

from formicary.runner.core.definition import Retry, Target, TaskDefinition
from formicary.runner.core.errors import (
    ERR_ADDRESS,
    ERR_CANCELLED,
    ERR_DEFINITION,
    ERR_EXIT_CODE,
    ERR_FATAL,
    ERR_FORKED_JOB,
    ERR_IMAGE,
    ERR_REJECTED,
    ERR_TIMEOUT,
    LOST_CODES,
)
from formicary.runner.core.execution import Result, TaskRun
from formicary.runner.core.judged import Judgement
from formicary.runner.core.states import SUCCESS, State

#: how often a task is repeated because its ant was lost
LOST_BUDGET: Final = 3
#: seconds before each of these: at once where an ant is gone, later where a disk or a repository is away for a while
LOST_DELAYS: Final = (0.0, 5.0, 30.0)
#: the same again, however often the task is retried: the definition's own mistakes, addresses that may not be called,
#: and what people have decided
NEVER_RETRIED: Final = frozenset({ERR_ADDRESS, ERR_DEFINITION, ERR_REJECTED})
#: the operator's error codes say nothing of these
UNJUDGED: Final = NEVER_RETRIED | {ERR_CANCELLED}
#: words after which the task or the job runs again
AGAIN: Final = frozenset({"EXECUTING", "RESTART_TASK", "RESTART_JOB", "PAUSE_JOB"})
#: how often a job may be restarted and paused by its own tasks
MOST_RESTS: Final = 100
#: attempts that a task which polls keeps
POLLS_KEPT: Final = 20
#: seconds between two polls where the definition says none
POLL_DELAY: Final = 5.0
#: the exit code that a skipped task has in `on_exit_code`
SKIPPED_CODE: Final = "SKIPPED"


@dataclass(slots=True)
class Outcome:
    """How a task ended: its state, the task that it chooses ("" = none), and its error code where it FAILED."""

    state: State
    chooses: str = ""
    error_code: str = ""
    fatal: bool = False
    counts_as_completed: bool = False
    """A word said COMPLETED."""
    again: str = ""
    """EXECUTING, RESTART_TASK, RESTART_JOB or PAUSE_JOB: the word that the outcome came to."""


def failed(result: Result) -> bool:
    return bool(result.error_code) or not (result.completed or result.exit_code in (None, 0))


def lost(result: Result) -> bool:
    """Whether the ant failed, and not the task (D12)."""
    return result.error_code in LOST_CODES


def judged(result: Result) -> Judgement | None:
    """What the organization's error codes make of it: not of a lost attempt, of what people or the definition decided,
    and of what was cancelled."""
    told = failed(result) and not lost(result) and not result.excepted
    return result.judged if told and result.error_code not in UNJUDGED else None


def coded(result: Result) -> str:
    """The attempt's error code, as the organization calls it where it does."""
    named = judged(result)
    return named.error_code if named else error_code(result)


def budget(task: TaskDefinition, result: Result) -> int:
    """How many attempts may follow the first one, after this failure."""
    named = judged(result)
    return max(task.retry.attempts, named.retries("RETRY_TASK") if named else 0)


def error_code(result: Result) -> str:
    return result.error_code or (ERR_EXIT_CODE if failed(result) else "")


def listed(task: TaskDefinition, result: Result) -> bool:
    """Whether on_exit_code names this result's exit code. A timeout's or a lost ant's is not the command's own."""
    return bool(task.on_exit_code) and _exit_key(result) in task.on_exit_code


def _exit_key(result: Result) -> str:
    if result.excepted:
        return SKIPPED_CODE
    if result.answer:
        return result.answer
    if result.exit_code is None or error_code(result) not in ("", ERR_EXIT_CODE, ERR_FORKED_JOB):
        return ""
    return str(result.exit_code)


def conclude(task: TaskDefinition, result: Result) -> Outcome:
    """What the last attempt's result makes of the task."""
    if result.excepted:
        return _follow(task, Outcome(State.SKIPPED), SKIPPED_CODE, result.exit_code)
    state = State.FAILED if failed(result) else State.COMPLETED
    outcome = Outcome(state, error_code=coded(result))
    if hard(task, result):
        outcome.fatal = True
        return outcome
    return _follow(task, outcome, _exit_key(result), result.exit_code)


def hard(task: TaskDefinition, result: Result) -> bool:
    """Whether an error code ends everything. What the definition says of the exit code itself counts more."""
    named = judged(result)
    return named is not None and named.hard and not listed(task, result)


def skipped(task: TaskDefinition) -> Outcome:
    """The outcome of a task that is skipped because of a failure: only an entry for SKIPPED leads anywhere."""
    outcome = Outcome(State.SKIPPED)
    if task.on_exit_code and SKIPPED_CODE in task.on_exit_code:
        _follow(task, outcome, SKIPPED_CODE, None)
    return _unrun(outcome)


def passed_by(task: TaskDefinition) -> Outcome:
    """The outcome of a task that `when` keeps from running: as that of one that its `except` does."""
    return _unrun(_follow(task, Outcome(State.SKIPPED), SKIPPED_CODE, None))


def _unrun(outcome: Outcome) -> Outcome:
    if outcome.state is State.COMPLETED:
        outcome.state = State.SKIPPED  # what never ran cannot be COMPLETED; both are a success
    return outcome


def _follow(task: TaskDefinition, outcome: Outcome, key: str, exit_code: int | None) -> Outcome:
    """Go from word to word until there is a task, or nothing. A word met twice leads nowhere."""
    target = task.on_exit_code.get(key) if task.on_exit_code else None
    target = target or _by_status(task, outcome.state, exit_code)
    met: set[str] = set()
    while target is not None and not target.is_task:
        if target.name in met or outcome.fatal:
            return outcome
        if target.name in AGAIN:
            outcome.again = target.name
            return outcome
        met.add(target.name)
        _apply(outcome, target.name)
        target = _by_status(task, outcome.state, exit_code)
    if target is not None and not outcome.fatal:
        outcome.chooses = target.name
    return outcome


def worn_out(task: TaskDefinition, code: str) -> Outcome:
    """What becomes of a task that may not be repeated any more: it FAILED, and its failure leads on, but not back."""
    failed_again = Outcome(State.FAILED, error_code=code)
    target = task.on_failed
    if target is not None and target.name in AGAIN:
        return failed_again
    return _follow(task, failed_again, "", None)


def _by_status(task: TaskDefinition, state: State, exit_code: int | None) -> Target | None:
    if state in SUCCESS:
        return task.on_completed
    return task.on_failed or (task.on_completed if task.forgives(exit_code) else None)


def _apply(outcome: Outcome, word: str) -> None:
    if word == "COMPLETED":
        outcome.state = outcome.state if outcome.state in SUCCESS else State.COMPLETED
        outcome.error_code = ""
        outcome.counts_as_completed = True
        return
    outcome.state = State.FAILED
    outcome.counts_as_completed = False
    outcome.fatal = word == "FATAL"
    if outcome.fatal:
        outcome.error_code = ERR_FATAL
    elif word.startswith("ERR_"):
        outcome.error_code = word
    else:
        outcome.error_code = outcome.error_code or ERR_EXIT_CODE


def forgiven(task: TaskDefinition, run: TaskRun) -> bool:
    """Whether a FAILED task leaves the job its success. FATAL is never forgiven."""
    if run.combinations is not None:
        return run.combinations.waived
    last = run.last
    if last is None:
        return task.forgives(None)
    return last.error_code != ERR_FATAL and not last.hard and task.forgives(last.exit_code)


def blocks(task: TaskDefinition, run: TaskRun) -> str:
    """The failed task for which one that needs this one is skipped; "" when this one does not stand in the way."""
    if run.state is State.SKIPPED:
        return run.because
    if run.state is State.CANCELLED or (run.state is State.FAILED and not forgiven(task, run)):
        return run.name
    return ""


def kept(task: TaskDefinition, run: TaskRun) -> bool:
    """Whether another attempt of the job leaves this task as it is: completed, or skipped by its own `except`."""
    ran = run.state is State.COMPLETED or (run.state is State.SKIPPED and run.excepted)
    return ran and not run.rerun and not task.allow_start_if_completed


def delay(retry: Retry, number: int, seed: int, salt: str) -> float:
    """Seconds before retry `number` (from 1). The jitter depends on seed and salt alone."""
    backoff = retry.backoff
    if backoff is None:
        return max(retry.delay, 0.0)
    try:
        wait = min(backoff.max, backoff.min * backoff.factor ** (number - 1))
    except OverflowError:
        wait = backoff.max
    share = crc32(f"{seed}/{salt}/{number}".encode()) / 0xFFFFFFFF
    return max(wait * (1 + backoff.jitter * share), 0.0)


def span(seconds: float) -> str:
    """1h30m, 15s, 500ms: as the definition language writes it."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{rest:g}s" if rest else "")
    return "".join(parts)


def what_happened(task: TaskDefinition, result: Result) -> str:
    """How an attempt failed, without a subject: "failed with exit code 1"."""
    code = error_code(result)
    detail = result.error_message.strip()
    if code == ERR_TIMEOUT:
        return f"ran into its timeout of {span(task.timeout)}"
    if code == ERR_CANCELLED:
        return "was cancelled"
    if code == ERR_REJECTED:
        return _with(detail, "was rejected")
    if code == ERR_IMAGE:
        return _with(detail, "could not have its image")
    if code in LOST_CODES:
        return "was lost with its ant" + (f": {detail}" if detail else "")
    if code == ERR_EXIT_CODE:
        tests = result.reports.tally().failing if result.reports else ""
        told = f"failed with exit code {result.exit_code}" if result.exit_code is not None else _with(detail, "failed")
        return _with(tests, told)
    return _with(detail, f"failed with {code}")


def _with(detail: str, text: str) -> str:
    return f"{text}: {detail}" if detail else text


def sentence(task: TaskDefinition, run: TaskRun, result: Result, code: str) -> str:
    """The task's end as one useful sentence: "task `test` failed with exit code 1 (attempt 3 of 3)"."""
    what = what_happened(task, result)
    if code and code != error_code(result):
        named = judged(result)
        what += f" ({code}: {named.message})" if named and named.message and code == named.error_code else f" ({code})"
    tries = budget(task, result)
    if not lost(result) and tries > 0:
        return f"task `{run.name}` {what} (attempt {run.failures + 1} of {tries + 1})"
    if lost(result) and run.lost:
        return f"task `{run.name}` {what} (lost {run.lost + 1} times)"
    return f"task `{run.name}` {what}"
