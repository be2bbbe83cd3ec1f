"""The words after which a task or a whole job runs again: EXECUTING, RESTART_TASK, RESTART_JOB, PAUSE_JOB; and a person
who pauses and resumes."""

# ruff: noqa: E501  (the tables: one row, one line)

import pytest
from runs import A, B, C, Run, task

from formicary.runner.core.clock import ClockSet
from formicary.runner.core.deciding.outcome import MOST_RESTS, POLLS_KEPT
from formicary.runner.core.definition import Retry
from formicary.runner.core.execution import (
    CancelAsked,
    DeadlinePassed,
    Forget,
    PauseAsked,
    ResumeAsked,
    RetryDue,
    WakeAt,
)
from formicary.runner.core.plan import outstanding
from formicary.runner.core.states import TERMINAL, State

POLL = {"3": "EXECUTING"}
TABLE = [
    # what the language says, tasks, exit codes, started in this order, end
    ("EXECUTING asks again", [task(A, codes=POLL, then=B), task(B)], {A: [3, 3, 0]}, "build build build test", "COMPLETED"),
    ("EXECUTING uses no retry up", [task(A, codes=POLL, retry=Retry(attempts=1))], {A: [3, 3, 1, 0]}, "build build build build", "COMPLETED"),
    ("on_completed: EXECUTING until it fails", [task(A, then="EXECUTING", fail=C), task(C)], {A: [0, 0, 1]}, "build build build fix", "FAILED"),
    ("on_failed: EXECUTING comes after the retries", [task(A, fail="EXECUTING", retry=Retry(attempts=1))], {A: [1, 1, 0]}, "build build build", "COMPLETED"),
    ("RESTART_TASK within retry", [task(A, codes={"3": "RESTART_TASK"}, retry=Retry(attempts=2))], {A: [3, 3, 0]}, "build build build", "COMPLETED"),
    ("RESTART_TASK without a retry", [task(A, codes={"3": "RESTART_TASK"}, fail=C), task(C)], {A: 3}, "build fix", "FAILED"),
    ("RESTART_TASK of a success", [task(A, codes={"0": "RESTART_TASK"}, retry=Retry(attempts=1))], {A: 0}, "build build", "FAILED"),
    ("on_failed: RESTART_TASK ends", [task(A, fail="RESTART_TASK", retry=Retry(attempts=1))], {A: 1}, "build build", "FAILED"),
    ("RESTART_JOB keeps what completed", [task(A), task(B, needs=(A,), codes={"3": "RESTART_JOB"})], {B: [3, 0]}, "build test test", "COMPLETED"),
    ("RESTART_JOB of a success runs it again", [task(A, codes={"0": "RESTART_JOB"})], {A: [0, 1]}, "build build", "FAILED"),
    ("RESTART_JOB: nothing new starts", [task(A, codes={"3": "RESTART_JOB"}), task(C, needs=(B,)), task(B)], {A: [3, 0]}, "build test build test fix", "COMPLETED"),
    ("PAUSE_JOB", [task(A, codes={"3": "PAUSE_JOB"}, then=B), task(B)], {A: [3, 0]}, "build build test", "COMPLETED"),
    ("always_run still runs once, at the end", [task(A, codes={"3": "RESTART_JOB"}), task(C, always_run=True)], {A: [3, 0]}, "build build fix", "COMPLETED"),
    ("in always_run a job's word leads nowhere", [task(C, always_run=True, fail="RESTART_JOB")], {C: 1}, "fix", "FAILED"),
    ("a word of what was excepted", [task(A, codes={"3": "ERR_QUOTA"}, fail="RESTART_JOB")], {A: [3, 0]}, "build build", "COMPLETED"),
]  # fmt: skip


@pytest.mark.parametrize(("says", "tasks", "codes", "started", "end"), TABLE, ids=[row[0] for row in TABLE])
def test_what_runs_again(says, tasks, codes, started, end):
    run = Run(*tasks, retry=Retry(delay=5.0)).play(**codes)
    assert (" ".join(run.started), run.state) == (started, end)
    assert all(one.state in TERMINAL for one in run.execution.tasks.values())


def test_polls_come_every_delay_until_the_tasks_timeout():
    run = Run(task(A, codes=POLL, fail=C, retry=Retry(delay=10.0), timeout=35.0), task(C))
    at = []
    for _ in range(4):
        at.append(run.now)
        run.finish(A, 3)
        if run.execution.tasks[A].state is State.FAILED:
            break
        assert "exit code 3" in run.reason(A)
        run.wake()
    assert at == [1000.0, 1010.0, 1020.0, 1030.0]
    assert run.attempt(A).error_code == "ERR_TIMEOUT" and run.started[-1] == C


def test_old_polls_are_not_kept():
    run = Run(task(A, codes=POLL, retry=Retry(delay=1.0)))
    forgotten = []
    for _ in range(POLLS_KEPT + 3):
        run.finish(A, 3)
        forgotten += [order.task_execution_id for order in run.orders if isinstance(order, Forget)]
        run.wake()
    assert forgotten == ["7-1", "7-2", "7-3"]
    assert [one.number for one in run.execution.tasks[A].attempts][:2] == [4, 5]


@pytest.mark.parametrize(("word", "state", "wait"), [("RESTART_JOB", "PENDING", 7.0), ("PAUSE_JOB", "PAUSED", 30.0)])
def test_a_job_that_rests_goes_on_by_itself_and_loses_no_time(word, state, wait):
    """Its timeout counts what it executes; what runs has ended before it rests."""
    run = Run(task(A, codes={"3": word}), task(B), retry=Retry(delay=7.0), timeout=100.0)
    run.claim(A, B)
    run.now += 10
    run.finish(A, 3)
    assert run.state is State.EXECUTING and run.execution.rest == word
    run.now += 10
    run.finish(B, 0)
    assert (run.state, run.execution.retry_at) == (state, run.now + wait)
    assert outstanding(run.execution, run.plan, run.now)[0].at == run.now + wait
    run.send(DeadlinePassed())
    assert run.state == state
    run.wake()
    assert (run.state, run.execution.job_retry, run.started[-1]) == ("READY", 1, A)
    assert run.execution.deadline == 1100.0 + wait


def test_it_rests_a_hundred_times_and_no_more():
    run = Run(task(A, codes={"3": "PAUSE_JOB"}), retry=Retry(attempts=0)).play(**{A: 3})
    assert (run.state, run.execution.job_retry, run.execution.rested) == ("FAILED", MOST_RESTS, MOST_RESTS)
    assert run.execution.error_code == "ERR_RESTARTS"


def test_its_own_rests_use_no_retry_up():
    run = Run(task(A, codes={"3": "RESTART_JOB"}), retry=Retry(attempts=1)).play(**{A: [3, 3, 1, 0]})
    assert (run.state, run.execution.job_retry) == ("COMPLETED", 3)


def test_a_hard_reset_runs_everything_again():
    run = Run(task(A), task(B, needs=(A,)), retry=Retry(attempts=3), hard_reset_after_retries=2)
    run.play(**{B: [1, 1, 0]})
    assert " ".join(run.started) == "build test test build test"


def test_a_person_pauses_and_resumes():
    run = Run(task(A), task(B, needs=(A,)), task(C))
    run.claim(A)
    run.send(PauseAsked("ann", "look first"))
    assert run.states == "build=EXECUTING test=PENDING fix=PENDING", "the offer nobody took is withdrawn"
    run.finish(A, 0)
    assert (run.state, run.execution.retry_at) == ("PAUSED", None)
    assert run.execution.rest_reason == "Paused by ann: look first"
    assert outstanding(run.execution, run.plan, run.now) == ()
    run.now += 500
    run.send(ResumeAsked("ann"))
    assert (run.state, run.execution.retry_at) == ("PAUSED", run.now), "it has to be admitted first"
    assert run.send(ResumeAsked("ann")) == (), "once is enough"
    run.wake()
    assert run.state is State.READY and run.started[:2] == [A, C] and set(run.started[2:]) == {B, C}
    assert [order.at for order in run.orders if isinstance(order, WakeAt)] == [run.execution.deadline]


def test_resuming_before_it_rests_takes_the_pause_back():
    run = Run(task(A), task(B, needs=(A,)))
    run.claim(A)
    run.send(PauseAsked("ann"))
    run.send(ResumeAsked("ann"))
    run.finish(A, 0)
    assert run.state is State.EXECUTING and run.started == [A, B] and run.execution.job_retry == 0


def test_a_paused_job_can_be_cancelled():
    run = Run(task(A, codes={"3": "PAUSE_JOB"}), task(C, always_run=True))
    run.finish(A, 3)
    run.send(CancelAsked("ann"))
    assert run.started == [A, C]
    run.finish(C, 0)
    assert run.state is State.CANCELLED


def test_pausing_what_rests_makes_it_wait_for_a_person():
    run = Run(task(A, codes={"3": "RESTART_JOB"}), retry=Retry(delay=60.0))
    run.finish(A, 3)
    run.send(PauseAsked("ann"))
    assert (run.state, run.execution.retry_at) == ("PAUSED", None)
    assert outstanding(run.execution, run.plan, run.now) == ()
    run.send(ResumeAsked("ann"))
    run.wake()
    assert run.started == [A, A]


def test_fatal_goes_before_a_rest():
    run = Run(task(A, codes={"3": "PAUSE_JOB"}), task(B, fail="FATAL"))
    run.claim(A, B)
    run.finish(A, 3)
    run.finish(B, 1)
    assert (run.state, run.execution.error_code) == ("FAILED", "ERR_FATAL")


def test_a_clock_that_is_set_moves_what_it_tells_and_nothing_else():
    """The time that is left stays what it was: of the job, of a retry's delay, of a rest."""
    run = Run(task(A, retry=Retry(attempts=1, delay=60.0)), task(B), timeout=600.0)
    run.finish(A, 1)
    before, left = run.execution, run.execution.deadline - run.now
    run.now += 3600
    orders = run.send(ClockSet(3600.0))
    assert run.execution.deadline - run.now == left
    assert run.execution.tasks[A].retry_at == before.tasks[A].retry_at + 3600
    assert {(order.at, order.event) for order in orders} == {
        (run.execution.tasks[A].retry_at, RetryDue(A)),
        (run.execution.deadline, DeadlinePassed()),
    }
    assert run.states == "build=PENDING test=READY"
    run.now -= 3600
    run.send(ClockSet(-3600.0))
    assert run.execution == before


def test_a_clock_that_is_set_while_it_rests_takes_none_of_its_time():
    run = Run(task(A, codes={"3": "PAUSE_JOB"}), timeout=600.0, pause_time=60.0)
    deadline = run.execution.deadline
    run.finish(A, 3)
    run.now += 3600 + 60
    run.send(ClockSet(3600.0))
    run.send(RetryDue())
    assert run.execution.deadline == deadline + 3600 + 60
