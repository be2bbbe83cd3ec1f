"""`decide`: what an event makes of an execution, and the orders that follow from it. Pure: no clock, no I/O.

One small function an event. Events that are late, doubled, or of an attempt that is no longer the newest change
nothing: the same object comes back, with no orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from formicary.runner.core.clock import ClockSet
from formicary.runner.core.deciding import children
from formicary.runner.core.deciding import outcome as outcomes
from formicary.runner.core.deciding.advance import advance, awake, bar, go_on, halt, resume, set_out, unbar
from formicary.runner.core.deciding.approval import overdue, question, voted
from formicary.runner.core.deciding.course import (
    Course,
    asks,
    barred,
    dues,
    halted,
    may_start,
    settle,
    stopped,
    why_stopped,
)
from formicary.runner.core.deciding.ending import over
from formicary.runner.core.deciding.spreading import spread
from formicary.runner.core.execution import (
    Acquired,
    AntLost,
    Ask,
    Attempt,
    Begin,
    CancelAsked,
    Claimed,
    DeadlinePassed,
    Ended,
    Event,
    Executing,
    Execution,
    Finished,
    Offer,
    OfferReturned,
    Order,
    PauseAsked,
    Plan,
    Result,
    ResumeAsked,
    RetryDue,
    Stop,
    TaskRun,
    WakeAt,
)
from formicary.runner.core.forked import ChildEnded, Forked, Overlong, Spread
from formicary.runner.core.graph import Graph, Node
from formicary.runner.core.policy import Approved, Overdue, Rejected
from formicary.runner.core.states import ACTIVE, LEASED, TASK_TRANSITIONS, TERMINAL, State, move


def begin(execution_id: int, request_id: int, plan: Plan, now: float, previous: Execution | None = None) -> Execution:
    """A new execution of the plan, before its `Begin`. Tasks that `previous` has completed are kept as they are, with
    their outputs and artifacts; always_run tasks run again."""
    graph, before = Graph.of(plan.definition), previous.tasks if previous else {}
    return Execution(
        id=execution_id,
        request_id=request_id,
        created_at=now,
        tasks={run.name: run for task in plan.definition.tasks for run in _first(graph, task.task_type, before)},
    )


def _first(graph: Graph, name: str, before: Mapping[str, TaskRun]) -> Iterator[TaskRun]:
    """How the task begins; with it, of a matrix, the combinations that are kept: all of them, or it is to run again."""
    node = graph.nodes[name]
    kept = [run for each in (name, *node.members) if (run := _kept(graph.nodes[each], before.get(each)))]
    whole = kept[0] if len(kept) == 1 + len(node.members) else TaskRun(name=name)
    yield whole
    yield from (run for run in kept if run.matrix_of)


def _kept(node: Node, run: TaskRun | None) -> TaskRun | None:
    return run if run is not None and not node.always_run and outcomes.kept(node.task, run) else None


def decide(
    execution: Execution, plan: Plan, event: Event, now: float, seed: int
) -> tuple[Execution, tuple[Order, ...]]:
    """What `event` makes of the execution. `seed` is for the jitter of retries alone."""
    if execution.state in TERMINAL:
        return execution, ()
    course = Course(execution, plan, now, seed)
    _EVENTS[type(event)](course, event)
    return course.result()


def outstanding(execution: Execution, plan: Plan, now: float) -> tuple[Order, ...]:
    """The orders that the execution's state implies: to be carried out again after a crash. What is overdue is due now.

    Of an execution that has not had its `Begin`, none.
    """
    if execution.state in TERMINAL:
        return (Ended(execution.id, execution.state),)
    nodes, orders = Graph.of(plan.definition).nodes, list[Order]()
    for run in execution.tasks.values():
        if run.combinations is not None:
            continue
        if run.state is State.READY:
            last = run.attempts[-1]
            orders.append(Offer(execution.id, run.name, last.id, last.fence))
        elif asks(run):
            last = run.attempts[-1]
            orders.append(Ask(execution.id, run.name, last.id, last.fence))
            for what, at in dues(nodes[run.name].task, last):
                orders.append(WakeAt(execution.id, max(at, now), Overdue(last.id, what)))
        elif run.state in LEASED and stopped(execution, nodes[run.name]):
            orders.append(Stop(run.attempts[-1].id, why_stopped(Course(execution, plan, now, 0), nodes[run.name])))
        orders += children.outstanding(execution, run, nodes[run.name].task.timeout, now)
    orders += children.outstanding_of_cancelled(execution)
    return (*orders, *_wakes(execution, now))


def _wakes(execution: Execution, now: float) -> Iterator[Order]:
    """When it is to be looked at again as a whole, and which of its tasks are to be tried again."""
    for run in execution.tasks.values():
        if run.retry_at is not None:
            yield WakeAt(execution.id, max(run.retry_at, now), RetryDue(run.name))
    if execution.retry_at is not None:
        yield WakeAt(execution.id, max(execution.retry_at, now), RetryDue())
    elif execution.deadline is not None and execution.resting_since is None:
        yield WakeAt(execution.id, max(execution.deadline, now), DeadlinePassed())


# -- events of the execution ------------------------------------------------------------------------------------------


def _begin(course: Course, event: Begin) -> None:
    if course.execution.deadline is not None or course.execution.next_number > 1:
        return
    course.allow(course.plan.definition.timeout)
    set_out(course)
    advance(course)


def _cancel_asked(course: Course, event: CancelAsked) -> None:
    """The first stops what runs and leaves the always_run tasks; the second ends those too."""
    execution = course.execution
    if execution.cancelled > 1:
        return
    if execution.resting_since is not None:
        awake(course)
        course.turn(State.READY, retry_at=None, held=None)
    reason = execution.cancel_reason or f"Cancelled by {event.by}" + (f": {event.reason}" if event.reason else ".")
    course.change(cancelled=execution.cancelled + 1, cancel_reason=reason)
    children.abandon(course)
    halt(course)
    advance(course)


def _acquired(course: Course, event: Acquired) -> None:
    """It is about to go on; what follows in the same change says so."""
    course.change(held=event.held)


def _deadline_passed(course: Course, event: DeadlinePassed) -> None:
    """The job's time is over; or, when it is closing, that of its always_run tasks. An early call is put off."""
    execution = course.execution
    if execution.deadline is None or execution.resting_since is not None:
        return
    if course.now < execution.deadline:
        return course.wake(execution.deadline, event)
    course.change(timed_out=True, deadline=None)
    halt(course)
    advance(course)


def _retry_due(course: Course, event: RetryDue) -> None:
    run = course.tasks.get(event.task) if event.task else None
    at = run.retry_at if run is not None else None if event.task else course.execution.retry_at
    if at is None:
        return
    if course.now < at:
        return course.wake(at, event)
    if run is not None:
        return course.start(run)
    _go_on(course)


def _clock_set(course: Course, event: ClockSet) -> None:
    """What lasts so and so long lasts as long: what the clock tells of its end moves with the clock. An approval is due
    when the clock says so."""
    if moved := _moved(course.execution, ("deadline", "retry_at", "resting_since"), event.by):
        course.change(**moved)
    for run in list(course.tasks.values()):
        if moved := _moved(run, ("retry_at", "polling_since"), event.by):
            course.add(run.model_copy(update=moved))
    course.orders.extend(_wakes(course.execution, course.now))


def _moved(part: Execution | TaskRun, names: tuple[str, ...], by: float) -> dict[str, float]:
    found = ((name, getattr(part, name)) for name in names)
    return {name: at + by for name, at in found if at is not None}


def _go_on(course: Course) -> None:
    """A job at rest does not rest any more."""
    if course.execution.rest == "ANSWERED":
        return go_on(course)
    resume(course)
    advance(course)


def _pause_asked(course: Course, event: PauseAsked) -> None:
    """Not of a job that ends: cancelled, out of time, or with nothing but always_run tasks left."""
    execution = course.execution
    if execution.rest == "PAUSE" or halted(execution) or execution.closing:
        return
    reason = f"Paused by {event.by}" + (f": {event.reason}" if event.reason else ".")
    if execution.resting_since is not None:
        uncounted = execution.state is State.MANUAL_APPROVAL_REQUIRED or execution.rest == "ANSWERED"
        bar(course, "PAUSE", reason)
        return course.turn(State.PAUSED, retry_at=None, rested=execution.rested + uncounted)
    bar(course, "PAUSE", reason)
    advance(course)


def _resume_asked(course: Course, event: ResumeAsked) -> None:
    """A job at rest is due now, but for one that waits for people; one that waits for what runs does not come to
    rest."""
    execution = course.execution
    if execution.state is State.MANUAL_APPROVAL_REQUIRED:
        return
    if execution.resting_since is not None:
        if execution.retry_at is None or execution.retry_at > course.now:
            course.change(retry_at=course.now)
            course.wake(course.now, RetryDue())
        return
    if execution.rest == "PAUSE":
        unbar(course)
        set_out(course)
    else:
        return
    advance(course)


# -- events of an attempt ---------------------------------------------------------------------------------------------


def _newest(course: Course, task_execution_id: str, fence: int) -> tuple[TaskRun, Attempt] | None:
    """The task whose newest attempt this is, if it has not ended."""
    found = course.execution.attempt(task_execution_id)
    if found is None or found[0].state not in ACTIVE:
        return None
    run, attempt = found
    return found if attempt is run.attempts[-1] and attempt.fence == fence else None


def _claimed(course: Course, event: Claimed) -> None:
    found = _newest(course, event.task_execution_id, event.fence)
    if found is None or found[1].state is not State.READY:
        return
    run, attempt = found
    held = {"held": event.held} if event.held else {}
    _note(course, run, attempt, State.STARTED, ant_id=event.ant_id, started_at=course.now, **held)
    if course.execution.state is State.READY:
        course.turn(State.STARTED, started_at=course.execution.started_at or course.now)


def _executing(course: Course, event: Executing) -> None:
    found = _newest(course, event.task_execution_id, event.fence)
    if found is None or found[1].state is not State.STARTED:
        return
    _note(course, *found, State.EXECUTING, executing_at=course.now)
    if course.execution.state is State.STARTED:
        course.turn(State.EXECUTING)


def _offer_returned(course: Course, event: OfferReturned) -> None:
    """D3: nothing has run, so no budget is used. Where nothing new may start any more, the task ends here."""
    found = _newest(course, event.task_execution_id, event.fence)
    if found is None or found[1].state is State.EXECUTING:
        return
    run = found[0]
    if barred(course.execution):
        course.put(run, State.PENDING, attempts=run.attempts[:-1])
        advance(course)
    elif may_start(course.execution, course.graph.nodes[run.name]):
        course.offer_again(run)
    else:
        settle(course, run, why_stopped(course, course.graph.nodes[run.name]), attempts=run.attempts[:-1])
        course.ended.append(run.name)
        advance(course)


def _ant_lost(course: Course, event: AntLost) -> None:
    if found := _newest(course, event.task_execution_id, event.fence):
        over(course, *found, Result(error_code=event.code, error_message=event.message))


def _finished(course: Course, event: Finished) -> None:
    found, result = _newest(course, event.task_execution_id, event.fence), event.result
    found = found or question(course, event.task_execution_id)
    if found is None or found[1].fence != event.fence:
        return
    ran = found[1].state in LEASED
    if not (ran or result.excepted or outcomes.failed(result)):
        return  # nobody can have completed what nobody claimed
    over(course, *found, result)


def _note(course: Course, run: TaskRun, attempt: Attempt, state: State, **fields: Any) -> None:
    """The running attempt goes on to `state`, and the task with it."""
    fields["state"] = move(TASK_TRANSITIONS, attempt.state, state)
    course.put(run, state, attempts=(*run.attempts[:-1], attempt.model_copy(update=fields)))


_EVENTS: Final[Mapping[type[Any], Callable[[Course, Any], None]]] = {
    Begin: _begin,
    Claimed: _claimed,
    Executing: _executing,
    Finished: _finished,
    AntLost: _ant_lost,
    OfferReturned: _offer_returned,
    Acquired: _acquired,
    RetryDue: _retry_due,
    DeadlinePassed: _deadline_passed,
    CancelAsked: _cancel_asked,
    PauseAsked: _pause_asked,
    ResumeAsked: _resume_asked,
    ClockSet: _clock_set,
    Approved: voted,
    Rejected: voted,
    Overdue: overdue,
    Forked: children.forked,
    ChildEnded: children.child_ended,
    Overlong: children.overlong,
    Spread: spread,
}
