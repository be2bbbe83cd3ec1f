"""T8, T19, through a whole house: a planted secret is in the task's hands and nowhere else: not in the data folder, not
in logs, pages, answers or on any command line, in no form."""

import base64
import json
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import FORMICARY

VALUE = "pl4nted/s3cret \"q\" + 'x'"
KEY = "-----BEGIN KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nQyNTUxOQAAACBhYmNkZWZn\n-----END KEY-----\n"
SPEAKS = """
job_type: speaks
description: says its secret in every way it can
params: {Given: {secret: true}}
tasks:
  - task_type: say
    retry: 1
    variables: {Auth: "Bearer {{ Planted }}"}
    environment: {COPY: "{{ Planted }}"}
    script:
      - 'echo "plain $Planted"; echo "plain $COPY" >&2; echo "$Auth"'
      - 'true # {{ Planted }}'
      - 'echo "given $Given"'
      - sh say.sh
      - python3 say.py
      - 'printf %s "$Key"; printf "%s" "$Key" | sed -n 2p'
      - 'echo "::warning::beware of $Planted"; echo "got=$Planted" >> "$FORMICARY_OUTPUT"'
      - 'mkdir -p out; echo data > "out/a"; echo data > "named-$(echo "$Planted" | base64)"'
      - 'echo waiting; sleep 1; test "$TaskRetry" = 1'
    after_script: ['echo "after $Planted"']
    artifacts: {paths: [out, "named-*"], when: always}
    cache: {key: "c-{{ Planted }}", paths: [out]}
  - task_type: ignorant
    needs: [say]
    script: ['env | grep -E "^(Planted|Key|Auth)=" || echo "knows $got"']
"""
SH = """
for before in "" u us; do printf "$before%s" "$Planted" | base64 -w0; echo; done
for i in 1 2 3 4 5 6; do printf %.5s "$Planted"; sleep 0.02; printf "%s\\n" "$Planted" | cut -c6-; done
"""
PY = """
import json, os, shlex, urllib.parse
secret = os.environ["Planted"]
print(json.dumps(secret), shlex.quote(secret), urllib.parse.quote(secret, safe=""), secret.encode().hex())
"""
GIVEN = "g1ven-parameter"
SHAPES = [
    GIVEN,
    base64.b64encode(GIVEN.encode()).decode()[:-4],
    VALUE,
    quote(VALUE),
    quote(VALUE, safe=""),
    json.dumps(VALUE)[1:-1],
    VALUE.replace("'", "'\\''"),
    VALUE.encode().hex(),
    VALUE.encode().hex().upper(),
    *(base64.b64encode(b"u" * n + VALUE.encode())[4:-4].decode() for n in range(3)),
    "b3BlbnNzaC1rZXktdjEAAAAA",
    "QyNTUxOQAAACBhYmNkZWZn",
]


def shown_in(data, where):
    """Which shapes stand there; empty is good."""
    return [(where, shape) for shape in SHAPES if shape.encode() in data]


def in_files(folder):
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return [found for path in files for found in shown_in(path.read_bytes(), path)]


def on_command_lines():
    found = []
    for entry in Path("/proc").iterdir():
        try:
            found += (
                shown_in((entry / "cmdline").read_bytes().replace(b"\0", b" "), entry) if entry.name.isdigit() else []
            )
        except OSError:
            continue
    return found


@pytest.fixture
def keep(tmp_path):
    def call(name, value, *words):
        command = [*FORMICARY, "secrets", "set", name, *words, "--data", str(tmp_path / "data")]
        done = subprocess.run(command, input=value, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done

    return call


def everything(server, request_id):
    """What all answers and pages say of a request."""
    tasks = server.get(f"/api/jobs/requests/{request_id}/tasks")["records"]
    paths = [
        "/api/secrets",
        "/api/jobs/requests",
        f"/api/jobs/requests/{request_id}",
        "/metrics",
        "/",
        "/api/artifacts",
    ]
    paths += [f"/api/jobs/requests/{request_id}/{name}" for name in ("tasks", "why", "dot", "mermaid")]
    paths += [f"/requests/{request_id}", "/api/deliveries", "/api/outbox"]
    for task in tasks:
        for attempt in task["attempts"]:
            paths += [f"/api/tasks/{attempt['id']}/log{query}" for query in ("", "?format=records")]
    return [(path, server.call(path)[1]) for path in paths]


def test_a_planted_secret_is_nowhere_but_in_the_task(serve, repo, tmp_path, keep):
    repo.commit({".formicary/speaks.yml": SPEAKS, "say.sh": SH, "say.py": PY})
    server = serve(tmp_path, "--repo", repo.path, "--public", "--site", tmp_path / "site")
    keep("Planted", VALUE, "--repo", repo.path.name)
    keep("Key", KEY)
    assert server.call("/api/jobs/requests", "POST", {"job_type": "speaks", "params": {"Given": GIVEN}})[0] == 201
    logs = ["/api/tasks/1-1/log", "/api/tasks/1-2/log"]
    for log in logs:
        server.wait(lambda log=log: "waiting" in server.call(log)[1])
        assert not on_command_lines() and not in_files(tmp_path / "data"), "while it runs"
    (ended,) = server.ended(1)
    answers = everything(server, ended["id"])
    text = server.call(logs[1])[1]
    assert ended["state"] == "COMPLETED", text
    assert "plain ***\nplain ***\nBearer ***" in text and "after ***" in text and text.count("***") > 12
    assert "knows ***" in server.call("/api/tasks/1-3/log")[1], "outputs are masked, and so is what is made of them"
    for path, said in answers:
        assert not shown_in(said.encode(), path)
    assert "b3BlbnNz" not in text and "BEGIN KEY" not in text
    server.wait(lambda: (tmp_path / "site" / "index.html").exists())
    server.stop()
    assert not in_files(tmp_path / "data") and not in_files(tmp_path / "site")
    assert not shown_in(server.said().encode(), "the server's own words")
    assert (tmp_path / "data" / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_changed_secret_is_the_next_attempts_and_a_missing_key_is_said(serve, repo, tmp_path, keep):
    """The server starts without the key, names it, and needs nothing else than its return."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: ['printf %s \"$Token\" | wc -c']\n"})
    server = serve(tmp_path, "--repo", repo.path)
    for number, value in enumerate(("four", "fifteen letters"), 1):
        keep("Token", value)
        server.call("/api/jobs/requests", "POST", {"job_type": "ci"})
        server.ended(number)
        assert server.call(f"/api/tasks/{number}-1/log")[1] == f"{len(value)}\n"
    server.stop()
    key = tmp_path / "data" / "master.key"
    key.rename(tmp_path / "kept")
    again = serve(tmp_path, "--repo", repo.path)
    assert "1 secret is sealed with the master key" in again.said() and f"{key} is not there" in again.said()
    assert not key.exists()
    again.stop()
    (tmp_path / "kept").rename(key)
    third = serve(tmp_path, "--repo", repo.path)
    assert "sealed with" not in third.said()
    third.call("/api/jobs/requests", "POST", {"job_type": "ci"})
    third.ended(3)
    assert third.call("/api/tasks/3-1/log")[1] == "15\n"
