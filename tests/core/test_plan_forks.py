"""`decide` with forked jobs, by example; machine.py has the rest."""

import pytest
from runs import Run, task

from formicary.runner.core.definition import Combination, Matrix, Retry
from formicary.runner.core.execution import Finished, Result
from formicary.runner.core.forked import Child, ChildEnded, Children, Forked
from formicary.runner.core.states import State

TWO = Matrix(combinations=tuple(Combination(label=f"n={n}", values={"n": n}) for n in (1, 2)), names=("n",))


def fork(run, name, *requests, waits=False):
    attempt = run.attempt(name)
    each = tuple(Child(request_id=one, released=True) for one in requests)
    run.send(Forked(attempt.id, attempt.fence, Children(each=each, waits=waits, fail_fast=False)))
    return attempt


@pytest.mark.parametrize("matrix", [None, TWO])
def test_what_failed_is_forked_anew_by_the_next_attempt_of_the_job(matrix):
    """And nothing else: of a matrix the combination whose child failed."""
    names = ["make (n=1)", "make (n=2)"] if matrix else ["make"]
    run = Run(
        task("make", method="FORK_JOB", fork_job_type="child", matrix=matrix),
        task("wait", method="AWAIT_FORKED_JOB", await_forked_tasks=("make",), needs=("make",)),
        retry=Retry(attempts=1),
    )
    for number, name in enumerate(names):
        fork(run, name, 100 + number)
    requests = [100 + number for number in range(len(names))]
    waiting = fork(run, "wait", *requests, waits=True)
    for request in requests:
        run.send(ChildEnded(waiting.id, request, State.FAILED if request == 100 else State.COMPLETED))
    run.send(Finished(waiting.id, waiting.fence, Result(exit_code=1)))
    assert run.started[len(names) + 1 :] == names[:1]
    for name in names[:1]:
        fork(run, name, 200)
    assert run.execution.tasks["make"].state is State.COMPLETED and run.started[-1] == "wait"
