"""`decide` by example: the tables of the language page, "What runs next", one row after the other."""

# ruff: noqa: E501  (the tables: one row, one line)

from __future__ import annotations

import pytest

from formicary.runner.core.definition import Backoff, JobDefinition, Retry, Target, TaskDefinition
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
    Plan,
    Result,
    RetryDue,
    Stop,
    WakeAt,
    Withdraw,
)
from formicary.runner.core.plan import begin, decide, outstanding
from formicary.runner.core.states import LEASED, TERMINAL, State

EXCEPTED = Result(excepted=True)


def task(name, *, then=None, fail=None, codes=None, **fields):
    return TaskDefinition(
        task_type=name,
        on_completed=Target(name=then) if then else None,
        on_failed=Target(name=fail) if fail else None,
        on_exit_code={code: Target(name=target) for code, target in (codes or {}).items()},
        **fields,
    )


class Run:
    """One execution, driven by hand."""

    def __init__(self, *tasks, now=1000.0, **job):
        self.plan = Plan(definition=JobDefinition(job_type="ci", tasks=tasks, **job))
        self.now = now
        self.started = []
        self.execution = begin(7, 3, self.plan, now)
        self.orders = ()
        self.send(Begin())

    def send(self, event):
        self.execution, self.orders = decide(self.execution, self.plan, event, self.now, seed=5)
        self.started += [order.task for order in self.orders if isinstance(order, Offer)]
        return self.orders

    def attempt(self, name):
        return self.execution.tasks[name].attempts[-1]

    def claim(self, *names):
        for name in names:
            attempt = self.attempt(name)
            self.send(Claimed(attempt.id, attempt.fence, "ant-1"))
            self.send(Executing(attempt.id, attempt.fence))
        return self

    def finish(self, name, result=0):
        if self.execution.tasks[name].state is State.READY and result != EXCEPTED:
            self.claim(name)
        attempt = self.attempt(name)
        result = Result(exit_code=result) if isinstance(result, int) else result
        return self.send(Finished(attempt.id, attempt.fence, result))

    def lose(self, name, message="its host is gone"):
        attempt = self.attempt(name)
        return self.send(AntLost(attempt.id, attempt.fence, message))

    def play(self, **codes):
        """Finish whatever is ready, in order, with the given exit codes (0 where none is given); wait out delays."""
        left = {name: list(code) if isinstance(code, list) else [code] for name, code in codes.items()}
        while self.execution.state not in TERMINAL:
            ready = [run.name for run in self.execution.tasks.values() if run.state is State.READY]
            if not ready:
                self.wake()
                continue
            queue = left.get(ready[0], [0])
            self.finish(ready[0], queue.pop(0) if len(queue) > 1 else queue[0])
        return self

    def wake(self):
        """Go to the next moment that was asked for."""
        wakes = [order for order in outstanding(self.execution, self.plan, self.now) if isinstance(order, WakeAt)]
        first = min(wakes, key=lambda order: order.at)
        self.now = first.at
        return self.send(first.event)

    @property
    def state(self):
        return self.execution.state

    @property
    def states(self):
        return " ".join(f"{name}={run.state}" for name, run in self.execution.tasks.items())

    def reason(self, name):
        return self.execution.tasks[name].reason


A, B, C, D = "build", "test", "fix", "ship"

TABLE = [
    # what the language says, tasks, exit codes, started in this order, end
    ("a task without any incoming edge starts at once", [task(A), task(B)], {}, "build test", "COMPLETED"),
    ("needs is order", [task(B, needs=(A,)), task(A)], {}, "build test", "COMPLETED"),
    ("dependencies are order", [task(B, dependencies=(A,)), task(A)], {}, "build test", "COMPLETED"),
    ("on_completed", [task(A, then=B), task(B)], {}, "build test", "COMPLETED"),
    ("on_completed is not for a failure", [task(A, then=B), task(B)], {A: 1}, "build", "FAILED"),
    ("on_failed", [task(A, fail=C, then=B), task(B), task(C)], {A: 1}, "build fix", "FAILED"),
    ("on_failed is not for a success", [task(A, fail=C, then=B), task(B), task(C)], {}, "build test", "COMPLETED"),
    ("on_exit_code comes first", [task(A, codes={"3": C}, fail=B), task(B), task(C)], {A: 3}, "build fix", "FAILED"),
    ("an unlisted code: the status's", [task(A, codes={"3": C}, fail=B), task(B), task(C)], {A: 4}, "build test", "FAILED"),
    ("a listed 0 is an outcome too", [task(A, codes={"0": C}, then=B), task(B), task(C)], {}, "build fix", "COMPLETED"),
    ("the first choice counts", [task(A, then=C), task(B, then=C), task(C)], {}, "build test fix", "COMPLETED"),
    ("a target waits for its needs", [task(A, then=D), task(B), task(D, needs=(B,))], {}, "build test ship", "COMPLETED"),
    ("a target's needs must have finished, no more", [task(A, then=D), task(B), task(D, needs=(B,))], {B: 1}, "build test ship", "FAILED"),
    ("needs of a target do not start it", [task(A, fail=D), task(B), task(D, needs=(B,))], {}, "build test", "COMPLETED"),
    ("never chosen counts as finished", [task(A, fail=C), task(C), task(D, needs=(A, C))], {}, "build ship", "COMPLETED"),
    ("a failure skips what needs it", [task(A), task(B, needs=(A,)), task(D, needs=(B,))], {A: 1}, "build", "FAILED"),
    ("a failure stops nothing else", [task(A), task(B), task(D, needs=(B,))], {A: 1}, "build test ship", "FAILED"),
    ("allow_failure", [task(A, allow_failure=True), task(B, needs=(A,))], {A: 1}, "build test", "COMPLETED"),
    ("allow_failure takes on_completed", [task(A, allow_failure=True, then=B), task(B)], {A: 1}, "build test", "COMPLETED"),
    ("but on_failed where there is one", [task(A, allow_failure=True, then=B, fail=C), task(B), task(C)], {A: 1}, "build fix", "COMPLETED"),
    ("allow_failure with codes: one of them", [task(A, allow_failure=(3,))], {A: 3}, "build", "COMPLETED"),
    ("allow_failure with codes: another", [task(A, allow_failure=(3,))], {A: 4}, "build", "FAILED"),
    ("except: SKIPPED, counts as completed", [task(A, then=B), task(B, needs=(A,))], {A: EXCEPTED}, "build test", "COMPLETED"),
    ("the exit code of what is skipped", [task(A, codes={"SKIPPED": C}), task(C)], {A: EXCEPTED}, "build fix", "COMPLETED"),
    ("skipped for a failure, too", [task(A), task(B, needs=(A,), codes={"SKIPPED": C}), task(C)], {A: 1}, "build fix", "FAILED"),
    ("a word: COMPLETED", [task(A, codes={"3": "COMPLETED"}, then=B), task(B)], {A: 3}, "build test", "COMPLETED"),
    ("a word: FAILED", [task(A, codes={"0": "FAILED"}, then=B, fail=C), task(B), task(C)], {}, "build fix", "FAILED"),
    ("a word: FATAL", [task(A, codes={"3": "FATAL"}), task(B), task(C, needs=(B,))], {A: 3}, "build test", "FAILED"),
    ("FATAL is not forgiven", [task(A, codes={"3": "FATAL"}, allow_failure=True)], {A: 3}, "build", "FAILED"),
    ("a word: ERR_…", [task(A, codes={"3": "ERR_QUOTA"}, fail=C), task(C)], {A: 3}, "build fix", "FAILED"),
    ("on_failed: COMPLETED", [task(A, fail="COMPLETED", then=B), task(B)], {A: 1}, "build test", "COMPLETED"),
    ("retry", [task(A, retry=Retry(attempts=2))], {A: [1, 1, 0]}, "build build build", "COMPLETED"),
    ("retry is used up", [task(A, retry=Retry(attempts=2), fail=C), task(C)], {A: 1}, "build build build fix", "FAILED"),
    ("a listed code ends the attempts", [task(A, retry=Retry(attempts=2), codes={"3": C}), task(C)], {A: 3}, "build fix", "FAILED"),
    ("always_run comes last", [task(C, always_run=True), task(A), task(B, needs=(A,))], {}, "build test fix", "COMPLETED"),
    ("always_run after a failure", [task(C, always_run=True), task(A)], {A: 1}, "build fix", "FAILED"),
    ("always_run with failed needs", [task(A), task(C, always_run=True, needs=(A,))], {A: 1}, "build fix", "FAILED"),
    ("always_run once, where it is chosen", [task(A, then=C), task(C, always_run=True, then=B), task(B)], {}, "build fix test", "COMPLETED"),
    ("always_run never for lack of edges", [task(C, always_run=True), task(A, then=B), task(B)], {}, "build test fix", "COMPLETED"),
    ("a failure in always_run fails the job", [task(A), task(C, always_run=True)], {C: 1}, "build fix", "FAILED"),
    ("always_run in graph order", [task(D, always_run=True, needs=(C,)), task(C, always_run=True)], {}, "fix ship", "COMPLETED"),
    ("what needs an always_run task", [task(A), task(C, always_run=True), task(D, needs=(C,))], {}, "build fix ship", "COMPLETED"),
    ("nothing to do", [], {}, "", "COMPLETED"),
]  # fmt: skip


@pytest.mark.parametrize(("says", "tasks", "codes", "started", "end"), TABLE, ids=[row[0] for row in TABLE])
def test_what_runs_next(says, tasks, codes, started, end):
    run = Run(*tasks).play(**codes)
    assert (" ".join(run.started), run.state) == (started, end)
    assert all(one.state in TERMINAL for one in run.execution.tasks.values())
    assert run.orders[-1] == Ended(7, State(end))


def test_several_start_in_parallel():
    run = Run(task(A), task(B), task(C, needs=(A, B)))
    assert run.started == [A, B]
    run.claim(A, B)
    run.finish(B)
    assert run.started == [A, B]
    assert [type(order) for order in run.finish(A)] == [Offer]


def test_the_first_claim_starts_the_job_and_the_first_script_executes_it():
    run = Run(task(A), task(B))
    seen = [run.state]
    attempt = run.attempt(A)
    for event in (Claimed(attempt.id, attempt.fence, "ant-1"), Executing(attempt.id, attempt.fence)):
        run.send(event)
        seen.append(run.state)
    assert seen == ["READY", "STARTED", "EXECUTING"]
    assert (run.attempt(A).ant_id, run.attempt(A).state, run.attempt(B).state) == ("ant-1", "EXECUTING", "READY")


def test_skipped_tasks_name_the_first_failed_one():
    run = Run(task(A), task(B, needs=(A,)), task(D, needs=(B,))).play(build=1)
    assert run.reason(B) == run.reason(D) == "Skipped because task `build` failed."
    assert run.states == "build=FAILED test=SKIPPED ship=SKIPPED"


def test_an_exempt_skip_holds_up_nobody():
    run = Run(task(A), task(B, needs=(A,), codes={"SKIPPED": "COMPLETED"}), task(D, needs=(B,))).play(build=1)
    assert run.states == "build=FAILED test=SKIPPED ship=COMPLETED"


@pytest.mark.parametrize(
    ("tasks", "result", "code", "message"),
    [
        ([task(A)], 2, "ERR_EXIT_CODE", "task `build` failed with exit code 2"),
        ([task(A, retry=Retry(attempts=2))], 1, "ERR_EXIT_CODE", "task `build` failed with exit code 1 (attempt 3 of 3)"),
        ([task(A, timeout=90)], Result(error_code="ERR_TIMEOUT"), "ERR_TIMEOUT", "task `build` ran into its timeout of 1m30s"),
        ([task(A, codes={"3": "FATAL"})], 3, "ERR_FATAL", "task `build` failed with exit code 3 (ERR_FATAL)"),
        ([task(A, codes={"3": "ERR_QUOTA"})], 3, "ERR_QUOTA", "task `build` failed with exit code 3 (ERR_QUOTA)"),
        (
            [task(A)],
            Result(error_code="ERR_CHECKOUT", error_message="no such commit"),
            "ERR_CHECKOUT",
            "task `build` failed with ERR_CHECKOUT: no such commit",
        ),
    ],
)  # fmt: skip
def test_the_job_says_how_its_first_decisive_task_failed(tasks, result, code, message):
    run = Run(*tasks, task(D, needs=(A,))).play(build=result)
    assert (run.execution.error_code, run.execution.error_message) == (code, message)


def test_the_first_decisive_failure_is_the_first_in_time():
    run = Run(task(A), task(B), task(C, allow_failure=True)).claim(A, B, C)
    for name in (C, B, A):
        run.now += 1
        run.finish(name, 1)
    assert run.execution.error_message == "task `test` failed with exit code 1"


def test_a_task_that_could_not_be_rendered_fails_before_it_is_claimed():
    """T6: the queen reports a tainted value for an attempt that nobody has claimed."""
    run = Run(task(A))
    attempt = run.attempt(A)
    run.send(Finished(attempt.id, attempt.fence, Result(error_code="ERR_TAINTED", error_message="use the environment")))
    assert (run.state, run.execution.error_code) == ("FAILED", "ERR_TAINTED")


@pytest.mark.parametrize("code", ["ERR_TAINTED", "ERR_DEFINITION"])
def test_the_definitions_own_mistakes_are_not_retried(code):
    run = Run(task(A, retry=Retry(attempts=3)))
    run.finish(A, Result(error_code=code))
    assert (run.state, run.started) == ("FAILED", [A])


def test_a_success_of_what_nobody_claimed_is_not_believed():
    run = Run(task(A))
    attempt, before = run.attempt(A), run.execution
    assert run.send(Finished(attempt.id, attempt.fence, Result(exit_code=0))) == ()
    assert run.execution is before


# -- retries ----------------------------------------------------------------------------------------------------------


def test_a_retry_waits_for_its_delay():
    run = Run(task(A, retry=Retry(attempts=1, delay=30.0)))
    assert run.finish(A, 1) == (WakeAt(7, 1030.0, RetryDue(A)),)
    assert run.states == "build=PENDING"
    run.now = 1029.0
    assert run.send(RetryDue(A)) == (WakeAt(7, 1030.0, RetryDue(A)),)
    run.now = 1030.0
    assert [type(order) for order in run.send(RetryDue(A))] == [Offer]
    assert run.send(RetryDue(A)) == ()
    assert [one.number for one in run.execution.tasks[A].attempts] == [1, 2]


def test_backoff_grows_to_its_maximum():
    run = Run(task(A, retry=Retry(attempts=5, backoff=Backoff(min=1.0, max=5.0, factor=2.0))))
    waits = []
    for _ in range(5):
        (wake,) = run.finish(A, 1)
        waits.append(wake.at - run.now)
        run.now = wake.at
        run.send(wake.event)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_jitter_is_drawn_from_the_seed():
    plan = Plan(
        definition=JobDefinition(
            job_type="ci", tasks=(task(A, retry=Retry(attempts=1, backoff=Backoff(min=10.0, jitter=0.5))),)
        )
    )

    def wait(seed):
        execution, _ = decide(begin(1, 1, plan, 0.0), plan, Begin(), 0.0, seed)
        execution, _ = decide(execution, plan, Claimed("1-1", 1, "a"), 0.0, seed)
        _, (wake,) = decide(execution, plan, Finished("1-1", 1, Result(exit_code=1)), 0.0, seed)
        return wake.at

    waits = [wait(seed) for seed in range(40)]
    assert waits == [wait(seed) for seed in range(40)]
    assert 10.0 <= min(waits) < 11.0 < 14.0 < max(waits) <= 15.0


def test_a_huge_backoff_stays_at_its_maximum():
    retry = Retry(attempts=5000, backoff=Backoff(min=1.0, max=7.0, factor=1e300))
    run = Run(task(A, retry=retry))
    for _ in range(4):
        (wake,) = run.finish(A, 1)
        run.now = wake.at
        run.send(wake.event)
    assert wake.at <= 1000.0 + 1.0 + 3 * 7.0


# -- lost ants --------------------------------------------------------------------------------------------------------


def test_lost_is_not_failed():
    """D12: a lost ant's attempt is repeated at once, by a budget of its own, and uses up no retry."""
    run = Run(task(A, retry=Retry(attempts=1, delay=60.0))).claim(A)
    assert [type(order) for order in run.lose(A)] == [Offer]
    assert (run.execution.tasks[A].lost, run.execution.tasks[A].failures) == (1, 0)
    first = run.execution.tasks[A].attempts[0]
    assert (first.state, first.error_code) == ("FAILED", "ERR_ANT_LOST")
    run.play()
    assert run.state == "COMPLETED"


def test_the_budget_for_lost_ants_ends():
    run = Run(task(A, retry=Retry(attempts=5)))
    for _ in range(4):
        run.claim(A)
        run.lose(A)
    assert (run.state, run.execution.error_code) == ("FAILED", "ERR_ANT_LOST")
    assert run.execution.error_message == "task `build` was lost with its ant: its host is gone (lost 4 times)"
    assert len(run.started) == 4


def test_a_result_with_a_lost_code_is_lost():
    run = Run(task(A))
    run.finish(A, Result(error_code="ERR_LOST"))
    assert run.execution.tasks[A].lost == 1


def test_a_returned_offer_is_made_again_with_a_new_fence():
    """D3: nothing ran, so it is still the first attempt; the old fence is refused from now on."""
    run = Run(task(A))
    old = run.attempt(A)
    run.send(Claimed(old.id, old.fence, "ant-1"))
    (offer,) = run.send(OfferReturned(old.id, old.fence))
    assert (offer.task_execution_id, offer.fence, run.attempt(A).number) == ("7-2", 2, 1)
    before = run.execution
    for late in (Claimed(old.id, old.fence, "x"), Executing(old.id, old.fence), Finished(old.id, old.fence, Result())):
        assert run.send(late) == ()
    assert run.execution is before
    run.claim(A)
    assert run.send(OfferReturned("7-2", 2)) == ()


def test_an_offer_that_comes_back_too_late_is_not_made_again():
    run = Run(task(A, codes={"3": "FATAL"}), task(B)).claim(A)
    run.send(Claimed("7-2", 2, "ant-2"))
    run.finish(A, 3)
    assert run.send(OfferReturned("7-2", 2)) == (Ended(7, State.FAILED),)
    assert run.states == "build=FAILED test=SKIPPED"


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
