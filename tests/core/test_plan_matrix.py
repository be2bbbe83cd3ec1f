"""`decide` with matrices: the combinations are one task to all others, and each has its own attempts."""

from matrices import combinations
from runs import EXCEPTED, Run, task

from formicary.runner.core.definition import Matrix, Retry
from formicary.runner.core.execution import (
    Begin,
    CancelAsked,
    Claimed,
    Executing,
    Finished,
    Offer,
    Result,
    Stop,
    Withdraw,
)
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.states import State

WHEN = "Its `when` is for the branch `main`, and this is `x`."


def matrix(count=3, **options):
    return Matrix(combinations=combinations(count), names=("n",), **options)


def of(*numbers, name="test"):
    return [f"{name} (n={number})" for number in numbers]


def test_others_wait_for_all_combinations_and_name_the_task():
    run = Run(task("test", matrix=matrix()), task("ship", needs=("test",)))
    assert run.started == of(0, 1, 2)
    run.finish(of(0)[0])
    run.finish(of(2)[0])
    assert run.execution.tasks["test"].state is State.EXECUTING and "ship" not in run.started
    run.finish(of(1)[0])
    assert run.started[-1] == "ship"
    assert run.play().state is State.COMPLETED
    assert run.execution.tasks["test"].combinations.left == 0


def test_a_task_comes_as_far_as_the_foremost_of_its_combinations():
    run = Run(task("test", matrix=matrix()))
    seen = [run.execution.tasks["test"].state]
    attempt = run.attempt(of(1)[0])
    for event in (Claimed(attempt.id, attempt.fence, "ant"), Executing(attempt.id, attempt.fence)):
        run.send(event)
        seen.append(run.execution.tasks["test"].state)
    assert seen == [State.READY, State.STARTED, State.EXECUTING]


def test_the_outcome_is_the_worst_and_leads_on():
    tasks = [task("test", matrix=matrix(), then="ship", fail="mend"), task("ship"), task("mend")]
    run = Run(*tasks).play(**{of(1)[0]: 3})
    assert run.started == [*of(0, 1, 2), "mend"] and run.state is State.FAILED
    whole = run.execution.tasks["test"]
    assert whole.state is State.FAILED and whole.combinations.worst == of(1)[0]
    assert whole.reason == "1 of 3 combinations failed: task `test (n=1)` failed with exit code 3"
    assert run.execution.error_message == "task `test (n=1)` failed with exit code 3"
    assert Run(*tasks).play().started == [*of(0, 1, 2), "ship"]


def test_a_combination_that_may_fail_leaves_the_job_its_success():
    run = Run(task("test", matrix=matrix(), allow_failure=(3,)), task("ship", needs=("test",)))
    run.play(**{of(1)[0]: 3})
    assert run.started[-1] == "ship" and run.state is State.COMPLETED
    assert run.execution.tasks["test"].state is State.FAILED
    assert Run(task("test", matrix=matrix(), allow_failure=(3,))).play(**{of(1)[0]: 4}).state is State.FAILED


def test_each_has_its_own_retries():
    run = Run(task("test", matrix=matrix(2), retry=Retry(attempts=1)))
    run.play(**{of(1)[0]: [1, 0]})
    assert run.started == [*of(0, 1), of(1)[0]] and run.state is State.COMPLETED


def test_max_parallel_holds_and_all_get_their_turn():
    run = Run(task("test", matrix=matrix(5, max_parallel=2)))
    assert run.started == of(0, 1)
    run.finish(of(1)[0], 1)
    assert run.started == of(0, 1, 2)
    assert run.play().started == of(0, 1, 2, 3, 4) and run.state is State.FAILED


def test_without_fail_fast_all_others_run():
    run = Run(task("test", matrix=matrix(3, max_parallel=1))).play(**{of(0)[0]: 1})
    assert run.started == of(0, 1, 2)


def test_fail_fast_stops_what_runs_withdraws_what_is_offered_skips_what_waits():
    run = Run(task("test", matrix=matrix(4, max_parallel=3, fail_fast=True)), task("other"))
    run.claim(*of(0, 1))
    running, offered = run.attempt(of(1)[0]).id, run.attempt(of(2)[0]).id
    orders = run.finish(of(0)[0], 1)
    reason = "Task `test (n=0)` failed, and its matrix is fail_fast."
    assert set(orders) == {Stop(running, reason), Withdraw(offered)}
    assert [run.execution.tasks[name].state for name in of(2, 3)] == [State.SKIPPED] * 2
    assert run.reason(of(3)[0]) == reason
    run.send(Finished(running, run.attempt(of(1)[0]).fence, Result(error_code="ERR_CANCELLED")))
    assert run.execution.tasks[of(1)[0]].state is State.CANCELLED and run.reason(of(1)[0]) == reason
    assert run.execution.tasks["test"].state is State.FAILED
    assert run.play().started[-1] != of(3)[0] and run.state is State.FAILED
    assert run.execution.tasks["other"].state is State.COMPLETED


def test_another_attempt_of_the_job_runs_what_did_not_complete():
    run = Run(task("test", matrix=matrix(3, fail_fast=True, max_parallel=1)), retry=Retry(attempts=1))
    run.play(**{of(1)[0]: [1, 0]})
    assert run.started == of(0, 1, 1, 2) and run.state is State.COMPLETED


def test_a_restart_keeps_the_combinations_that_completed():
    run = Run(task("test", matrix=matrix()), task("ship", needs=("test",))).play(**{of(1)[0]: 1})
    again = begin(8, 3, run.plan, 2000.0, run.execution)
    again, orders = decide(again, run.plan, Begin(), 2000.0, 5)
    assert [order.task for order in orders if isinstance(order, Offer)] == of(1)
    done = Run(task("test", matrix=matrix())).play()
    kept = begin(8, 3, done.plan, 2000.0, done.execution)
    kept, orders = decide(kept, done.plan, Begin(), 2000.0, 5)
    assert kept.state is State.COMPLETED and not [order for order in orders if isinstance(order, Offer)]


def test_cancel_and_always_run():
    run = Run(task("test", matrix=matrix(2)), task("sweep", matrix=matrix(2), always_run=True))
    run.claim(of(0)[0])
    run.send(CancelAsked("ann"))
    assert run.execution.tasks[of(1)[0]].state is State.CANCELLED
    run.finish(of(0)[0], Result(error_code="ERR_CANCELLED"))
    assert run.started[-2:] == of(0, 1, name="sweep")
    run.play()
    assert run.state is State.CANCELLED and run.execution.tasks["sweep"].state is State.COMPLETED


def test_combinations_that_except_leaves_out():
    run = Run(task("test", matrix=matrix(2), then="ship"), task("ship"))
    run.finish(of(0)[0], EXCEPTED)
    run.finish(of(1)[0])
    assert run.execution.tasks["test"].state is State.COMPLETED
    run = Run(task("test", matrix=matrix(2), then="ship"), task("ship"))
    for name in of(0, 1):
        run.finish(name, EXCEPTED)
    assert run.execution.tasks["test"].state is State.SKIPPED and run.started[-1] == "ship"


def test_what_is_passed_by_counts_as_completed():
    tasks = [task("a", unwanted=WHEN, then="b"), task("b"), task("c", needs=("a",), matrix=matrix(0))]
    run = Run(*tasks).play()
    assert run.started == ["b"] and run.state is State.COMPLETED
    assert run.reason("a") == WHEN and run.reason("c") == "Its matrix has no combination."
    run = Run(task("a", unwanted=WHEN, matrix=matrix(2), codes={"SKIPPED": "b"}), task("b"))
    assert run.started == ["b"] and list(run.execution.tasks) == ["a", "b"]
    assert Run(task("a", unwanted=WHEN, codes={"SKIPPED": "FATAL"})).state is State.FAILED


def test_a_matrix_that_a_failure_skips_never_begins():
    run = Run(task("a"), task("test", needs=("a",), matrix=matrix())).play(a=1)
    assert run.reason("test") == "Skipped because task `a` failed." and list(run.execution.tasks) == ["a", "test"]
