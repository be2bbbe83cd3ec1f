"""A server that mails, posts events and tells an operator's URL, as a person sets it up."""

import json
import os
import socket
import subprocess
import sys
import threading

import anyio
import pytest

JOB = """\
job_type: ci
triggers: {{commit: {{}}}}
notify:
  email: {{recipients: [team@example.org], when: onFailure}}
  urls: {{recipients: ["operator://ops"], when: always}}
webhook: {{url: "{url}", headers: {{X-Team: ants}}}}
script: ["echo 'Error: the snow 雪 has <melted>'", exit 3]
"""


@pytest.fixture
def letters(mail_server):
    """A mail server on a loop of its own thread: the test itself blocks."""
    ready, over, found = threading.Event(), anyio.Event, {}

    async def serving():
        found["over"] = over()
        async with mail_server() as server:
            found["server"], found["loop"] = server, anyio.lowlevel.current_token()
            ready.set()
            await found["over"].wait()

    thread = threading.Thread(target=anyio.run, args=(serving,))
    thread.start()
    assert ready.wait(10)
    yield found["server"]
    anyio.from_thread.run_sync(found["over"].set, token=found["loop"])
    thread.join()


def test_a_failing_commit_is_told_everywhere(serve, repo, tmp_path, letters, receive):
    """Mail, an operator's URL and a webhook; and what lies inside is called because the operator said so (T14)."""
    receiver = receive()
    repo.commit({".formicary/ci.yml": JOB.format(url=receiver.url(path="/events"))}, message="melts")
    settings = {
        "FORMICARY_SMTP": f"smtp://127.0.0.1:{letters.port}",
        "FORMICARY_SMTP_FROM": "Formicary <ci@ants.example>",
        "FORMICARY_NOTIFY_URLS": f"ops=json://127.0.0.1:{receiver.port}/alerts",
        "FORMICARY_ALLOW_NETWORKS": "127.0.0.0/8",
    }
    server = serve(tmp_path, "--repo", repo.path, **settings)
    (ended,) = server.ended(1)
    server.wait(lambda: server.get("/api/outbox")["total_records"] == 0)
    (letter,) = letters.mails
    assert letter["Subject"] == f"[{repo.path.name}] ci failed on main: task `ci` exit code 3"
    for part in letter.iter_parts():
        assert "雪" in part.get_content() and f"/requests/{ended['id']}" in part.get_content()
    alerts = [json.loads(call.body) for call in receiver.calls if call.path == "/alerts"]
    assert [one["type"] for one in alerts] == ["failure"] and "the snow 雪 has <melted>" in alerts[0]["message"]
    events = [call for call in receiver.calls if call.path == "/events"]
    said = [json.loads(call.body) for call in events]
    assert [event["seq"] for event in said] == list(range(1, len(said) + 1))
    assert {call.headers["X-Team"] for call in events} == {"ants"}
    assert (said[0]["state"], said[-1]["state"]) == ("PENDING", "FAILED")


def test_a_webhook_inside_is_a_dead_letter_without_the_operators_word(serve, repo, tmp_path, receive):
    """T14."""
    receiver = receive()
    text = f"job_type: ci\ntriggers: {{commit: {{}}}}\nwebhook: {{url: '{receiver.url('localhost')}'}}\n"
    text += "script: [exit 0]\n"
    repo.commit({".formicary/ci.yml": text})
    server = serve(tmp_path, "--repo", repo.path)
    server.ended(1)
    server.wait(lambda: all(one["state"] == "dead" for one in server.get("/api/outbox")["records"]))
    assert "`allow_networks`" in server.get("/api/outbox")["records"][0]["error"] and receiver.calls == []


def test_a_server_with_wrong_settings_does_not_start(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    words = ["serve", "--data", str(tmp_path / "data"), "--port", "0"]
    for name, value, told in [
        ("SMTP", "mail.example", "`smtp` must look like"),
        ("SMTP", "smtp://mail.example", "`smtp_from`"),
        ("ALLOW_NETWORKS", "10.0.0.0/33", "`allow_networks`"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "formicary.cli.main", *words],
            env={**os.environ, f"FORMICARY_{name}": value},
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
        )
        assert done.returncode == 1 and told in done.stderr
