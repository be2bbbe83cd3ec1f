"""What a commit's status says: states, sentences, contexts. Pure."""

import pytest

from formicary.runner.core.definition import JobDefinition, Status, TaskDefinition
from formicary.runner.core.errors import Problem
from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.names import secret_token
from formicary.runner.core.records import JobRequest, Repository
from formicary.runner.core.states import State
from formicary.runner.publish.status import (
    context_of,
    described,
    speaker,
    sync_verdict,
    takes_statuses,
    task_verdict,
    verdict,
)

JOB = JobDefinition(
    job_type="ci",
    timeout=7200,
    tasks=tuple(
        TaskDefinition(task_type=name, allow_failure=name == "lint") for name in ("build", "test", "lint", "ship")
    ),
)


def request(state=State.EXECUTING, **fields):
    return JobRequest(id=7, version_id=1, job_type="ci", state=state, created_at=0.0, commit="c", **fields)


def attempt(state=State.COMPLETED, **fields):
    fields = {"executing_at": 100.0, "ended_at": 112.0, **fields}
    return Attempt(id="1-1", number=1, fence=1, state=state, **fields)


def run(name, state=State.COMPLETED, reason="", **fields):
    attempts = () if state in (State.PENDING, State.SKIPPED) else (attempt(state, **fields),)
    return TaskRun(name=name, state=state, reason=reason, attempts=attempts)


def execution(*runs, **fields):
    fields = {"started_at": 100.0, "ended_at": 172.0, **fields}
    return Execution(id=1, request_id=7, created_at=0.0, tasks={one.name: one for one in runs}, **fields)


DONE = [run("build"), run("test"), run("lint"), run("ship")]
FAILED = run("test", State.FAILED, exit_code=1, error_code="ERR_EXIT_CODE")
NEVER = run("ship", State.SKIPPED, reason="because `test` failed")


@pytest.mark.parametrize(
    ("state", "why", "said"),
    [
        (State.PENDING, "a free hand", "waiting: a free hand"),
        (State.PENDING, "", "waiting"),
        (State.READY, "", "waiting"),
        (State.EXECUTING, "it runs `a`", "running"),
        (State.PAUSED, "", "paused"),
        (State.MANUAL_APPROVAL_REQUIRED, "", "waits for an approval"),
    ],
)
def test_what_has_not_ended_is_pending_and_says_for_what_it_waits(state, why, said):
    assert verdict(request(state), JOB, execution(), why) == ("pending", said)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (DONE, "4 tasks passed in 1m12s"),
        ([run("build")], "passed in 1m12s"),
        ([*DONE[:3], NEVER], "3 tasks passed, 1 skipped in 1m12s"),
        ([run("build"), NEVER], "1 task passed, 1 skipped in 1m12s"),
        (
            [*DONE[:2], run("lint", State.FAILED, exit_code=2), DONE[3]],
            "3 of 4 tasks passed in 1m12s; `lint` failed, which is allowed",
        ),
    ],
)
def test_a_success_counts_its_tasks(runs, said):
    assert verdict(request(State.COMPLETED), JOB, execution(*runs)) == ("success", said)


@pytest.mark.parametrize(
    ("failed", "state", "said"),
    [
        (FAILED, "failure", "1 of 3 tasks passed, 1 skipped; `test` failed: exit code 1 after 12s"),
        (
            run("test", State.FAILED, error_code="ERR_TIMEOUT", ended_at=3700.4),
            "failure",
            "1 of 3 tasks passed, 1 skipped; `test` timed out after 1h",
        ),
        (
            run("test", State.FAILED, error_code="ERR_ANT_LOST", error_message="it fell silent"),
            "error",
            "1 of 3 tasks passed, 1 skipped; `test` was lost with its ant: it fell silent",
        ),
        (
            run("test", State.FAILED, error_code="ERR_CHECKOUT", error_message="no such commit"),
            "error",
            "1 of 3 tasks passed, 1 skipped; `test` failed: no such commit",
        ),
        (
            run("test", State.FAILED, error_code="ERR_DEPLOY", exit_code=3, executing_at=None),
            "failure",
            "1 of 3 tasks passed, 1 skipped; `test` failed: ERR_DEPLOY",
        ),
    ],
)
def test_a_failure_names_the_task_and_tells_our_faults_from_theirs(failed, state, said):
    """D12: infrastructure is `error`, a script is `failure`."""
    code = failed.last.error_code
    ended = execution(run("build"), failed, NEVER, error_code=code)
    assert verdict(request(State.FAILED, error_code=code), JOB, ended) == (state, said)


def test_the_first_of_several_failures_is_named():
    later = run("build", State.FAILED, exit_code=2, ended_at=500.0)
    said = verdict(request(State.FAILED), JOB, execution(later, FAILED))
    assert said == ("failure", "0 of 2 tasks passed; `test` and 1 more failed: exit code 1 after 12s")


def test_a_job_that_took_too_long_and_one_that_never_began():
    late = execution(run("build"), run("test", State.CANCELLED), timed_out=True)
    assert verdict(request(State.FAILED, error_code="ERR_TIMEOUT"), JOB, late) == (
        "failure",
        "1 of 2 tasks passed; it ran into its timeout of 2h",
    )
    never = request(State.FAILED, error_code="ERR_DEFINITION", error_message=".formicary/ci.yml:3:1: no task `x`")
    assert verdict(never, None, None) == ("error", ".formicary/ci.yml:3:1: no task `x`")
    assert verdict(request(State.FAILED), None, None) == ("failure", "failed")


def test_skipped_is_a_success_with_its_reason_and_cancelled_an_error():
    """D11: a required check is not left waiting."""
    assert verdict(request(State.SKIPPED, reason="no file of docs/** changed"), JOB, None) == (
        "success",
        "skipped: no file of docs/** changed",
    )
    cancelled = request(State.CANCELLED, error_code="ERR_CANCELLED", error_message="cancelled by ada")
    assert verdict(cancelled, JOB, None) == ("error", "cancelled by ada")


@pytest.mark.parametrize(
    ("state", "one", "said"),
    [
        (State.EXECUTING, run("test"), ("success", "passed in 12s")),
        (State.EXECUTING, run("test", ended_at=100.34), ("success", "passed in 340ms")),
        (State.EXECUTING, FAILED, ("failure", "failed: exit code 1 after 12s")),
        (State.EXECUTING, run("test", State.EXECUTING), ("pending", "running")),
        (State.EXECUTING, run("test", State.PENDING), ("pending", "waiting")),
        (State.EXECUTING, run("test", State.PENDING, "for `build`"), ("pending", "waiting: for `build`")),
        (State.EXECUTING, run("test", State.SKIPPED, "its `except` holds"), ("success", "skipped: its `except` holds")),
        (State.EXECUTING, run("test", State.CANCELLED), ("error", "cancelled")),
        (State.COMPLETED, run("test", State.PENDING), ("success", "skipped: nothing led to it")),
        (State.CANCELLED, run("test", State.PENDING), ("error", "cancelled")),
    ],
)
def test_a_task_has_a_status_of_its_own(state, one, said):
    assert task_verdict(request(state), execution(one), "test") == said


def test_a_task_of_a_request_without_execution_says_what_its_request_says():
    assert task_verdict(request(State.SKIPPED, reason="why"), None, "test") == ("success", "skipped: why")
    assert task_verdict(request(State.PENDING), None, "test", "a free hand") == ("pending", "waiting: a free hand")


def test_contexts():
    """The default, the pull request's beside a push, an own one, a task's."""
    push, pull = request(event="push"), request(event="pull_request")
    assert context_of(push, JOB) == context_of(pull, JOB) == "formicary/ci"
    assert context_of(push, JOB, both=True) == "formicary/ci"
    assert context_of(pull, JOB, both=True) == "formicary/ci (pull_request)"
    assert context_of(pull, JOB, both=True, task="test") == "formicary/ci (pull_request)/test"
    own = JOB.model_copy(update={"status": Status(context=f"my\nchecks {secret_token('Key')}")})
    assert context_of(pull, own, both=True) == "my checks ***"
    assert len(context_of(push, JOB.model_copy(update={"status": Status(context="x" * 300)}))) == 255


def test_a_description_is_masked_before_it_is_cut():
    """T8: half a secret is a secret too."""
    text = "a" * 130 + " s3cr3t-value\nand more"
    said = described(text, lambda text: text.replace("s3cr3t-value", "***"))
    assert said == "a" * 130 + " *** and…" and len(described("ü" * 500, str)) == 140
    assert described(f"a\tb\x00 \x1b[31m{secret_token('Key')}", str) == "a b [31m***"


def test_the_newest_request_speaks_but_none_that_was_skipped_overrules_one_that_ran():
    """D11: a branch whose filter excludes the job makes no failed commit green."""
    failed, skipped, again = (
        request(state).model_copy(update={"id": number})
        for number, state in enumerate((State.FAILED, State.SKIPPED, State.PENDING), 1)
    )
    assert speaker([failed, skipped]).id == 1
    assert speaker([again, failed, skipped]).id == 3
    assert speaker([skipped]).id == 2


def test_what_is_wrong_with_the_definitions():
    problem = Problem(".formicary/ci.yml", 3, 5, "`dependancies` is no key of a task", "did you mean `dependencies`?")
    assert sync_verdict([]) == sync_verdict([Problem("a", 1, 1, "w", severity="warning")])
    assert sync_verdict([])[0] == "success"
    assert sync_verdict([problem]) == (
        "failure",
        ".formicary/ci.yml:3: `dependancies` is no key of a task (did you mean `dependencies`?)",
    )
    long = Problem("a.yml", 0, 0, "m" * 60, "r" * 100)
    assert sync_verdict([long, problem]) == ("failure", f"a.yml: {'m' * 60} (and 1 more)")


def test_which_repositories_take_statuses():
    there = Repository(id=1, name="app", path="/p", forge="github", slug="acme/app")
    assert takes_statuses(there)
    assert not takes_statuses(None)
    assert not takes_statuses(there.model_copy(update={"slug": ""}))
    assert not takes_statuses(there.model_copy(update={"forge": ""}))
