"""Which steps of a request owe a commit status: each that has something new to say, and no other."""

import pytest

from formicary.runner.core.definition import JobDefinition, Status, TaskDefinition
from formicary.runner.core.execution import Execution, TaskRun
from formicary.runner.core.records import JobRequest, Page, Repository
from formicary.runner.core.states import JOB_TRANSITIONS, State
from formicary.runner.queen.told import Moment
from formicary.runner.telling.statuses import COALESCE, status_effect, sync_owed

HERE = Repository(id=1, name="app", path="/p", forge="github", slug="acme/app")
JOB = JobDefinition(job_type="ci", tasks=(TaskDefinition(task_type="build"), TaskDefinition(task_type="test")))
EACH = JOB.model_copy(update={"status": Status(per_task=True)})
AS_BEFORE = {
    (State.PENDING, State.READY),
    (State.READY, State.PENDING),
    (State.STARTED, State.EXECUTING),
}
"""Transitions after which the status says the same."""


class Tx:
    now = 1000.0

    def __init__(self, repository=HERE):
        self._repository = repository

    def repository(self, repository_id):
        return self._repository

    def requests(self, **_):
        return Page[JobRequest](records=(), total_records=0, page=0, page_size=0)


def execution(state, **tasks):
    runs = {name: TaskRun(name=name, state=now) for name, now in tasks.items()}
    return Execution(id=1, request_id=7, created_at=0.0, state=state, tasks=runs)


def owed(before, now, job=JOB, tx=None, commit="c", **fields):
    """What is owed when an execution went from one state to the other; before None: the request is new."""
    request = JobRequest(
        id=7, version_id=1, job_type="ci", repository_id=1, commit=commit, created_at=0.0, state=State.PENDING, **fields
    )
    after = now if isinstance(now, Execution) else execution(now) if before else None
    state = now.state if isinstance(now, Execution) else now
    then = before if isinstance(before, Execution) else execution(before) if before else None
    return list(status_effect(Moment(tx or Tx(), request, state, job, after, then)))


@pytest.mark.parametrize(
    ("before", "now"), [(before, now) for before, after in JOB_TRANSITIONS.items() for now in sorted(after)]
)
def test_every_transition_that_says_something_new_is_told(before, now):
    """D10: what is final at once, the rest when a second has passed; D11: skipped too."""
    found = owed(before, now)
    assert len(found) == (0 if (before, now) in AS_BEFORE else 1)
    final = now in (State.COMPLETED, State.FAILED, State.SKIPPED, State.CANCELLED)
    assert all(one.due_at == (0.0 if final else Tx.now + COALESCE) for one in found)
    assert all(one.payload == {"request_id": 7} for one in found)


def test_a_new_request_is_told_and_staying_as_it_is_is_not():
    assert [one.key for one in owed(None, State.PENDING)] == ["1/c/push/ci"]
    assert [one.key for one in owed(None, State.SKIPPED, event="pull_request")] == ["1/c/pull_request/ci"]
    assert owed(State.EXECUTING, State.EXECUTING) == []


def test_a_context_of_its_own_has_a_key_for_each_request():
    own = JOB.model_copy(update={"status": Status(context="checks")})
    assert [one.key for one in owed(None, State.PENDING, own)] == ["1/c/push/request 7"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tx": Tx(None)},
        {"tx": Tx(HERE.model_copy(update={"forge": ""}))},
        {"tx": Tx(HERE.model_copy(update={"slug": ""}))},
        {"commit": ""},
        {"job": JOB.model_copy(update={"status": Status(enabled=False)})},
    ],
)
def test_who_is_told_nothing(wrong):
    assert owed(None, State.SKIPPED, **wrong) == []


def test_tasks_are_told_when_they_move_and_all_at_the_ends():
    said = owed(
        execution(State.EXECUTING, build=State.EXECUTING), execution(State.EXECUTING, build=State.COMPLETED), EACH
    )
    assert [(one.key, one.payload["task"], one.due_at) for one in said] == [("1/c/push/ci/build", "build", 0.0)]
    for ends in (owed(None, State.PENDING, EACH), owed(State.EXECUTING, State.CANCELLED, EACH)):
        assert [one.payload.get("task", "") for one in ends] == ["", "build", "test"]


def test_a_task_that_ended_before_its_job_is_not_told_once_more():
    before = execution(State.EXECUTING, build=State.COMPLETED, test=State.EXECUTING)
    ends = owed(before, execution(State.FAILED, build=State.COMPLETED, test=State.FAILED), EACH)
    assert [one.payload.get("task", "") for one in ends] == ["", "test"]
    ends = owed(before, execution(State.CANCELLED, build=State.COMPLETED, test=State.EXECUTING), EACH)
    assert [one.payload.get("task", "") for one in ends] == ["", "test"]


def test_a_commits_definitions():
    assert [(one.key, one.payload) for one in sync_owed(HERE, "c")] == [
        ("1/c/formicary/sync", {"repository_id": 1, "commit": "c"})
    ]
    assert list(sync_owed(HERE.model_copy(update={"forge": ""}), "c")) == []
