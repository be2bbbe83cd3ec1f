"""The tables of transitions: all pairs are walked; what a table does not hold is impossible."""

from __future__ import annotations

from itertools import product

import pytest

from formicary.runner.core import states
from formicary.runner.core.deciding.course import Course
from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.errors import ImpossibleTransition
from formicary.runner.core.execution import Plan
from formicary.runner.core.plan import begin
from formicary.runner.core.states import JOB_TRANSITIONS, TASK_TRANSITIONS, TERMINAL, State, move

PAIRS = list(product(State, State))
TABLES = {"job": JOB_TRANSITIONS, "task": TASK_TRANSITIONS}


def allowed(table, now, then):
    return now is then or then in table[now]


@pytest.mark.parametrize("name", TABLES)
def test_every_state_has_its_row(name):
    assert set(TABLES[name]) == set(State)
    assert all(now not in then for now, then in TABLES[name].items())


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("now", "then"), PAIRS)
def test_move_follows_the_table(name, now, then):
    table = TABLES[name]
    if allowed(table, now, then):
        assert move(table, now, then) is then
    else:
        with pytest.raises(ImpossibleTransition, match=f"{now} cannot become {then}"):
            move(table, now, then)


@pytest.mark.parametrize(("now", "then"), PAIRS)
def test_an_illegal_change_raises_and_nothing_happens(now, then):
    plan = Plan(definition=JobDefinition(job_type="ci", tasks=(TaskDefinition(task_type="a"),)))
    execution = begin(1, 1, plan, 0.0)
    execution = execution.model_copy(
        update={"state": now, "tasks": {"a": execution.tasks["a"].model_copy(update={"state": now})}}
    )
    course = Course(execution, plan, 0.0, 0)
    for table, change in (
        (JOB_TRANSITIONS, lambda: course.turn(then, error_code="x")),
        (TASK_TRANSITIONS, lambda: course.put(course.tasks["a"], then, reason="x")),
    ):
        if not allowed(table, now, then):
            with pytest.raises(ImpossibleTransition):
                change()
    after, orders = course.result()
    assert after is execution and orders == ()


def test_an_execution_never_leaves_its_end():
    assert all(not JOB_TRANSITIONS[state] for state in TERMINAL)


def test_groups_are_made_of_states():
    assert TERMINAL.isdisjoint(states.ACTIVE | states.WAITING)
    assert set(State) == TERMINAL | states.ACTIVE | states.WAITING
    assert states.LEASED < states.ACTIVE and states.SUCCESS < TERMINAL


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_come_to_an_end(name):
    for state in State:
        seen, ready = {state}, [state]
        while ready:
            for then in TABLES[name][ready.pop()] - seen:
                seen.add(then)
                ready.append(then)
        assert seen & TERMINAL
