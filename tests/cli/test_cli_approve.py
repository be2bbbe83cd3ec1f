"""`formicary approve` and `audits`, and `formicary run` where people are asked."""

import json
import os
import pty
import subprocess
import sys

import pytest

GATE = """\
job_type: gate
tasks:
- {task_type: ok, method: MANUAL, on_exit_code: {APPROVED: go, REJECTED: no}}
- {task_type: go, script: [echo went]}
- {task_type: no, script: [echo stayed]}
"""


def asked(here, server):
    server.repo.commit({".formicary/gate.yml": GATE}, message="gate")
    server.wait(lambda: server.get("/api/jobs/definitions")["total_records"] == 3)
    found = json.loads(here("trigger", "gate", "--json").out)["id"]
    server.wait(lambda: server.get(f"/api/jobs/requests/{found}")["state"] == "MANUAL_APPROVAL_REQUIRED")
    return found


def test_approve_and_reject(here, server):
    found = asked(here, server)
    said = here("approve", found, "--show")
    assert said.code == 0 and "ok at " in said.out and "for a developer to decide; no vote yet" in said.out
    said = here("approve", found, "ok", "--reject", "--comment", "not today")
    assert said.code == 0 and "your vote counts: reject" in said.out
    server.wait(lambda: server.get(f"/api/jobs/requests/{found}")["state"] == "FAILED")
    assert "rejected: by admin (not today)" in here("why", found).out
    said = here("approve", found)
    assert said.code == 1 and "waits for nobody" in said.err
    said = here("audits", "--request", found)
    assert "admin (token " in said.out and "reject  gate #" in said.out and "comment=not today" in said.out
    assert json.loads(here("audits", "--action", "reject", "--json").out)[0]["request_id"] == found


def local(tmp_path, **how):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".formicary").mkdir()
    (tmp_path / ".formicary" / "gate.yml").write_text(GATE)
    words = [sys.executable, "-m", "formicary.cli.main", "run", "gate", "--data", str(tmp_path / "data")]
    words[1:3] = ["-c", "from formicary.cli.main import main; main()"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=-1, stderr=subprocess.STDOUT, **how)


@pytest.mark.parametrize(("word", "code", "ran"), [("y\n", 0, b"went"), ("maybe\nn\n", 1, b"stayed")])
def test_run_asks_at_the_terminal(tmp_path, word, code, ran):
    ours, theirs = pty.openpty()
    process = local(tmp_path, stdin=theirs)
    os.close(theirs)
    os.write(ours, word.encode())
    out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == code and b"? approve ok [y/n]" in out and ran in out, out


def test_run_refuses_without_a_terminal(tmp_path):
    process = local(tmp_path, stdin=subprocess.DEVNULL)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and b"there is no terminal to ask at" in out and b"stayed" in out, out
