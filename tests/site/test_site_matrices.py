"""A matrix on a request's page: its combinations behind it, in numbers, and not more than a reader looks through."""

from formicary.runner.core.execution import Attempt, Combinations, Execution, TaskRun
from formicary.runner.core.states import State
from formicary.site.matrices import MOST_SHOWN, count, shown


def member(number, state=State.COMPLETED, at=10.0):
    attempt = Attempt(id=f"1-{number + 1}", number=1, fence=number + 1, state=state, ready_at=at)
    return TaskRun(name=f"test (n={number})", matrix_of="test", state=state, attempts=(attempt,))


def execution(members, left=0):
    whole = TaskRun(name="test", state=State.EXECUTING, combinations=Combinations(size=len(members), left=left))
    first = TaskRun(name="early", attempts=(Attempt(id="1-900", number=1, fence=900, ready_at=1.0),))
    runs = [whole, TaskRun(name="later"), first, *members]
    return Execution(id=1, request_id=1, created_at=0.0, tasks={run.name: run for run in runs})


def test_combinations_stand_behind_their_task_where_it_began():
    made = execution([member(0, at=5.0), member(1, State.FAILED)], left=0)
    assert [run.name for run in shown(made)] == ["early", "test", "test (n=0)", "test (n=1)", "later"]
    assert count(made, made.tasks["test"]) == "2, 1 failed" and count(made, made.tasks["early"]) == ""


def test_of_many_those_that_failed_or_run_are_shown_first():
    states = {2990: State.FAILED, 2995: State.EXECUTING}
    made = execution([member(number, states.get(number, State.COMPLETED)) for number in range(3000)], left=1)
    names = [run.name for run in shown(made)]
    assert len(names) == MOST_SHOWN + 3
    assert {"test (n=2990)", "test (n=2995)", "test (n=0)"} <= set(names) and "test (n=2000)" not in names
    assert count(made, made.tasks["test"]) == f"2999 of 3000, 1 failed, {MOST_SHOWN} are shown"
