"""An attempt that has children: it begins with them, hears of their ends one by one, and ends when they all have.

Whether a job does nothing but wait for children is told here too: it takes nobody's place meanwhile, or parents would
hold the places that their children wait for.
"""

from __future__ import annotations

from formicary.runner.core.deciding.course import Course, halted
from formicary.runner.core.deciding.ending import over
from formicary.runner.core.deciding.outcome import span
from formicary.runner.core.errors import ERR_TIMEOUT
from formicary.runner.core.execution import Attempt, Execution, Order, Result, TaskRun, WakeAt
from formicary.runner.core.forked import CancelChildren, Child, ChildEnded, Children, Forked, Gather, Mind, Overlong
from formicary.runner.core.states import TASK_TRANSITIONS, TERMINAL, State, move


def forked(course: Course, event: Forked) -> None:
    """The queen has made its children, or found whom it waits for. One that does not wait has done its work."""
    found = course.execution.attempt(event.task_execution_id)
    if found is None or found[1].state is not State.READY or found[1].fence != event.fence:
        return
    run, attempt = found
    for state in (State.STARTED, State.EXECUTING):
        if course.execution.state in (State.READY, State.STARTED):
            course.turn(state, started_at=course.execution.started_at or course.now)
        times = {"started_at": course.now, "executing_at": course.now}
        run, attempt = _keep(course, run, attempt, state, children=event.children, **times)
    if not event.children.waits:
        return over(course, run, attempt, Result(exit_code=0, outputs=event.outputs))
    course.orders.extend(_wanted(run, attempt, event.children))
    course.wake(course.now + course.graph.nodes[run.name].task.timeout, Overlong(attempt.id, attempt.fence))


def child_ended(course: Course, event: ChildEnded) -> None:
    """One has ended: the next one's turn has come; or, if it failed and it is `fail_fast`, nobody's."""
    found = waiting(course.execution, event.task_execution_id)
    if found is None or event.request_id not in found[2].left:
        return
    run, attempt, known = found
    each = [
        child.model_copy(update={"state": event.state}) if child.request_id == event.request_id else child
        for child in known.each
    ]
    ended = next(child for child in each if child.request_id == event.request_id)
    if known.fail_fast and ended.failed and known.spoilt is None:
        left = tuple(child.request_id for child in each if child.state is None)
        if left:
            course.orders.append(_nobody_s_turn(left, event.request_id))
    elif known.spoilt is None:
        _release_next(course, attempt, each)
    if ended.failed:
        _fork_anew(course, event.request_id)
    children = known.model_copy(update={"each": tuple(each)})
    run, attempt = _keep(course, run, attempt, attempt.state, children=children)
    if not children.left:
        course.orders.append(Gather(run.name, attempt.id, attempt.fence))


def _release_next(course: Course, attempt: Attempt, each: list[Child]) -> None:
    for number, child in enumerate(each):
        if not child.released and child.state is None:
            each[number] = child.model_copy(update={"released": True})
            course.orders.append(Mind(attempt.id, (child.request_id,)))
            return


def overlong(course: Course, event: Overlong) -> None:
    """It has waited long enough: its children are cancelled, and it has failed."""
    found = waiting(course.execution, event.task_execution_id)
    if found is None:
        return
    run, attempt, children = found
    limit = course.graph.nodes[run.name].task.timeout
    at = (attempt.executing_at or course.now) + limit
    if course.now < at:
        return course.wake(at, event)
    if children.left:
        course.orders.append(CancelChildren(children.left, f"Nobody waits for it after {span(limit)}."))
    over(course, run, attempt, Result(error_code=ERR_TIMEOUT))


def abandon(course: Course) -> None:
    """The job is cancelled, and all that it has forked is with it."""
    if order := _of_cancelled(course.execution):
        course.orders.append(order)


def _of_cancelled(execution: Execution) -> CancelChildren | None:
    left: dict[int, None] = {}
    for run in execution.tasks.values():
        for attempt in run.attempts:
            if attempt.children is not None:
                left |= dict.fromkeys(attempt.children.left)
    return CancelChildren(tuple(left), execution.cancel_reason) if left else None


def _fork_anew(course: Course, request_id: int) -> None:
    """The next attempt of the job forks anew what has failed, though the task that forked it completed."""
    for run in list(course.tasks.values()):
        children = run.last.children if run.last is not None else None
        if children is not None and not children.waits and request_id in [one.request_id for one in children.each]:
            course.put(run, run.state, rerun=True)
            if run.matrix_of and (whole := course.tasks[run.matrix_of]).state in TERMINAL:
                course.put(whole, whole.state, rerun=True)  # else it is told so when all of them have ended


def outstanding(execution: Execution, run: TaskRun, timeout: float, now: float) -> list[Order]:
    """What an attempt that waits for children needs to have done again after a crash."""
    attempt = run.last
    if attempt is None or attempt.children is None or run.state is not State.EXECUTING:
        return []
    at = max((attempt.executing_at or now) + timeout, now)
    return [
        *_wanted(run, attempt, attempt.children),
        WakeAt(execution.id, at, Overlong(attempt.id, attempt.fence)),
    ]


def outstanding_of_cancelled(execution: Execution) -> list[Order]:
    order = _of_cancelled(execution) if execution.cancelled else None
    return [order] if order else []


def _wanted(run: TaskRun, attempt: Attempt, children: Children) -> list[Order]:
    if not children.left:
        return [Gather(run.name, attempt.id, attempt.fence)]
    if children.spoilt is None:
        return [Mind(attempt.id, children.minded)]
    # Who waited for his turn must not begin before he is cancelled; who has ended since is told of by the second.
    return [_nobody_s_turn(children.left, children.spoilt), Mind(attempt.id, children.left)]


def _nobody_s_turn(left: tuple[int, ...], failed: int) -> CancelChildren:
    return CancelChildren(left, f"Request {failed} failed, and it is fail_fast.")


def waiting(execution: Execution, task_execution_id: str) -> tuple[TaskRun, Attempt, Children] | None:
    """The attempt of this id, if it waits for its children."""
    found = execution.attempt(task_execution_id)
    if found is None or found[1].state is not State.EXECUTING or found[1].children is None:
        return None
    return (*found, found[1].children)


def only_waits(execution: Execution) -> bool:
    """Whether the ends of its children are all that this job waits for."""
    if halted(execution) or execution.closing or execution.resting_since is not None:
        return False
    waits = False
    for run in execution.tasks.values():
        if run.combinations is not None:
            continue
        if run.retry_at is not None or run.state in (State.READY, State.STARTED, State.MANUAL_APPROVAL_REQUIRED):
            return False
        if run.state is State.EXECUTING:
            if run.last is None or run.last.children is None:
                return False
            waits = True
    return waits


def _keep(course: Course, run: TaskRun, attempt: Attempt, state: State, **fields: object) -> tuple[TaskRun, Attempt]:
    fields["state"] = move(TASK_TRANSITIONS, attempt.state, state)
    attempt = attempt.model_copy(update=fields)
    return course.put(run, state, attempts=(*run.attempts[:-1], attempt)), attempt
