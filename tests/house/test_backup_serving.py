"""A backup of a server that is busy, and the server that is restored from it."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

FORMICARY = [sys.executable, "-m", "formicary.cli.main"]
JOBS = {
    ".formicary/ci.yml": "job_type: ci\ntriggers: {commit: {}}\ntasks:\n"
    "  - {task_type: make, script: ['echo made', 'head -c 200000 /dev/urandom > out'], artifacts: {paths: [out]}}\n",
    ".formicary/slow.yml": "job_type: slow\ntasks:\n"
    "  - {task_type: first, script: [echo once]}\n"
    "  - {task_type: rest, needs: [first], script: ['echo began', 'test -e $GO || sleep 300', 'echo over']}\n"
    "params: {GO: {}}\n",
    ".formicary/quick.yml": "job_type: quick\nscript: [echo quick]\n",
}


def formicary(folder, *words, code=0):
    done = subprocess.run([*FORMICARY, *map(str, words)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def ask(server, job, **params):
    status, text = server.call("/api/jobs/requests", "POST", {"job_type": job, "params": params})
    assert status == 201, text
    return json.loads(text)["id"]


def logs(folder):
    return {path.name: path.read_bytes() for path in (folder / "logs").rglob("*.log")}


@pytest.fixture
def go():
    """A file that lets `slow` end; every user may look for it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "go"


def test_a_backup_while_jobs_run_is_the_whole_server(serve, repo, tmp_path, go):
    """T19, D12: the same requests, logs and artifacts are there after a restore; what was not finished is run to its
    end; a token that was good is good; and nothing that opens the door or the secrets was in it."""
    repo.commit(JOBS)
    server = serve(tmp_path, "--repo", repo.path, "--hands", 2)
    server.ended(1)
    slow = ask(server, "slow", GO=str(go))
    at = f"/api/jobs/requests/{slow}"
    server.wait(lambda: any("began" in text.decode() for text in logs(server.data).values()))
    for _ in range(30):
        ask(server, "quick")
    said = json.loads(formicary(tmp_path, "backup", "--data", server.data, "--to", tmp_path, "--json"))
    server.ended(31)
    assert 2 <= said["requests"] <= 32
    assert "keep a copy" in said["not_inside"]["master.key"]
    assert "OK" in formicary(tmp_path, "restore", said["file"], "--verify")
    saved = {one["id"]: one for one in server.get("/api/jobs/requests")["records"]}
    before = logs(server.data)
    artifact = server.get("/api/artifacts")["records"][0]
    token = json.loads(formicary(tmp_path, "token", "create", "t", "--data", server.data, "--json"))["token"]
    again = json.loads(formicary(tmp_path, "backup", "--data", server.data, "--to", tmp_path / "2.tar.gz", "--json"))
    assert server.get(at)["state"] == "EXECUTING"
    server.process.kill()
    server.process.wait(10)

    restored = tmp_path / "restored"
    said = formicary(tmp_path, "restore", again["file"], "--data", restored)
    assert "master.key" in said
    assert not {"admin.token", "server.json", "hooks"} & {path.name for path in restored.iterdir()}
    assert logs(restored) == before
    go.touch()
    second = serve(tmp_path, data=restored)
    assert second.token != server.token
    for number, one in saved.items():
        if number != slow:
            assert second.get(f"/api/jobs/requests/{number}") == one
    second.wait(lambda: second.get(at)["state"] == "COMPLETED")
    tasks = {one["task_type"]: one for one in second.get(f"{at}/tasks")["records"]}
    assert [one["error_code"] for one in tasks["first"]["attempts"]] == [""]
    assert [one["error_code"] for one in tasks["rest"]["attempts"]] == ["ERR_ANT_LOST", ""]
    out = f"/api/artifacts/{artifact['id']}/download"
    request = urllib.request.Request(second.url + out, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as found:
        assert len(found.read()) == 200_000
    assert second.call("/api/repos", Authorization=f"Bearer {server.token}")[0] == 401
    new = repo.commit({"a": "1"})
    second.wait(lambda: any(one["commit"] == new for one in second.get("/api/jobs/requests")["records"]))


def test_mistakes_get_one_sentence(serve, repo, tmp_path):
    repo.commit(JOBS)
    server = serve(tmp_path, "--repo", repo.path)
    target = tmp_path / "b.tar.gz"
    formicary(tmp_path, "backup", "--data", server.data, "--to", target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert "there already" in formicary(tmp_path, "backup", "--data", server.data, "--to", target, code=1)
    assert "name a folder" in formicary(tmp_path, "backup", "--data", server.data, "--to", target, "--keep", 2, code=1)
    assert "in use by another" in formicary(tmp_path, "restore", target, "--data", server.data, code=1)
    assert "no Formicary data" in formicary(tmp_path, "backup", "--data", tmp_path / "none", "--to", tmp_path, code=1)
    assert "No such file" in formicary(tmp_path, "restore", tmp_path / "none.gz", "--verify", code=1)
    target.write_bytes(target.read_bytes()[:-9])
    assert "cut off" in formicary(tmp_path, "restore", target, "--verify", code=1)
