"""`formicary restart` against a real server, and what each way of it keeps."""

import json

import pytest

TWO = """\
job_type: two
params: {Code: {default: 3}}
tasks:
  - task_type: first
    script: ['echo "Made=by $JobID" >> "$FORMICARY_OUTPUT"', 'echo "first runs"']
  - task_type: every
    allow_start_if_completed: true
    script: echo "every runs"
  - task_type: second
    needs: [first]
    script: ['echo "made $Made"', 'exit "$Code"']
  - task_type: sweep
    always_run: true
    script: echo "sweep runs"
"""


@pytest.fixture(scope="module")
def failed(server):
    """A `two` request that has failed in its second task."""
    server.repo.commit({".formicary/two.yml": TWO})
    server.call("/api/repos/1/sync", "POST", {})
    status, text = server.call("/api/jobs/requests", "POST", {"job_type": "two"})
    assert status == 201
    found = json.loads(text)["id"]
    server.wait(lambda: server.get(f"/api/jobs/requests/{found}")["state"] == "FAILED")
    return found


def ran(server, request_id):
    """The tasks that the newest execution has run itself; those that are kept have attempts of an older one."""
    server.wait(lambda: server.get(f"/api/jobs/requests/{request_id}")["state"] == "FAILED")
    tasks = server.get(f"/api/jobs/requests/{request_id}/tasks")["records"]
    mine = f"{max(task['execution_id'] for task in tasks)}-"
    return {task["task_type"] for task in tasks if any(one["id"].startswith(mine) for one in task["attempts"])}


WHOLE, FAILED = {"first", "every", "second", "sweep"}, {"every", "second", "sweep"}


@pytest.mark.parametrize(
    ("options", "runs"),
    [((), WHOLE), (("--failed",), FAILED), (("--hard",), WHOLE), (("--failed", "--hard"), WHOLE)],
    ids=["whole", "failed", "hard", "both"],
)
def test_from_the_command_line(options, runs, here, server, failed):
    before = server.get(f"/api/jobs/requests/{failed}")["executions"]
    said = here("restart", failed, *options, "--wait")
    assert said.code == 1 and "✗ second" in said.out and f"two {failed} FAILED in" in said.out
    assert server.get(f"/api/jobs/requests/{failed}")["executions"] == before + 1
    assert ran(server, failed) == runs
    assert f"made by {failed}" in here("logs", failed, "second").out, "outputs of a task that is kept are there"


@pytest.mark.parametrize(
    ("query", "runs"), [("", WHOLE), ("?failed=true", FAILED), ("?hard=true", WHOLE), ("?failed=true&hard=true", WHOLE)]
)
def test_over_the_api(query, runs, server, failed):
    status, _ = server.call(f"/api/jobs/requests/{failed}/restart{query}", "POST", {})
    assert status == 200
    assert ran(server, failed) == runs


def test_it_says_what_to_do_next(here, failed, server):
    said = here("restart", failed)
    assert said.code == 0 and f"follow it: formicary logs {failed} -f" in said.out
    ran(server, failed)
    assert json.loads(here("restart", failed, "--json", "--wait").out)["state"] == "FAILED"


def test_what_runs_cannot_be_restarted(here):
    slow = json.loads(here("trigger", "slow", "--json").out)["id"]
    said = here("restart", slow)
    here("cancel", slow)
    assert said.code == 1 and f"request {slow} is still" in said.err and "cancel it first" in said.err
