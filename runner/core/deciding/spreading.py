"""A task that runs once an item of a list: from the moment when the list is made its items are the combinations of a
matrix, and all that holds for these holds for them.

Until then it is a task with an attempt of its own, at which the queen makes the list. The list is made anew with every
attempt of the job in which the task starts; items that have completed and are still in it stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from formicary.runner.core.deciding import combinations
from formicary.runner.core.deciding.advance import ANEW, advance
from formicary.runner.core.deciding.course import Course
from formicary.runner.core.deciding.ending import over
from formicary.runner.core.definition import Combination, JobDefinition, Matrix, TaskDefinition, Value
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.execution import Attempt, Execution, Forget, Plan, Result, TaskRun
from formicary.runner.core.forked import FanOut, Spread
from formicary.runner.core.graph import Graph, run_name, spreads, with_matrices
from formicary.runner.core.language.functions import text_of
from formicary.runner.core.language.limits import MAX_RUNS
from formicary.runner.core.names import secrets_in
from formicary.runner.core.states import TERMINAL, State

NO_ITEM: Final = "Its `fan_out` has no item: there was nothing to do."
_LONGEST: Final = 40
"""Characters of an item that its run's name shows."""


def with_items(plan: Plan, name: str, fan: FanOut, items: Sequence[Value]) -> tuple[Plan, tuple[str, ...]]:
    """The plan in which the task runs once for each of these; and the runs whose item was another one before.

    Raises RequestRefused.
    """
    job = plan.definition
    _refuse(job, name, items)
    task = job.task(name)
    matrix = Matrix(
        combinations=tuple(_labelled(fan.item_var, items)),
        max_parallel=fan.max_parallel,
        fail_fast=fan.fail_fast,
        names=(fan.item_var,),
        tainted=(fan.item_var,) if fan.tainted else (),
    )
    before = {one.label: one.values for one in task.matrix.combinations} if task.matrix else {}
    other = [one for one in matrix.combinations if before.get(one.label, one.values) != one.values]
    _refuse_names(job, task, matrix)
    definition = with_matrices(job, {name: matrix})
    return plan.model_copy(update={"definition": definition}), tuple(run_name(task, one) for one in other)


def as_before(plan: Plan, before: Plan | None) -> Plan:
    """The plan of an execution that begins where another one ended: with the items that that one had."""
    known = {task.task_type: task for task in before.definition.tasks} if before else {}
    there = {
        task.task_type: old.matrix
        for task in plan.definition.tasks
        if spreads(task) and (old := known.get(task.task_type)) and spreads(old) and old.matrix
    }
    return plan.model_copy(update={"definition": with_matrices(plan.definition, there)}) if there else plan


def _refuse(job: JobDefinition, name: str, items: Sequence[Value]) -> None:
    others = (task for task in job.tasks if task.task_type != name)
    count = len(items) + sum(len(task.matrix.combinations) if task.matrix else 1 for task in others)
    if count > MAX_RUNS:
        told = f"the `fan_out` of `{name}` has {len(items):,} items, with which the job would have {count:,} runs"
        raise RequestRefused(f"{told}; at most {MAX_RUNS:,} are possible")
    if secrets_in(list(items)):
        raise RequestRefused("an item of `fan_out` may not hold a secret; let the script read the secret")


def _refuse_names(job: JobDefinition, task: TaskDefinition, matrix: Matrix) -> None:
    """Raises RequestRefused."""
    others = {name for name, node in Graph.of(job).nodes.items() if node.group != task.task_type}
    for one in matrix.combinations:
        if (name := run_name(task, one)) in others:
            raise RequestRefused(f"an item of `{task.task_type}` would be called `{name}`, as another task is")


def _labelled(item_var: str, items: Sequence[Value]) -> Iterator[Combination]:
    """Named after the item, or after its place in the list where it is a list or a mapping itself; of two that are the
    same, the later is numbered."""
    seen: dict[str, int] = {}
    for place, item in enumerate(items):
        plain = f"{place}" if isinstance(item, (list, dict)) else f"{item_var}={_shown(text_of(item))}"
        label = plain
        while label in seen:
            seen[plain] += 1
            label = f"{plain} #{seen[plain]}"
        seen[label] = 1
        yield Combination(label=label, values={item_var: item})


def _shown(text: str) -> str:
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(char if char.isprintable() else "?" for char in short)


def spread(course: Course, event: Spread) -> None:
    """The list is made: its items begin, as many as may."""
    found = course.execution.attempt(event.task_execution_id)
    if found is None or found[1].state is not State.READY or found[1].fence != event.fence:
        return
    run, attempt = found
    node = course.graph.nodes[run.name]
    _drop_others(course, run.name, node.members, event.other)
    if not node.members:
        return _nothing(course, run, attempt, node.task)
    # What was tried before the list could be made is told by nobody any more.
    course.orders += [Forget(old.id) for old in run.attempts[:-1]]
    run = course.put(run, State.PENDING, attempts=(), failures=0, lost=0)
    combinations.set_off(course, run, node)
    advance(course)


def _drop_others(course: Course, name: str, members: Sequence[str], other: Sequence[str]) -> None:
    """Of runs from before: those that are in the list no more go; those of another item begin anew."""
    known = frozenset(members)
    for run in [run for run in course.tasks.values() if run.matrix_of == name]:
        if run.name not in known:
            course.drop(run)
        elif run.name in other and run.state in TERMINAL:
            course.put(run, State.PENDING, **ANEW)


def _nothing(course: Course, run: TaskRun, attempt: Attempt, task: TaskDefinition) -> None:
    """An empty list is done as soon as it is known; what follows from that is as of any task that completed."""
    for state in (State.STARTED, State.EXECUTING):
        if course.execution.state in (State.READY, State.STARTED):
            course.turn(state, started_at=course.execution.started_at or course.now)
        times = {"started_at": course.now, "executing_at": course.now}
        attempt = attempt.model_copy(update={"state": state, **times})
        run = course.put(run, state, attempts=(*run.attempts[:-1], attempt))
    outputs: dict[str, Value] = {"FanOutItemCount": 0, "FanOutMode": "task"}
    over(course, run, attempt, Result(exit_code=0, outputs=outputs))
    run = course.tasks[run.name]
    if run.state is State.COMPLETED:
        course.put(run, run.state, reason=NO_ITEM)


def items_of(execution: Execution, task: TaskDefinition) -> list[TaskRun]:
    """The runs of a task's items, in the order of the list."""
    made = task.matrix.combinations if task.matrix else ()
    names = (run_name(task, one) for one in made)
    return [execution.tasks[name] for name in names if name in execution.tasks]
