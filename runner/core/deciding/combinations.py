"""A matrix task within an execution: its combinations begin together, end one by one, and are one task to the others.

What those see is the task's own run: its state, what it led to, whom it fails. Its counts are kept by `Course.put`, so
that an event of one combination looks at no other one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from formicary.runner.core.deciding import outcome as outcomes
from formicary.runner.core.deciding.course import Course, fail_fast, may_start, settle
from formicary.runner.core.execution import Combinations, Stop, TaskRun, Withdraw
from formicary.runner.core.graph import Node, spreads
from formicary.runner.core.states import LEASED, TERMINAL, State

#: As many combinations of a task as are offered or run at once where it says no `max_parallel`.
MOST_AT_ONCE: Final = 256


def in_order(runs: Iterable[TaskRun]) -> list[TaskRun]:
    """As a reader wants them: the combinations of a matrix task behind it."""
    everything = list(runs)
    members: dict[str, list[TaskRun]] = {}
    for run in everything:
        members.setdefault(run.matrix_of, []).append(run)
    return [one for run in members.get("", []) for one in (run, *members.get(run.name, ()))]


def set_off(course: Course, run: TaskRun, node: Node) -> None:
    """The matrix task begins. Combinations that are kept from before stay as they are."""
    left = 0
    for member in node.members:
        known = course.tasks.get(member)
        if known is None:
            course.add(TaskRun(name=member, matrix_of=node.task.task_type))
        left += known is None or known.state not in TERMINAL
    whole = Combinations(size=len(node.members), left=left)
    course.put(run, State.READY, reason="", retry_at=None, combinations=whole)
    if left:
        release(course, node)
    else:
        course.ended.append(run.name)


def release(course: Course, node: Node, *, anew: bool = False) -> None:
    """Offer those whose turn it is; `anew`: from the first one that waits."""
    name = node.task.task_type
    whole = _whole(course, name)
    number, most = (0 if anew else whole.next), _most(node)
    while number < whole.size and _whole(course, name).busy < most and _may_begin(course, node):
        run = course.tasks[node.members[number]]
        if run.state is State.PENDING and run.retry_at is None:
            course.start(run)
        number += 1
    if number != whole.next:
        course.count(name, next=number)


def _may_begin(course: Course, node: Node) -> bool:
    return may_start(course.execution, course.graph.nodes[node.members[0]])


def _most(node: Node) -> int:
    return (node.task.matrix.max_parallel if node.task.matrix else 0) or MOST_AT_ONCE


def _whole(course: Course, name: str) -> Combinations:
    whole = course.tasks[name].combinations
    assert whole is not None, "a matrix task that has begun counts its combinations"
    return whole


def member_ended(course: Course, node: Node, run: TaskRun) -> None:
    """One has ended: the next one's turn has come; or, if it failed and the matrix is `fail_fast`, nobody's."""
    task = course.tasks[node.group]
    if task.state in TERMINAL:
        return
    group = course.graph.nodes[node.group]
    fast = group.task.matrix is not None and group.task.matrix.fail_fast
    if fast and run.state is State.FAILED and not outcomes.forgiven(node.task, run):
        if not _whole(course, node.group).spoilt:
            _spoil(course, group, run)
    elif not _whole(course, node.group).spoilt:
        release(course, group)


def _spoil(course: Course, group: Node, failed: TaskRun) -> None:
    course.count(group.task.task_type, spoilt=failed.name)
    reason = fail_fast(failed.name, group.task)
    for member in group.members:
        run = course.tasks[member]
        if run.state is State.PENDING:
            settle(course, run, reason)
        elif run.state is State.READY:
            course.orders.append(Withdraw(run.attempts[-1].id))
            settle(course, run, reason, attempts=run.attempts[:-1])
        elif run.state in LEASED:
            course.orders.append(Stop(run.attempts[-1].id, reason))


def conclude(course: Course, run: TaskRun, node: Node) -> None:
    """All have ended: the task has, as the worst of them did."""
    runs = [course.tasks[member] for member in node.members]
    worst = min(runs, key=lambda one: _badness(course, one))
    if worst.state is State.SKIPPED:  # what was not run whole was skipped, whatever has run of it
        run = course.put(run, State.PENDING)
    whole = run.combinations
    course.put(
        run,
        worst.state,
        reason=_reason(runs, worst, "items" if spreads(node.task) else "combinations"),
        led_to=worst.led_to,
        excepted=worst.excepted,
        rerun=any(one.rerun for one in runs),
        combinations=whole and whole.model_copy(update={"worst": worst.name, "waived": _waived(course, worst)}),
    )


def _waived(course: Course, run: TaskRun) -> bool:
    return run.state is State.FAILED and outcomes.forgiven(course.graph.nodes[run.name].task, run)


def _badness(course: Course, run: TaskRun) -> tuple[int, float]:
    """The lower, the worse; of those that failed the first to do so."""
    last = run.last
    ended = last.ended_at or 0.0 if last and run.state is State.FAILED else 0.0
    match run.state:
        case State.FAILED:
            return 2 if _waived(course, run) else 0, ended
        case State.CANCELLED:
            return 1, ended
        case State.SKIPPED:
            return 5 if run.excepted else 3, ended
        case _:
            return 4, ended


def _reason(runs: list[TaskRun], worst: TaskRun, ones: str) -> str:
    if worst.state in (State.COMPLETED, State.SKIPPED) or len(runs) == 1:
        return worst.reason
    same = sum(one.state is worst.state for one in runs)
    word = "failed" if worst.state is State.FAILED else "were cancelled"
    return f"{same} of {len(runs)} {ones} {word}: {worst.reason}"
