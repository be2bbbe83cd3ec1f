"""`decide` with tasks that run once an item: when the list is made, made anew, empty, wrong; what is kept."""

import pytest
from runs import Run, task

from formicary.runner.core.deciding.spreading import NO_ITEM, as_before, with_items
from formicary.runner.core.definition import Combination, JobDefinition, Matrix, Retry
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.execution import Begin, CancelAsked, Finished, Forget, Offer, Plan, Result, Withdraw
from formicary.runner.core.forked import FanOut, Spread
from formicary.runner.core.names import secret_token
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.states import State

FAN = FanOut(source="Items", item_var="n")


def fanned(*tasks, fan=FAN, **job):
    return Run(task("each", fan_out=fan, **job.pop("fields", {})), *tasks, **job)


def spread(run, *items, fan=FAN):
    """The list is made."""
    attempt = run.attempt("each")
    run.plan, other = with_items(run.plan, "each", fan, items)
    return run.send(Spread(attempt.id, attempt.fence, other))


def of(*labels):
    return [f"each ({label})" for label in labels]


def test_the_list_is_made_when_the_task_is_about_to_start():
    run = Run(task("a"), task("each", needs=("a",), fan_out=FAN), task("z", needs=("each",)))
    assert run.started == ["a"]
    run.finish("a")
    assert run.started == ["a", "each"] and run.execution.tasks["each"].state is State.READY
    spread(run, 1, 2)
    assert run.started[2:] == of("n=1", "n=2") and run.execution.tasks["each"].combinations.size == 2
    assert run.execution.tasks["each"].attempts == (), "a task of items has no attempt of its own"
    assert run.play().started[-1] == "z" and run.state is State.COMPLETED


def test_names_of_items():
    """Of two that are the same, the later is numbered; what is no plain value is called by its place."""
    run = fanned()
    spread(run, "a", "a", {"x": 1}, [1], "a", True, "long" * 20, "two\nlines")
    names = [name for name in run.execution.tasks if name != "each"]
    long = "long" * 9 + "lon…"
    assert names == of("n=a", "n=a #2", "2", "3", "n=a #3", "n=true", f"n={long}", "n=two?lines")


def test_an_empty_list_is_done_and_leads_on():
    run = fanned(task("next", needs=("each",)))
    spread(run)
    each = run.execution.tasks["each"]
    assert (each.state, each.reason) == (State.COMPLETED, NO_ITEM)
    assert each.last.outputs["FanOutItemCount"] == 0 and run.started[-1] == "next"


def test_a_list_that_cannot_be_made_is_a_failure_of_the_task():
    run = fanned(task("next", needs=("each",)), fields={"retry": Retry(attempts=3)})
    attempt = run.attempt("each")
    run.send(Finished(attempt.id, attempt.fence, Result(error_code="ERR_DEFINITION", error_message="no list")))
    assert run.states == "each=FAILED next=SKIPPED" and run.state is State.FAILED
    assert "no list" in run.execution.error_message


def test_nothing_begins_of_a_list_that_comes_too_late():
    """Cancelled meanwhile: the offer is withdrawn, and a list for it changes nothing."""
    run = fanned()
    attempt = run.attempt("each")
    assert Withdraw(attempt.id) in run.send(CancelAsked("ann"))
    before = run.execution
    plan, other = with_items(run.plan, "each", FAN, [1])
    run.plan = plan
    assert run.send(Spread(attempt.id, attempt.fence, other)) == () and run.execution is before


def test_another_attempt_of_the_job_makes_the_list_anew():
    """What has completed and is in it still stays; what is not, goes with its log; what is another item, runs again."""
    run = fanned(retry=Retry(attempts=1))
    spread(run, "kept", "gone", {"x": 1}, "bad")
    gone = run.attempt(*of("n=gone")).id
    for name in of("n=kept", "n=gone", "2"):
        run.finish(name)
    run.finish(*of("n=bad"), 1)
    assert run.started[-1] == "each"
    orders = spread(run, "kept", "new", {"x": 2}, "bad")
    assert Forget(gone) in orders and "each (n=gone)" not in run.execution.tasks
    assert [order.task for order in orders if isinstance(order, Offer)] == of("n=new", "2", "n=bad")
    assert len(run.execution.tasks["each (2)"].attempts) == 2
    assert run.play().state is State.COMPLETED


def test_a_restart_begins_with_the_items_that_there_were():
    run = fanned(task("z", needs=("each",)))
    spread(run, 1, 2)
    run.play(**{of("n=2")[0]: 1})
    plan = as_before(Plan(definition=run.plan.definition.model_copy(update={"tasks": written(run)})), run.plan)
    again = begin(8, 3, plan, 2000.0, run.execution)
    again, orders = decide(again, plan, Begin(), 2000.0, 5)
    assert [order.task for order in orders if isinstance(order, Offer)] == ["each"]
    attempt = again.tasks["each"].last
    plan, other = with_items(plan, "each", FAN, [1, 2])
    again, orders = decide(again, plan, Spread(attempt.id, attempt.fence, other), 2000.0, 5)
    assert [order.task for order in orders if isinstance(order, Offer)] == of("n=2")


def test_a_restart_leaves_alone_what_completed():
    run = fanned()
    spread(run, 1, 2)
    run.play()
    plan = as_before(Plan(definition=run.plan.definition.model_copy(update={"tasks": written(run)})), run.plan)
    again, orders = decide(begin(8, 3, plan, 2000.0, run.execution), plan, Begin(), 2000.0, 5)
    assert again.state is State.COMPLETED and not [one for one in orders if isinstance(one, Offer)]


def written(run):
    """The tasks as the definition has them: without their items."""
    return tuple(one.model_copy(update={"matrix": None}) for one in run.plan.definition.tasks)


def test_always_run_once_an_item():
    run = Run(task("a"), task("sweep", fan_out=FAN, always_run=True))
    run.finish("a", 1)
    assert run.started == ["a", "sweep"]
    attempt = run.attempt("sweep")
    run.plan, other = with_items(run.plan, "sweep", FAN, [1, 2])
    run.send(Spread(attempt.id, attempt.fence, other))
    assert run.play().started[-2:] == ["sweep (n=1)", "sweep (n=2)"] and run.state is State.FAILED


def plan_of(*tasks):
    return Plan(definition=JobDefinition(job_type="ci", tasks=tasks))


def test_what_is_refused():
    many = Matrix(combinations=tuple(Combination(label=f"{n}", values={"n": n}) for n in range(4000)), names=("n",))
    with pytest.raises(RequestRefused, match=r"1,001 items, with which the job would have 5,001 runs"):
        with_items(plan_of(task("each", fan_out=FAN), task("m", matrix=many)), "each", FAN, [*range(1001)])
    with pytest.raises(RequestRefused, match=r"would be called `each \(n=1\)`, as another task is"):
        with_items(plan_of(task("each", fan_out=FAN), task("each (n=1)")), "each", FAN, [1])
    with pytest.raises(RequestRefused, match="may not hold a secret"):
        with_items(plan_of(task("each", fan_out=FAN)), "each", FAN, [{"x": [secret_token("Key")]}])
