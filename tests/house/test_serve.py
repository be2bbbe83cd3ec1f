"""A server as a person runs it: commit, see it run; stop it, kill it, start it again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: [echo hello]\n"
FORMICARY = [sys.executable, "-m", "formicary.cli.main"]
SLOW = "job_type: slow\nscript: ['echo began', 'sleep {seconds}', 'echo over']\n"


def processes_with(mark):
    """Processes whose environment or command line names `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def test_a_commit_runs_and_its_log_is_what_it_wrote(serve, repo, tmp_path):
    repo.commit({".formicary/ci.yml": CI})
    server = serve(tmp_path, "--repo", repo.path)
    first = server.ended(1)[0]
    assert (first["state"], first["event"], first["ref"]) == ("COMPLETED", "commit", "refs/heads/main")
    second = repo.commit({"a": "1"})
    assert server.ended(2)[0]["commit"] == second
    task = server.get(f"/api/jobs/requests/{first['id']}/tasks")["records"][0]
    assert server.call(f"/api/tasks/{task['attempts'][0]['id']}/log")[1] == "hello\n"
    for word in ("watching", str(repo.path), "Synced", "ci", "log in"):
        assert word in server.said()
    assert f"listening {server.url}\n" in server.said()


def test_what_it_is_called_hides_not_where_it_listens(serve, repo, tmp_path):
    """With a port that the system chose, nobody else says it."""
    server = serve(tmp_path, "--repo", repo.path, "--url", "https://ci.example.org")
    assert f"listening {server.url}, known as https://ci.example.org\n" in server.said()


def test_the_first_signal_drains_and_the_server_says_so(serve, repo, tmp_path):
    repo.commit({".formicary/slow.yml": SLOW.format(seconds=2)})
    server = serve(tmp_path, "--repo", repo.path)
    status, _ = server.call("/api/jobs/requests", "POST", {"job_type": "slow"})
    assert status == 201
    server.wait(lambda: server.get("/api/jobs/requests")["records"][0]["state"] == "EXECUTING")
    assert server.stop(signal.SIGINT) == 0
    assert "draining: 1 running" in server.said()
    again = serve(tmp_path, "--repo", repo.path)
    assert [one["state"] for one in again.get("/api/jobs/requests")["records"]] == ["COMPLETED"]
    assert not (server.data / "server.json").exists() or again.process.poll() is None


def test_the_second_signal_stops_and_the_task_runs_again(serve, repo, tmp_path):
    repo.commit({".formicary/slow.yml": SLOW.format(seconds="${SECONDS_TO_SLEEP:-1}")})
    server = serve(tmp_path, "--repo", repo.path)
    server.call("/api/jobs/requests", "POST", {"job_type": "slow"})
    server.wait(lambda: server.get("/api/jobs/requests")["records"][0]["state"] == "EXECUTING")
    server.process.send_signal(signal.SIGINT)
    server.wait(lambda: "draining" in server.said())
    server.stop(signal.SIGINT)
    again = serve(tmp_path, "--repo", repo.path)
    assert again.ended(1)[0]["state"] == "COMPLETED"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_killed_in_the_middle_nothing_stays_and_nothing_is_lost(serve, repo, tmp_path):
    """D1, D2, D12: `kill -9`: no process of a task outlives the server, and the job runs again after the start."""
    mark = f"mark-{tmp_path.name}-{os.getpid()}"
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\ntriggers: {commit: {}}\n"
            f"environment: {{MARK: {mark}}}\n"
            "script: ['(setsid sleep 300 &) ; test -e /tmp/never || sleep 1; echo done']\n"
        }
    )
    server = serve(tmp_path, "--repo", repo.path)
    server.wait(lambda: len(processes_with(mark)) >= 2)
    server.process.kill()
    server.process.wait(10)
    again = serve(tmp_path, "--repo", repo.path)
    again.wait(lambda: again.get("/api/jobs/requests")["records"][0]["state"] == "COMPLETED")
    again.wait(lambda: processes_with(mark) == [])
    tasks = again.get(f"/api/jobs/requests/{again.ended(1)[0]['id']}/tasks")["records"]
    assert [one["error_code"] for one in tasks[0]["attempts"]] == ["ERR_ANT_LOST", ""]


CALL = """\
job_type: ci
params: {URL: {}}
script:
  - env
  - |
    python3 - <<'E'
    import os, urllib.request
    try:
        urllib.request.urlopen(os.environ["URL"] + "/api/jobs/requests")
    except Exception as error:
        print(error)
    E
"""


def test_nothing_of_the_server_reaches_a_task(serve, repo, tmp_path):
    """A clean environment, and T18: a task that calls the server on loopback is nobody."""
    repo.commit({".formicary/ci.yml": CALL})
    server = serve(tmp_path, "--repo", repo.path, CANARY="of-the-server")
    body = {"job_type": "ci", "params": {"URL": server.url}}
    assert server.call("/api/jobs/requests", "POST", body)[0] == 201
    request = server.ended(1)[0]
    assert request["state"] == "COMPLETED"
    log = server.call(f"/api/tasks/{request['execution_id']}-1/log")[1]
    assert "HTTP Error 401" in log
    assert "CANARY" not in log
    assert server.token not in log


def refusal(folder, *words):
    """What a start that is refused says."""
    done = subprocess.run([*FORMICARY, *map(str, words)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_mistakes_get_one_sentence(repo, tmp_path):
    data, plain = tmp_path / "d", tmp_path / "plain"
    plain.mkdir()
    assert "git init" in refusal(tmp_path, "serve", "--data", data, "--port", 0, "--repo", plain)
    inside = refusal(tmp_path, "serve", "--data", repo.path / "d", "--port", 0, "--repo", repo.path)
    assert "lies in the watched repository" in inside
    assert "--host" in refusal(tmp_path, "serve", "--data", data, "--port", 1, "--host", "192.0.2.1")


def test_two_servers_on_one_folder(serve, repo, tmp_path):
    server = serve(tmp_path, "--repo", repo.path)
    assert str(server.process.pid) in refusal(tmp_path, "serve", "--data", server.data, "--port", 0)
