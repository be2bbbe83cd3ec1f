"""How an attempt ends: what the definition makes of its result, whether another one follows, and what that means for
the job."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from formicary.runner.core.deciding import outcome as outcomes
from formicary.runner.core.deciding.advance import advance, bar, halt
from formicary.runner.core.deciding.course import Course, halted, may_start, stopped, why_stopped
from formicary.runner.core.errors import ERR_CANCELLED, ERR_EXIT_CODE, ERR_RESTARTS, ERR_TIMEOUT
from formicary.runner.core.execution import Attempt, Forget, Result, RetryDue, TaskRun
from formicary.runner.core.graph import Node
from formicary.runner.core.states import TASK_TRANSITIONS, State, move

EXCEPTED: Final = "Its `except` says true."


def over(course: Course, run: TaskRun, attempt: Attempt, result: Result) -> None:
    """An attempt is over: another one follows, or the task has come to its end."""
    node = course.graph.nodes[run.name]
    if result.excepted and attempt.state is State.EXECUTING:
        result = Result(outputs=result.outputs)  # its script ran, so it cannot be skipped any more
    failed = outcomes.failed(result) and not result.excepted
    if failed and stopped(course.execution, node):
        _end_stopped(course, run, attempt, result)
    elif failed and outcomes.lost(result) and run.lost < outcomes.LOST_BUDGET and may_start(course.execution, node):
        _repeat(course, run, attempt, result, outcomes.LOST_DELAYS[run.lost], lost=run.lost + 1)
    elif failed and _may_retry(course, run, node, result):
        wait = outcomes.delay(
            node.task.retry, run.failures + 1, course.seed, f"{course.execution.id}/{run.name}/{run.attempts[-1].fence}"
        )
        _repeat(course, run, attempt, result, wait, failures=run.failures + 1)
    else:
        _conclude(course, run, attempt, result)


def _conclude(course: Course, run: TaskRun, attempt: Attempt, result: Result) -> None:
    """What the definition says of this outcome: another poll, another try, or the task's end."""
    node = course.graph.nodes[run.name]
    outcome = outcomes.conclude(node.task, result)
    going = may_start(course.execution, node)
    if result.answer:
        pass  # people are asked once
    elif outcome.again == "EXECUTING" and not result.excepted:
        wait = node.task.retry.delay or outcomes.POLL_DELAY
        since = run.polling_since or attempt.ready_at or course.now
        if going and course.now + wait < since + node.task.timeout:
            return _poll(course, run, attempt, result, wait, since)
        if going:
            result = replace(result, error_code=ERR_TIMEOUT, error_message="")
            outcome = outcomes.worn_out(node.task, ERR_TIMEOUT)
    elif outcome.again == "RESTART_TASK" and not result.excepted:
        if going and run.failures < node.task.retry.attempts:
            wait = outcomes.delay(
                node.task.retry, run.failures + 1, course.seed, f"{course.execution.id}/{run.name}/{attempt.fence}"
            )
            return _repeat(course, run, attempt, result, wait, failures=run.failures + 1)
        outcome = outcomes.worn_out(node.task, outcomes.coded(result) or ERR_EXIT_CODE)
    elif _job_again(course, node, result, outcome):
        outcome.again, outcome.chooses = "RESTART_JOB", ""
    _end_task(course, run, attempt, result, outcome)


def _job_again(course: Course, node: Node, result: Result, outcome: outcomes.Outcome) -> bool:
    """Whether an error code wants the whole job to be tried again, where the definition says nothing else."""
    named = outcomes.judged(result)
    failed = outcome.state is State.FAILED and not outcome.again and not outcome.fatal
    wanted = named.retries("RETRY_JOB") if named else 0
    return failed and course.execution.job_retry < wanted and not outcomes.listed(node.task, result)


def _poll(course: Course, run: TaskRun, attempt: Attempt, result: Result, wait: float, since: float) -> None:
    """The task asks again later; that it is not so far yet is no failure. Old polls are not kept."""
    attempts = _with_result(course, run, attempt, result, State.COMPLETED, "", "")
    for old in attempts[: -outcomes.POLLS_KEPT]:
        course.orders.append(Forget(old.id))
    at = course.now + wait
    course.put(
        run,
        State.PENDING,
        attempts=attempts[-outcomes.POLLS_KEPT :],
        reason=f"It is not so far yet ({_exit(result)}), and asks again.",
        retry_at=at,
        polling_since=since,
    )
    course.wake(at, RetryDue(run.name))


def _exit(result: Result) -> str:
    return "no exit code" if result.exit_code is None else f"exit code {result.exit_code}"


def _may_retry(course: Course, run: TaskRun, node: Node, result: Result) -> bool:
    left = run.failures < outcomes.budget(node.task, result)
    return (
        left
        and not outcomes.hard(node.task, result)
        and not outcomes.lost(result)
        and result.error_code not in outcomes.NEVER_RETRIED
        and not outcomes.listed(node.task, result)
        and may_start(course.execution, node)
    )


def _repeat(course: Course, run: TaskRun, attempt: Attempt, result: Result, wait: float, **budget: int) -> None:
    """The attempt FAILED; the next one starts after `wait`."""
    task = course.graph.nodes[run.name].task
    code = outcomes.coded(result)
    reason = outcomes.sentence(task, run, result, code)
    attempts = _with_result(course, run, attempt, result, State.FAILED, code, reason)
    at = course.now + wait if wait else None
    run = course.put(run, State.PENDING, attempts=attempts, reason=reason, retry_at=at, **budget)
    if at is None:
        course.start(run)
    else:
        course.wake(at, RetryDue(run.name))


def _end_stopped(course: Course, run: TaskRun, attempt: Attempt, result: Result) -> None:
    execution, reason = course.execution, why_stopped(course, course.graph.nodes[run.name])
    late = execution.timed_out and not execution.cancelled
    state, code = (State.FAILED, ERR_TIMEOUT) if late else (State.CANCELLED, ERR_CANCELLED)
    attempts = _with_result(course, run, attempt, result, state, code, reason)
    course.put(run, state, attempts=attempts, reason=reason)
    course.ended.append(run.name)
    advance(course)


def _end_task(course: Course, run: TaskRun, attempt: Attempt, result: Result, outcome: outcomes.Outcome) -> None:
    """The task's outcome is final: it decides what is chosen, and whether the job goes on."""
    task = course.graph.nodes[run.name].task
    rests = _rests(course, outcome)
    reason = EXCEPTED if result.excepted else ""
    if outcome.error_code or outcomes.failed(result):
        reason = outcomes.sentence(task, run, result, outcome.error_code)
    attempts = _with_result(course, run, attempt, result, outcome.state, outcome.error_code, reason)
    excepted = outcome.state is State.SKIPPED
    course.put(
        run, outcome.state, attempts=attempts, reason=reason, led_to=outcome.chooses, excepted=excepted, rerun=rests
    )
    course.ended.append(run.name)
    if rests:
        bar(course, "PAUSE_JOB" if outcome.again == "PAUSE_JOB" else "RESTART_JOB", f"Task `{run.name}` asked for it.")
    if outcome.fatal:
        course.change(fatal=True)
        halt(course)
    advance(course)


def _rests(course: Course, outcome: outcomes.Outcome) -> bool:
    """Whether this outcome sends the job back to the queue or to rest. One that was sent too often fails instead."""
    execution = course.execution
    if outcome.again not in ("RESTART_JOB", "PAUSE_JOB") or halted(execution) or execution.closing:
        return False
    if execution.rested < outcomes.MOST_RESTS:
        return True
    outcome.state, outcome.error_code = State.FAILED, ERR_RESTARTS
    return False


def _with_result(
    course: Course, run: TaskRun, attempt: Attempt, result: Result, state: State, code: str, message: str
) -> tuple[Attempt, ...]:
    fields = {
        "state": move(TASK_TRANSITIONS, attempt.state, state),
        "ended_at": course.now,
        "exit_code": result.exit_code,
        "error_code": code,
        "error_message": result.error_message or message,
        "outputs": result.outputs,
        "artifacts": result.artifacts,
        "warnings": result.warnings,
        "usage": result.usage,
        "hard": code == outcomes.coded(result) and outcomes.hard(course.graph.nodes[run.name].task, result),
        "tally": result.reports.tally() if result.reports else None,
    }
    return (*run.attempts[:-1], attempt.model_copy(update=fields))
