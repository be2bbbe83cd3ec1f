"""How an execution moves on: what an end sets free, what starts next, when always_run tasks run, how it all ends."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final, Literal

from formicary.runner.core.deciding import combinations
from formicary.runner.core.deciding import outcome as outcomes
from formicary.runner.core.deciding.course import (
    Course,
    asks,
    barred,
    halted,
    live,
    may_start,
    over,
    settle,
    stopped,
    why_halted,
)
from formicary.runner.core.errors import ERR_CANCELLED, ERR_EXIT_CODE, ERR_FATAL, ERR_REJECTED, ERR_TIMEOUT
from formicary.runner.core.execution import (
    Attempt,
    DeadlinePassed,
    Ended,
    Offer,
    RetryDue,
    Stop,
    TaskRun,
    Withdraw,
)
from formicary.runner.core.graph import Node, spreads
from formicary.runner.core.states import ACTIVE, TERMINAL, State

Rest = Literal["RESTART_JOB", "PAUSE_JOB", "PAUSE"]

#: A task that begins anew with the job's next attempt.
ANEW: Final[Mapping[str, Any]] = {
    "reason": "",
    "chosen": False,
    "led_to": "",
    "because": "",
    "excepted": False,
    "failures": 0,
    "lost": 0,
    "retry_at": None,
    "polling_since": None,
    "rerun": False,
    "combinations": None,
}

NOT_CHOSEN = "No outcome led to this task."
NO_WAY = "Nothing let this task start."
NO_COMBINATION = "Its matrix has no combination."


def advance(course: Course) -> None:
    """Find out everything that follows from what has ended."""
    if course.execution.resting_since is not None:
        return answered(course)
    while True:
        follow(course)
        if course.execution.closing:
            _start_always(course)
            if not course.ended:
                break
            continue
        if _busy(course):
            return wait(course)
        if course.execution.rest:
            return rest(course)
        if not _try_again(course):
            _close(course)
        elif course.execution.state is State.PENDING:
            return
    if _asking(course):
        wait(course)
    elif not _alive(course):
        _end(course)


def follow(course: Course) -> None:
    """Let each task that ended choose, and look at everybody who may have waited for it."""
    while course.ended:
        name = course.ended.pop(0)
        run, node = course.tasks[name], course.graph.nodes[name]
        if node.group:
            combinations.member_ended(course, node, run)
            continue
        if run.state not in TERMINAL:
            combinations.conclude(course, run, node)
        choose(course, course.tasks[name].led_to)
        for follower in node.followers:
            examine(course, follower, after=run.name)


def choose(course: Course, name: str) -> None:
    """The first choice counts; a task that has begun is not chosen again."""
    run = course.tasks.get(name) if name else None
    if run is not None and run.state is State.PENDING and not run.chosen:
        course.put(run, State.PENDING, chosen=True)


def examine(course: Course, name: str, after: str = "") -> None:
    """Start a waiting task, or skip it, if what is known by now says so. `after`: all that has changed since it was
    looked at last is that this one has ended."""
    run, node = course.tasks[name], course.graph.nodes[name]
    if run.state is not State.PENDING or run.retry_at is not None or barred(course.execution):
        return
    if node.always_run and (not run.chosen or halted(course.execution)):
        return
    if run.chosen:
        if course.all_ended_of(node.needs, name):
            launch(course, run, node)
    elif node.choosers:
        if course.all_ended_of(node.choosers, f"{name} chosen"):
            _skip(course, run, node, NOT_CHOSEN)
    else:
        because, done = _blocker(course, node, (after,) if after else node.needs), False
        if not because and (done := course.all_ended_of(node.needs, name)) and after:
            because = _blocker(course, node, node.needs)  # others may have ended with it, and are followed later
        if because:
            _skip(course, run, node, f"Skipped because task `{because}` failed.", because)
        elif done:
            launch(course, run, node)


def launch(course: Course, run: TaskRun, node: Node) -> None:
    """The task's time has come."""
    listed = node.task.matrix is not None and not spreads(node.task)
    unwanted = node.task.unwanted or (NO_COMBINATION if listed and not node.members else "")
    if unwanted:
        outcome = outcomes.passed_by(node.task)
        _end_unrun(course, run, outcome, unwanted, excepted=outcome.state is State.SKIPPED)
    elif listed:
        combinations.set_off(course, run, node)
    else:
        course.start(run)


def _blocker(course: Course, node: Node, needs: tuple[str, ...]) -> str:
    """The failed task among these for which this one is skipped."""
    for need in needs:
        if because := outcomes.blocks(course.graph.nodes[need].task, course.tasks[need]):
            return because
    return ""


def _skip(course: Course, run: TaskRun, node: Node, reason: str, because: str = "") -> None:
    outcome = outcomes.skipped(node.task) if because else outcomes.Outcome(State.SKIPPED)
    if outcome.counts_as_completed:
        because = ""
    _end_unrun(course, run, outcome, reason, because=because)


def _end_unrun(course: Course, run: TaskRun, outcome: outcomes.Outcome, reason: str, **fields: Any) -> None:
    course.put(run, outcome.state, reason=reason, led_to=outcome.chooses, **fields)
    choose(course, outcome.chooses)  # before anybody looks whether it was chosen
    course.ended.append(run.name)
    if outcome.fatal:
        course.change(fatal=True)
        halt(course)


def halt(course: Course) -> None:
    """Nothing new starts: what waits is settled, what is offered withdrawn, what runs is told to stop. always_run tasks
    are spared as long as they may run; FATAL lets running tasks finish. A job that ends does not come to rest."""
    unbar(course)
    reason, hard = why_halted(course), over(course.execution)
    for run in list(course.tasks.values()):
        node = course.graph.nodes[run.name]
        if run.state in TERMINAL or (node.always_run and not hard):
            continue
        if run.combinations is not None:  # it ends with the last of them
            continue
        if run.state is State.PENDING:
            settle(course, run, reason)
        elif run.state is State.READY:
            course.orders.append(Withdraw(run.attempts[-1].id))
            settle(course, run, reason, attempts=run.attempts[:-1])
        elif asks(run):
            settle(course, run, reason, attempts=_unasked(course, run))
        elif stopped(course.execution, node):
            course.orders.append(Stop(run.attempts[-1].id, reason))


def bar(course: Course, word: Rest, reason: str) -> None:
    """Nothing new starts: what is offered, or asked, or would be tried again, waits for the job's next attempt."""
    course.change(rest=word, rest_reason=reason)
    for run in list(course.tasks.values()):
        if run.combinations is not None:
            continue
        if run.state is State.READY:
            course.orders.append(Withdraw(run.attempts[-1].id))
            course.put(run, State.PENDING, attempts=run.attempts[:-1])
        elif asks(run):
            course.put(run, State.PENDING, attempts=_unasked(course, run))
        elif run.retry_at is not None:
            course.put(run, State.PENDING, retry_at=None)


def _unasked(course: Course, run: TaskRun) -> tuple[Attempt, ...]:
    """The attempts of a task of which nobody is asked any more; its votes count no more."""
    last = run.attempts[-1].model_copy(update={"state": State.CANCELLED, "ended_at": course.now})
    return (*run.attempts[:-1], last)


def wait(course: Course) -> None:
    """Where people are all that is waited for, the job rests until they have answered."""
    if not _alive(course):
        course.turn(State.MANUAL_APPROVAL_REQUIRED, resting_since=course.now, held=None)


def answered(course: Course) -> None:
    """People have answered a job that waited for them. What needs no ant is done at once; else it goes on when it is
    admitted again, as it took nobody's place meanwhile."""
    course.ended.clear()  # `set_out` looks at everybody
    if course.execution.rest in ("RESTART_JOB", "PAUSE_JOB"):
        return rest(course)
    ahead = course.ahead()
    go_on(ahead)
    if not any(isinstance(order, Offer) for order in ahead.orders):
        return course.take(ahead)
    if course.execution.state is State.MANUAL_APPROVAL_REQUIRED:
        course.turn(State.PENDING, retry_at=course.now)
        course.wake(course.now, RetryDue())
    course.change(rest="ANSWERED")


def go_on(course: Course) -> None:
    """The same attempt of the job goes on after people have answered."""
    awake(course)
    course.turn(State.READY, retry_at=None)
    set_out(course)
    advance(course)


def unbar(course: Course) -> None:
    """It is cancelled, out of time or resumed before it came to rest."""
    course.change(rest="", rest_reason="")


def rest(course: Course) -> None:
    """What ran has ended: wait in the queue, or paused."""
    word, job = course.execution.rest, course.plan.definition
    wait = {"RESTART_JOB": job.retry.delay, "PAUSE_JOB": job.pause_time}.get(word)
    at = None if wait is None else course.now + wait
    for name in course.graph.order:
        if course.tasks[name].state in ACTIVE:  # a matrix task, of which some are done
            course.put(course.tasks[name], State.PENDING)
    state = State.PENDING if word == "RESTART_JOB" else State.PAUSED
    since = course.execution.resting_since or course.now
    course.turn(state, retry_at=at, resting_since=since, rested=course.execution.rested + 1, held=None)
    if at is not None:
        course.wake(at, RetryDue())


def _busy(course: Course) -> bool:
    """Whether anything is still to come before the end. Once halted, always_run tasks lead to each other only."""
    nodes, free = course.graph.nodes, halted(course.execution)
    tasks = course.tasks
    return any(
        (live(tasks[name]) and not (free and nodes[name].always_run)) or asks(tasks[name])
        for name in chain(course.touched, course.graph.order)
    )


def _alive(course: Course) -> bool:
    return any(live(course.tasks[name]) for name in chain(course.touched, course.graph.order))


def _asking(course: Course) -> bool:
    return any(asks(course.tasks[name]) for name in chain(course.touched, course.graph.order))


def _close(course: Course) -> None:
    """The last attempt is over: the always_run tasks that have not run do, with a budget of their own."""
    course.change(closing=True)
    for name in course.graph.always:
        if _under_way(course.tasks[name]):  # some of its combinations may have been called back
            combinations.release(course, course.graph.nodes[name], anew=True)
    if not course.all_ended(course.graph.always):
        course.allow(course.plan.definition.timeout)


def _start_always(course: Course) -> None:
    """In graph order: each as soon as nothing that comes before it is still to run."""
    nodes, tasks = course.graph.nodes, course.tasks
    waiting = [name for name in course.graph.always if tasks[name].state is State.PENDING]
    if not waiting:
        return
    to_come = sum(
        nodes[name].bit for name in course.graph.order if live(tasks[name]) or asks(tasks[name]) or name in waiting
    )
    for name in waiting:
        run, node = tasks[name], nodes[name]
        if run.retry_at is None and not node.ancestors & to_come and may_start(course.execution, node):
            launch(course, run, node)


def _try_again(course: Course) -> bool:
    """Begin another attempt of the whole job, or wait for it, if it failed and its `retry` allows one."""
    execution, retry = course.execution, course.plan.definition.retry
    tried = execution.job_retry - execution.rested
    failed = course.decisive()
    if halted(execution) or tried >= retry.attempts or failed is None or _refused(failed):
        return False
    wait = outcomes.delay(retry, tried + 1, course.seed, str(execution.id))
    course.turn(State.PENDING, retry_at=course.now + wait, resting_since=course.now)
    if wait:
        course.change(held=None)
        course.wake(course.now + wait, RetryDue())
    else:
        resume(course)
    return True


def _refused(run: TaskRun) -> bool:
    """Nobody is asked again by himself what he has rejected."""
    return run.last is not None and run.last.error_code == ERR_REJECTED


def resume(course: Course) -> None:
    """The job's next attempt: completed tasks stay, and what they chose stays chosen; all others begin anew. The time
    that it waited does not count against its timeout."""
    awake(course)
    number = course.execution.job_retry + 1
    course.turn(State.READY, job_retry=number, retry_at=None)
    limit = course.plan.definition.hard_reset_after_retries
    hard = 0 < limit <= number
    for run in sorted(course.tasks.values(), key=lambda run: bool(run.matrix_of)):  # those first that count others
        if hard or not outcomes.kept(course.graph.nodes[run.name].task, run):
            course.put(run, State.PENDING, **ANEW)
    set_out(course)


def awake(course: Course) -> None:
    """It rests no longer: its deadline moves by as long as it did."""
    execution = course.execution
    if execution.deadline is not None and execution.resting_since is not None:
        deadline = execution.deadline + course.now - execution.resting_since
        course.change(deadline=deadline)
        course.wake(deadline, DeadlinePassed())
    course.change(resting_since=None, rest="", rest_reason="")


def set_out(course: Course) -> None:
    """Start what can start, given what is kept from before: what that chose stays chosen."""
    for name in course.graph.order:
        choose(course, course.tasks[name].led_to)
    for name in course.graph.order:
        if _under_way(course.tasks[name]):
            combinations.release(course, course.graph.nodes[name], anew=True)
        examine(course, name)


def _under_way(run: TaskRun) -> bool:
    """Whether this is a matrix task of which not all combinations have ended."""
    return run.combinations is not None and run.state in ACTIVE


def _end(course: Course) -> None:
    for run in list(course.tasks.values()):
        if run.state is State.PENDING:
            course.put(run, State.SKIPPED, reason=NO_WAY)
    state, code, message = _verdict(course)
    course.turn(state, ended_at=course.now, error_code=code, error_message=message, deadline=None)
    course.orders.append(Ended(course.execution.id, state))


def _verdict(course: Course) -> tuple[State, str, str]:
    execution, failed = course.execution, course.decisive()
    if execution.cancelled:
        return State.CANCELLED, ERR_CANCELLED, execution.cancel_reason
    if execution.timed_out:
        return State.FAILED, ERR_TIMEOUT, why_halted(course)
    if failed is not None:
        last = failed.last
        return State.FAILED, (last.error_code if last else "") or ERR_EXIT_CODE, failed.reason
    if execution.fatal:
        return State.FAILED, ERR_FATAL, "A task ended the job (FATAL)."
    return State.COMPLETED, "", ""
