"""`decide` by example: the tables of the language page, "What runs next", one row after the other."""

# ruff: noqa: E501  (the tables: one row, one line)

from __future__ import annotations

import pytest
from runs import EXCEPTED, A, B, C, D, Run, task

from formicary.runner.core.definition import Backoff, JobDefinition, Retry
from formicary.runner.core.execution import (
    Begin,
    Claimed,
    Ended,
    Executing,
    Finished,
    Offer,
    OfferReturned,
    Plan,
    Result,
    RetryDue,
    WakeAt,
)
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.states import TERMINAL, State

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
    run.send(
        Finished(attempt.id, attempt.fence, Result(error_code="ERR_DEFINITION", error_message="use the environment"))
    )
    assert (run.state, run.execution.error_code) == ("FAILED", "ERR_DEFINITION")


def test_the_definitions_own_mistakes_are_not_retried():
    run = Run(task(A, retry=Retry(attempts=3)))
    run.finish(A, Result(error_code="ERR_DEFINITION"))
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
    """Each repetition comes later: a repository that is away for half a minute costs no job."""
    run = Run(task(A, retry=Retry(attempts=5)))
    began = []
    for number in range(4):
        began.append(run.now)
        run.claim(A)
        run.lose(A)
        if number in (1, 2):
            run.wake()
    assert began == [1000.0, 1000.0, 1005.0, 1035.0]
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


def test_what_ends_with_another_stands_in_the_way_too():
    """Two of its needs end in one event, the failed one looked at last: it is skipped all the same."""
    left_out = "Its `when` is for somebody else."
    first = task("a", fail="b")
    run = Run(first, task("b", unwanted=left_out), task("c", needs=("a",)), task("d", needs=("b", "c")))
    run.finish("a", 1)
    assert run.reason("d") == "Skipped because task `a` failed." and run.started == ["a"]
