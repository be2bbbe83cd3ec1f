"""Error codes of the organization, as `decide` applies them: how a failure is called, and what then."""

import pytest
from judging import DISK, FLAKY, NAMED, NODE

from formicary.runner.core.definition import JobDefinition, Retry, Target, TaskDefinition
from formicary.runner.core.errorcodes import ErrorCode, in_order
from formicary.runner.core.execution import Begin, Claimed, Ended, Executing, Finished, Offer, Plan, Result, RetryDue
from formicary.runner.core.judged import Judgement
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.states import TERMINAL, State


class Run:
    """One job; each offer is answered with the next of the results given."""

    def __init__(self, *tasks, **job):
        self.plan = Plan(definition=JobDefinition(job_type="ci", tasks=tasks, **job))
        self.execution, self.now = begin(1, 1, self.plan, 0.0), 0.0

    def through(self, *results):
        left, offers = list(results), []
        orders = self.send(Begin())
        for _ in range(50):
            offers += [order for order in orders if isinstance(order, Offer)]
            if offers and left:
                order = offers.pop(0)
                self.send(Claimed(order.task_execution_id, order.fence, "ant"))
                self.send(Executing(order.task_execution_id, order.fence))
                orders = self.send(Finished(order.task_execution_id, order.fence, left.pop(0)))
            elif self.execution.state in TERMINAL or not left:
                break
            else:
                self.now += 1000.0
                orders = self.send(RetryDue()) + tuple(
                    order for name in self.execution.tasks for order in self.send(RetryDue(name))
                )
        assert not left, "nobody asked for these"
        return self.execution

    def send(self, event):
        self.execution, orders = decide(self.execution, self.plan, event, self.now, 1)
        return tuple(one for one in orders if not isinstance(one, Ended))


def task(name="t", **fields):
    return TaskDefinition(task_type=name, **fields)


def bad(judged, exit_code=1, **fields):
    return Result(exit_code=exit_code, judged=judged, **fields)


GOOD = Result(exit_code=0)


def test_a_code_names_the_failure():
    done = Run(task()).through(bad(NAMED))
    assert (done.state, done.error_code) == (State.FAILED, "ERR_NAMED")
    assert done.tasks["t"].attempts[0].error_code == "ERR_NAMED" and not done.tasks["t"].attempts[0].hard
    assert done.error_message == "task `t` failed with exit code 1 (ERR_NAMED)"


def test_its_retries_are_in_place_of_fewer_of_the_tasks_own():
    done = Run(task()).through(bad(FLAKY), bad(FLAKY), GOOD)
    assert (done.state, done.tasks["t"].failures) == (State.COMPLETED, 2)
    assert done.tasks["t"].attempts[0].error_message == "task `t` failed with exit code 1 (ERR_FLAKY) (attempt 1 of 3)"
    done = Run(task()).through(bad(FLAKY), bad(FLAKY), bad(FLAKY))
    assert (done.state, done.error_code) == (State.FAILED, "ERR_FLAKY")
    done = Run(task(retry=Retry(attempts=3))).through(*[bad(FLAKY)] * 4)
    assert done.state is State.FAILED and done.tasks["t"].failures == 3
    done = Run(task()).through(bad(FLAKY), bad(NAMED))
    assert done.error_code == "ERR_NAMED", "the second failure is another one, and has no retries"


def test_a_hard_failure_ends_everything():
    """As FATAL: neither task nor job is tried again, nothing is forgiven, nothing led to; always_run tasks run."""
    tasks = (
        task(retry=Retry(attempts=3), allow_failure=True, on_failed=Target(name="other")),
        task("other"), task("later", needs=("t",)), task("last", always_run=True),
    )  # fmt: skip
    done = Run(*tasks, retry=Retry(attempts=2)).through(bad(DISK), GOOD)
    assert (done.state, done.error_code, done.job_retry) == (State.FAILED, "ERR_DISK", 0)
    assert done.error_message == "task `t` failed with exit code 1 (ERR_DISK: the disk is full) (attempt 1 of 4)"
    assert {name: run.state for name, run in done.tasks.items()} == {
        "t": State.FAILED, "other": State.SKIPPED, "later": State.SKIPPED, "last": State.COMPLETED,
    }  # fmt: skip
    assert done.tasks["t"].attempts[0].hard


def test_what_the_definition_says_of_an_exit_code_counts_more():
    done = Run(task(on_exit_code={"1": Target(name="COMPLETED")})).through(bad(DISK))
    assert (done.state, done.error_code) == (State.COMPLETED, "")
    done = Run(task(on_exit_code={"1": Target(name="ERR_QUOTA")})).through(bad(FLAKY))
    assert done.error_code == "ERR_QUOTA"
    done = Run(task(on_failed=Target(name="FATAL"))).through(bad(NAMED))
    assert done.error_code == "ERR_FATAL"


def test_the_whole_job_is_tried_again():
    """RETRY_JOB: what has completed is kept, and the job's own `retry` is not used up."""
    tasks = (task("first"), task(needs=("first",)))
    done = Run(*tasks).through(GOOD, bad(NODE), GOOD)
    assert (done.state, done.job_retry) == (State.COMPLETED, 1)
    assert len(done.tasks["first"].attempts) == 1 and len(done.tasks["t"].attempts) == 2
    done = Run(*tasks).through(GOOD, bad(NODE), bad(NODE))
    assert (done.state, done.error_code, done.job_retry) == (State.FAILED, "ERR_NODE", 1)


@pytest.mark.parametrize(
    "result",
    [
        bad(DISK, exit_code=0),
        bad(DISK, exit_code=204, completed=True),
        bad(DISK, error_code="ERR_CANCELLED"),
        bad(DISK, error_code="ERR_DEFINITION"),
        bad(DISK, error_code="ERR_ANT_LOST"),
    ],
)
def test_what_is_not_judged(result):
    run = Run(task())
    run.through(result)
    attempt = run.execution.tasks["t"].attempts[0]
    assert not attempt.hard and attempt.error_code in ("", result.error_code) and not run.execution.fatal


def test_a_timeout_may_have_another_name():
    done = Run(task()).through(bad(NAMED, exit_code=None, error_code="ERR_TIMEOUT"))
    assert done.error_code == "ERR_NAMED" and "ran into its timeout" in done.error_message


# Which code it is


def test_scopes():
    code = ErrorCode(error_code="ERR_X", job_type="ci", platform="*", exit_code=3)
    assert code.covers("ci", "any", "linux", 3) and code.covers("ci", "", "", 3)
    assert not code.covers("cd", "any", "linux", 3) and not code.covers("ci", "any", "linux", 4)
    assert ErrorCode(error_code="ERR_X").covers("a", "b", "c", None)


def test_the_one_that_says_more_of_where_it_holds_goes_first():
    rows = [
        ErrorCode(id=1, error_code="E1"), ErrorCode(id=2, error_code="E2", job_type="ci"),
        ErrorCode(id=3, error_code="E3", job_type="ci", task_type="t"), ErrorCode(id=4, error_code="E4", platform="*"),
        ErrorCode(id=5, error_code="E5", exit_code=1),
    ]  # fmt: skip
    assert [row.id for row in in_order(rows)] == [3, 2, 5, 1, 4]
    row = ErrorCode(error_code="E", action="RETRY_TASK", retry=2, message="m")
    assert row.judgement() == Judgement("E", "RETRY_TASK", 2, "m")
