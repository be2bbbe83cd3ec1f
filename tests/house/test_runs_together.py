"""Two local runs of one data folder: what one makes and forgets, the other may need."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FORMICARY = [sys.executable, "-m", "formicary.cli.main"]
CI = """\
job_type: ci
params: {Wait: {}}
tasks:
  - {task_type: build, script: ['echo same > out'], artifacts: {paths: [out]}}
  - {task_type: wait, needs: [build], script: ['while [ -n "$Wait" ] && [ ! -e "$Wait" ]; do sleep 0.05; done']}
  - {task_type: test, needs: [wait], dependencies: [build], script: [cat out]}
"""


@pytest.fixture
def open_folder():
    """A folder that tasks with users of their own may look into (pytest's are closed)."""
    with tempfile.TemporaryDirectory(prefix="formicary-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_run_that_ends_leaves_the_bytes_that_another_one_needs(repo, tmp_path, open_folder):
    repo.commit({".formicary/ci.yml": CI})
    data, gate = tmp_path / "data", open_folder / "gate"

    def start(*words):
        command = [*FORMICARY, "run", "--data", str(data), *words]
        return subprocess.Popen(command, cwd=repo.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    with start("-p", f"Wait={gate}") as slow:
        for line in slow.stdout:
            if "kept" in line:
                break
        with start() as quick:
            assert "COMPLETED" in quick.communicate(timeout=60)[0]
        gate.touch()
        assert "ci COMPLETED" in slow.communicate(timeout=60)[0]
    assert [path for path in (data / "artifacts/objects").rglob("*") if path.is_file()] == []
