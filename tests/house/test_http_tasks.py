"""HTTP tasks through the whole house: a server, a commit, calls, routes by status; and `formicary run`."""

import json
import os
import subprocess
import sys

JOB = """\
job_type: ci
triggers: {{commit: {{}}}}
tasks:
- task_type: ask
  method: HTTP_POST_JSON
  url: "{url}/builds"
  body: {{commit: "{{{{ GitCommitID }}}}"}}
  artifacts: {{paths: [response]}}
  on_completed: poll
- task_type: poll
  method: HTTP_GET
  url: "{url}/builds/{{{{ ask.id }}}}"
  on_exit_code: {{404: missing, 503: RESTART_TASK}}
  retry: 2
- task_type: missing
  script: 'test "$id" = 7 && test "$(cat response)" = "$(printf %s "$Said")"'
  environment: {{Said: '{{"id": 7, "Place": "theirs"}}'}}
  dependencies: [ask]
"""
ANSWERS = [
    (201, {"content-type": "application/json"}, b'{"id": 7, "Place": "theirs"}'),
    (503, {}, b"later"),
    (404, {}, b"no such build"),
]


def test_a_commit_asks_and_is_routed_by_the_status(serve, repo, tmp_path, receive):
    """2xx completes, another status is the exit code; the answer is passed on as artifact and outputs."""
    receiver = receive()
    receiver.answers.extend(ANSWERS)
    commit = repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url(path=""))})
    server = serve(tmp_path, "--repo", repo.path, FORMICARY_ALLOW_NETWORKS="127.0.0.0/8")
    (ended,) = server.ended(1)
    tasks = server.get(f"/api/jobs/requests/{ended['id']}/tasks")
    assert [call.path for call in receiver.calls] == ["/builds", "/builds/7", "/builds/7"]
    assert json.loads(receiver.calls[0].body) == {"commit": commit}
    found = {one["task_type"]: one for one in tasks["records"]}
    assert {name: one["state"] for name, one in found.items()} == {
        "ask": "COMPLETED",
        "poll": "FAILED",
        "missing": "COMPLETED",
    }
    codes = {name: one["attempts"][-1]["exit_code"] for name, one in found.items()}
    assert codes == {"ask": 201, "poll": 404, "missing": 0}


RUN = """\
job_type: ci
params: {{Place: {{default: ours}}}}
tasks:
- task_type: ask
  method: HTTP_GET
  script: "{url}/version"
  on_completed: told
- task_type: told
  script: 'echo "version=$version status=$http_status Place=$Place"'
"""


def run(repo, tmp_path, **environment):
    words = [sys.executable, "-m", "formicary.cli.main", "run", "--data", str(tmp_path / "data")]
    environment = {**os.environ, **environment}
    return subprocess.run(words, cwd=repo.path, env=environment, capture_output=True, text=True, timeout=60)


def test_formicary_run_calls_too(repo, tmp_path, receive):
    receiver = receive()
    receiver.answers.append((200, {"content-type": "application/json"}, b'{"version": "1.10", "Place": "theirs"}'))
    repo.write({".formicary/ci.yml": RUN.format(url=receiver.url(path=""))})
    done = run(repo, tmp_path, FORMICARY_ALLOW_NETWORKS="127.0.0.0/8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version=1.10 status=200 Place=ours" in done.stdout and f"GET {receiver.url(path='/version')}" in done.stdout


def test_formicary_run_calls_nobody_inside_unasked(repo, tmp_path, receive):
    """T14."""
    receiver = receive()
    repo.write({".formicary/ci.yml": RUN.format(url=receiver.url(path=""))})
    done = run(repo, tmp_path)
    assert done.returncode == 1 and "the address is loopback" in done.stdout and receiver.calls == []
