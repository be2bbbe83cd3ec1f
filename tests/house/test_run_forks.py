"""`formicary run` with jobs that fork others, and with tasks that run once an item: whose lines these are."""

import subprocess
import sys

import pytest

JOBS = """
job_type: ci
tasks:
  - {task_type: go, method: FORK_JOB, fork_job_type: middle, sub_workflow: {wait_for_completion: true}}
---
job_type: middle
tasks:
  - task_type: down
    method: FORK_JOB
    fan_out: {source: [eu, us], item_var: Region, fork_job_type: leaf}
  - {task_type: ask, method: MANUAL, needs: [down]}
---
job_type: leaf
script: ['echo "in $Region"']
"""


@pytest.fixture
def run(repo, tmp_path):
    def started(*words, **fields):
        command = [sys.executable, "-m", "formicary.cli.main", "run", *words, "--data", str(tmp_path / "data")]
        return subprocess.run(
            command, cwd=repo.path, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **fields
        )

    return started


def test_lines_of_forked_jobs_say_whose_they_are(run, repo):
    """However deep; and who sits at the terminal is asked for them too (nobody: no)."""
    repo.write({".formicary/ci.yml": JOBS})
    done = run("ci")
    lines = done.stdout.splitlines()
    for region in ("eu", "us"):
        assert f"middle (go) > leaf ({region}) | in {region}" in lines
        assert any(line.startswith(f"middle (go) > leaf ({region}) COMPLETED") for line in lines)
    assert any(line.startswith("✗ middle (go) > ask: task `ask` was rejected: by run") for line in lines)
    assert done.returncode == 1 and lines[-1].startswith("ci FAILED")


ITEMS = """
job_type: ci
tasks:
  - {task_type: plan, script: ['echo "Regions=[\\"eu\\", \\"us\\"]" >> "$FORMICARY_OUTPUT"']}
  - task_type: deploy
    needs: [plan]
    fan_out: {source: Regions, item_var: Region}
    script: ['echo "to $Region"', 'test $Region != "$Bad"']
  - {task_type: report, needs: [deploy], script: ['echo "$FanOutItemCount $Region_0_status"']}
"""


@pytest.mark.parametrize(("bad", "code"), [("", 0), ("us", 1)])
def test_items_are_shown_one_by_one(run, repo, bad, code):
    repo.write({".formicary/ci.yml": ITEMS})
    done = run("ci", "--param", f"Bad={bad}")
    lines = done.stdout.splitlines()
    assert {"deploy (Region=eu) | to eu", "deploy (Region=us) | to us"} <= set(lines)
    assert done.returncode == code
    if bad:
        assert "✗ deploy: 1 of 2 items failed: task `deploy (Region=us)` failed with exit code 1" in lines
    else:
        assert "✓ deploy" in lines and "report | 2 COMPLETED" in lines
