"""How executions are ended and repeated: cancel, timeout, FATAL, retries of the job, restarts, stale events."""

# ruff: noqa: E501  (the tables: one row, one line)

from __future__ import annotations

from runs import A, B, C, D, Run, task

from formicary.runner.core.definition import Retry
from formicary.runner.core.execution import (
    AntLost,
    Begin,
    CancelAsked,
    Claimed,
    DeadlinePassed,
    Ended,
    Executing,
    Execution,
    Finished,
    Offer,
    OfferReturned,
    Result,
    RetryDue,
    Stop,
    WakeAt,
    Withdraw,
)
from formicary.runner.core.plan import begin, decide, outstanding
from formicary.runner.core.states import LEASED, State

# -- cancel -----------------------------------------------------------------------------------------------------------


def test_cancel_stops_what_runs_then_runs_the_always_run_tasks():
    run = Run(task(A), task(B), task(C, needs=(A,)), task("sweep", always_run=True))
    run.claim(A)
    offered = run.attempt(B).id
    orders = run.send(CancelAsked("ann", "wrong branch"))
    assert orders == (Stop("7-1", "Cancelled by ann: wrong branch"), Withdraw(offered))
    assert run.states == "build=EXECUTING test=CANCELLED fix=CANCELLED sweep=PENDING"
    run.finish(A, Result(exit_code=143, error_code="ERR_CANCELLED"))
    assert run.states == "build=CANCELLED test=CANCELLED fix=CANCELLED sweep=READY"
    run.finish("sweep")
    assert (run.state, run.execution.error_code) == ("CANCELLED", "ERR_CANCELLED")
    assert run.execution.error_message == "Cancelled by ann: wrong branch"


def test_a_running_always_run_task_survives_the_first_cancel_only():
    run = Run(task("sweep", always_run=True), task(A))
    run.finish(A)
    run.claim("sweep")
    assert run.send(CancelAsked("ann")) == ()
    assert run.send(CancelAsked("ann")) == (Stop(run.attempt("sweep").id, "Cancelled by ann."),)
    before = run.execution
    assert run.send(CancelAsked("ann")) == ()
    assert run.execution is before
    run.finish("sweep", Result(error_code="ERR_CANCELLED"))
    assert (run.state, run.states) == ("CANCELLED", "sweep=CANCELLED build=COMPLETED")


def test_a_second_cancel_ends_what_has_not_begun():
    run = Run(task("sweep", always_run=True), task("mop", always_run=True, needs=("sweep",)), task(A)).claim(A)
    run.send(CancelAsked("ann"))
    run.finish(A, Result(error_code="ERR_CANCELLED"))
    offered = run.attempt("sweep").id
    assert run.send(CancelAsked("ann")) == (Withdraw(offered), Ended(7, State.CANCELLED))
    assert run.states == "sweep=CANCELLED mop=CANCELLED build=CANCELLED"


def test_a_cancelled_task_is_not_retried_and_not_repeated():
    run = Run(task(A, retry=Retry(attempts=3)), task(B, retry=Retry(attempts=3)), task(C)).claim(A, B, C)
    run.send(CancelAsked("ann"))
    run.finish(A, 1)
    run.lose(B)
    run.finish(C)
    assert (run.state, run.states) == ("CANCELLED", "build=CANCELLED test=CANCELLED fix=COMPLETED")


def test_a_cancel_ends_a_waiting_retry():
    run = Run(task(A, retry=Retry(attempts=3, delay=60.0)))
    run.finish(A, 1)
    run.send(CancelAsked("ann"))
    assert (run.state, run.states) == ("CANCELLED", "build=CANCELLED")


# -- timeout ----------------------------------------------------------------------------------------------------------


def test_the_jobs_timeout():
    run = Run(task(A), task(B), task(D, needs=(A,)), task("sweep", always_run=True), timeout=5400.0)
    assert run.execution.deadline == 1000.0 + 5400.0
    run.claim(A)
    run.now = 6399.0
    assert run.send(DeadlinePassed()) == (WakeAt(7, 6400.0, DeadlinePassed()),)
    run.now = 6400.0
    says = "The job ran into its timeout of 1h30m."
    assert run.send(DeadlinePassed()) == (Stop("7-1", says), Withdraw("7-2"))
    run.finish(A, Result(exit_code=143, error_code="ERR_CANCELLED"))
    assert run.states == "build=FAILED test=SKIPPED ship=SKIPPED sweep=READY"
    assert run.attempt(A).error_code == "ERR_TIMEOUT"
    assert run.execution.deadline == 6400.0 + 5400.0
    run.finish("sweep")
    assert (run.state, run.execution.error_code, run.execution.error_message) == ("FAILED", "ERR_TIMEOUT", says)


def test_always_run_tasks_have_a_budget_of_their_own_and_it_ends():
    run = Run(task("sweep", always_run=True), task("mop", always_run=True, needs=("sweep",)), timeout=60.0)
    run.claim("sweep")
    run.now = run.execution.deadline
    assert [type(order) for order in run.send(DeadlinePassed())] == [Stop]
    assert run.send(DeadlinePassed()) == ()
    run.finish("sweep", Result(error_code="ERR_CANCELLED"))
    assert (run.state, run.states) == ("FAILED", "sweep=FAILED mop=SKIPPED")


def test_a_tasks_own_timeout_is_retried():
    run = Run(task(A, retry=Retry(attempts=1))).play(build=[Result(error_code="ERR_TIMEOUT"), Result(exit_code=0)])
    assert (run.state, run.started) == ("COMPLETED", [A, A])


def test_a_timeouts_exit_code_is_not_the_commands():
    run = Run(task(A, codes={"137": C}, fail=B), task(B), task(C))
    run.finish(A, Result(exit_code=137, error_code="ERR_TIMEOUT"))
    assert run.started == [A, B]


# -- FATAL ------------------------------------------------------------------------------------------------------------


def test_after_fatal_nothing_new_starts_and_running_tasks_finish():
    run = Run(
        task(A, codes={"3": "FATAL"}), task(B, retry=Retry(attempts=2)), task(C), task(D, needs=(B,)), retry=Retry(attempts=2)
    )  # fmt: skip
    run.claim(A, B)
    offered = run.attempt(C).id
    assert run.finish(A, 3) == (Withdraw(offered),)
    assert run.reason(D) == "Task `build` ended the job (FATAL)."
    run.finish(B, 1)
    assert (run.state, run.states) == ("FAILED", "build=FAILED test=FAILED fix=SKIPPED ship=SKIPPED")
    assert (run.execution.job_retry, run.execution.error_code) == (0, "ERR_FATAL")


def test_a_retry_that_fatal_ends_is_not_what_the_job_failed_for():
    run = Run(task(A, retry=Retry(attempts=2, delay=60.0)), task(B, codes={"3": "FATAL"}))
    run.finish(A, 1)
    run.now += 5.0
    run.finish(B, 3)
    assert (run.state, run.states) == ("FAILED", "build=FAILED test=FAILED")
    assert run.execution.error_message == "task `test` failed with exit code 3 (ERR_FATAL)"


# -- the job's own retry ----------------------------------------------------------------------------------------------


def test_a_retried_job_keeps_what_is_completed():
    run = Run(task(A), task(B, needs=(A,)), task(D, needs=(B,)), retry=Retry(attempts=1)).play(test=[1, 0])
    assert (run.state, run.started, run.execution.job_retry) == ("COMPLETED", [A, B, B, D], 1)


def test_allow_start_if_completed_runs_again():
    again = task(A, allow_start_if_completed=True)
    run = Run(again, task(B, needs=(A,)), retry=Retry(attempts=1)).play(test=[1, 0])
    assert (run.state, run.started) == ("COMPLETED", [A, B, A, B])


def test_what_a_kept_task_chose_stays_chosen():
    run = Run(task(A, then=B), task(B), retry=Retry(attempts=2)).play(test=[1, 1, 0])
    assert (run.state, run.started) == ("COMPLETED", [A, B, B, B])


def test_always_run_waits_for_the_last_attempt_of_the_job():
    run = Run(task(A), task("sweep", always_run=True), retry=Retry(attempts=2)).play(build=1)
    assert (run.state, run.started) == ("FAILED", [A, A, A, "sweep"])


def test_a_retry_of_the_job_waits_and_its_waiting_does_not_count():
    run = Run(task(A), retry=Retry(attempts=1, delay=600.0), timeout=60.0)
    run.now = 1050.0
    assert run.finish(A, 1) == (WakeAt(7, 1650.0, RetryDue()),)
    assert (run.state, outstanding(run.execution, run.plan, run.now)) == ("PENDING", run.orders)
    run.now = 1062.0
    assert run.send(DeadlinePassed()) == ()
    run.now = 1655.0
    orders = run.send(RetryDue())
    assert orders == (WakeAt(7, 1665.0, DeadlinePassed()), Offer(7, A, "7-2", 2))
    assert (run.state, run.send(RetryDue())) == ("READY", ())


def test_a_waiting_job_can_be_cancelled():
    run = Run(task(A), task("sweep", always_run=True), retry=Retry(attempts=1, delay=600.0))
    run.finish(A, 1)
    run.send(CancelAsked("ann"))
    assert run.states == "build=FAILED sweep=READY"
    run.finish("sweep")
    assert (run.state, run.execution.retry_at) == ("CANCELLED", None)


def test_no_retry_of_the_job_after_its_timeout():
    run = Run(task(A), retry=Retry(attempts=3)).claim(A)
    run.now = run.execution.deadline
    run.send(DeadlinePassed())
    run.finish(A, Result(error_code="ERR_TIMEOUT"))
    assert (run.state, run.execution.job_retry) == ("FAILED", 0)


# -- a new execution that goes on where another ended -----------------------------------------------------------------


def test_a_restart_keeps_what_is_completed_and_what_that_chose():
    tasks = (task(A, then=B), task(B, needs=("lint",)), task("lint"), task("sweep", always_run=True))
    first = Run(*tasks).play(test=1)
    assert first.states == "build=COMPLETED test=FAILED lint=COMPLETED sweep=COMPLETED"
    again = begin(8, 3, first.plan, 2000.0, previous=first.execution)
    assert again.tasks[A] == first.execution.tasks[A]
    again, orders = decide(again, first.plan, Begin(), 2000.0, seed=5)
    assert orders[1:] == (Offer(8, B, "8-1", 1),)
    assert again.tasks["sweep"].state is State.PENDING


def test_a_restart_with_everything_completed_ends_at_once():
    first = Run(task(A)).play()
    again, orders = decide(begin(8, 3, first.plan, 0.0, first.execution), first.plan, Begin(), 0.0, seed=5)
    assert (again.state, orders[-1]) == ("COMPLETED", Ended(8, State.COMPLETED))


# -- what changes nothing ---------------------------------------------------------------------------------------------


def test_late_and_doubled_events_change_nothing():
    """D2: an old fence is refused."""
    run = Run(task(A), task(B)).claim(A)
    before = run.execution
    for event in (
        Begin(),
        Claimed("7-1", 1, "ant-2"),
        Claimed("7-2", 1, "ant-2"),
        Executing("7-1", 1),
        Executing("7-2", 2),
        Executing("7-1", 9),
        Finished("7-1", 9, Result()),
        Finished("7-77", 77, Result()),
        AntLost("7-77", 77, ""),
        OfferReturned("7-1", 1),
        RetryDue(A),
        RetryDue("nobody"),
        RetryDue(),
    ):
        assert run.send(event) == (), event
        assert run.execution is before


def test_nothing_moves_a_finished_execution():
    run = Run(task(A)).play()
    before = run.execution
    for event in (
        Begin(),
        CancelAsked("ann"),
        DeadlinePassed(),
        RetryDue(),
        AntLost("7-1", 1, ""),
        Claimed("7-1", 1, "a"),
    ):
        assert run.send(event) == ()
        assert run.execution is before
    assert outstanding(before, run.plan, run.now) == (Ended(7, State.COMPLETED),)


def test_a_definition_that_nobody_checked_still_ends():
    run = Run(task(A), task(B, needs=(C, "nobody")), task(C, needs=(B,)), task(D, always_run=True, needs=(D,))).play()
    assert (run.state, run.started) == ("COMPLETED", [A])


def test_an_execution_is_stored_and_read_back():
    run = Run(task(A, retry=Retry(attempts=1, delay=9.0)), task(B)).claim(B)
    run.finish(A, Result(exit_code=1, outputs={"n": 1, "f": 1.5, "s": "1", "l": [1, {"a": None}]}, warnings=("w",)))
    text = run.execution.model_dump_json(exclude_defaults=True)
    assert Execution.model_validate_json(text) == run.execution


def test_outstanding_orders_after_a_crash():
    run = Run(task(A), task(B), task(C, retry=Retry(attempts=1, delay=9.0)), timeout=60.0).claim(A)
    run.finish(C, 1)
    deadline, retry = WakeAt(7, 1060.0, DeadlinePassed()), WakeAt(7, 1009.0, RetryDue(C))
    assert outstanding(run.execution, run.plan, run.now) == (Offer(7, B, "7-2", 2), retry, deadline)
    assert WakeAt(7, 5000.0, RetryDue(C)) in outstanding(run.execution, run.plan, 5000.0)
    run.send(CancelAsked("ann"))
    assert outstanding(run.execution, run.plan, run.now) == (Stop("7-1", "Cancelled by ann."), deadline)


def test_an_event_copies_only_what_it_changes():
    """A job of 500 tasks costs one event no more than a small one."""
    run = Run(*(task(f"t{n}") for n in range(500)))
    before = run.execution.tasks
    run.claim("t250")
    changed = [name for name, one in run.execution.tasks.items() if one is not before[name]]
    assert changed == ["t250"]
    assert run.execution.tasks["t250"].state in LEASED
