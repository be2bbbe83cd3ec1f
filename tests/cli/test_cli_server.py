"""The commands that talk to a server, against a real one."""

import json
import signal
import time

import pytest

from formicary.runner.core.records import Repository
from formicary.runner.store.sqlite import open_store


def request_id(said):
    return json.loads(said.out)["id"]


@pytest.fixture
def slow(here):
    """A `slow` request that runs; cancelled at the end."""
    found = request_id(here("trigger", "slow", "--json"))
    yield found
    here("cancel", found)
    here("cancel", found)


@pytest.fixture(scope="module")
def failed(server):
    """A `ci` request that has failed in its last task."""
    status, text = server.call("/api/jobs/requests", "POST", {"job_type": "ci", "params": {"Code": 3}})
    assert status == 201
    found = json.loads(text)["id"]
    server.wait(lambda: server.get(f"/api/jobs/requests/{found}")["state"] == "FAILED")
    return found


def until_running(server, found, text=""):
    def look():
        tasks = server.get(f"/api/jobs/requests/{found}/tasks")["records"]
        running = tasks and tasks[0]["attempts"] and tasks[0]["state"] == "EXECUTING"
        return running and (not text or text in server.call(f"/api/tasks/{tasks[0]['attempts'][0]['id']}/log")[1])

    server.wait(look)


def test_trigger_tells_what_to_do_next(here, server):
    said = here("trigger", "ci", "--repo", "app")
    head = server.repo.head()[:10]
    assert said.code == 0
    assert f" of app at {head}" in said.out and "follow it: formicary logs " in said.out


def test_trigger_waits_and_shows_what_happens(here):
    said = here("trigger", "ci", "--param", "Who=me", "--wait")
    assert said.code == 0
    assert "✓ hello" in said.out and "✓ last" in said.out
    assert "↻ flaky" in said.out and ", attempt 2" in said.out
    assert "COMPLETED in" in said.out.splitlines()[-1]


def test_trigger_exits_as_the_job_does(here):
    said = here("trigger", "ci", "-p", "Code=3", "--wait")
    assert said.code == 1
    assert "✗ last" in said.out and "exit code 3" in said.out and "its log: formicary logs" in said.out


def test_trigger_json_is_the_ended_request_alone(here):
    said = here("trigger", "ci", "--wait", "--json")
    assert (said.code, json.loads(said.out)["state"]) == (0, "COMPLETED")


@pytest.mark.parametrize(
    ("words", "text"),
    [(("nope",), "nope"), (("ci", "--repo", "nope"), "nope"), (("ci", "--ref", "nope"), "nope")],
)
def test_trigger_says_what_is_not_there(words, text, here):
    said = here("trigger", *words)
    assert (said.code, said.out) == (1, "") and text in said.err and said.err.count("\n") == 1


def test_trigger_wants_params_of_the_right_form(here):
    assert here("trigger", "ci", "--param", "Who").code == 2


def test_ctrl_c_ends_the_waiting_and_not_the_job(server, process):
    waiting = process("trigger", "slow", "--wait", "--data", server.data)
    found = server.wait(lambda: server.get("/api/jobs/requests?job_type=slow")["records"])[0]["id"]
    until_running(server, found)
    assert b"slow" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=20)
    # To a shell these are the same; Python ends itself by the signal where it came within an `exec` of an import.
    assert waiting.returncode in (130, -signal.SIGINT), err
    assert f"slow {found} goes on. To cancel it: formicary cancel {found}" in err.decode()
    assert server.get(f"/api/jobs/requests/{found}")["state"] == "EXECUTING"
    server.call(f"/api/jobs/requests/{found}/cancel", "POST", {})
    server.wait(lambda: server.get(f"/api/jobs/requests/{found}")["state"] == "CANCELLED")


def test_status_shows_what_runs_waits_and_has_ended(here, server, slow, failed):
    until_running(server, slow)
    waiting = request_id(here("trigger", "slow", "--json"))
    said = here("status")
    found = json.loads(here("status", "--json").out)
    here("cancel", waiting)
    running, rest = said.out.split("waiting", 1)
    assert said.code == 0
    assert f"{slow} " in running and "app/slow" in running
    assert f"{waiting} " in rest and "PENDING" in rest
    assert "FAILED" in rest and "exit code 3" in rest
    assert [one["id"] for one in found["running"]] == [slow]
    assert [one["id"] for one in found["waiting"]] == [waiting] and found["waiting"][0]["why"]
    assert failed in [one["id"] for one in found["latest"]]


def test_status_of_one_request(here, failed):
    said = here("status", failed)
    assert f"app/ci {failed} FAILED" in said.out
    assert "Code=3" in said.out and "manual, by admin" in said.out and "GitCommitID" not in said.out
    lines = {line.split()[-1] if "last" not in line else "last": line for line in said.out.splitlines() if line}
    assert "FAILED" in lines["last"] and "exit code 3" in lines["last"]
    found = json.loads(here("status", failed, "--json").out)
    assert {"request", "tasks", "children", "why"} == set(found)


def test_why_is_a_sentence(here, failed):
    said = here("why", failed)
    assert said.code == 0 and said.out.startswith(f"{failed} FAILED: ")
    assert json.loads(here("why", failed, "--json").out)["state"] == "FAILED"


def test_logs_of_the_task_that_failed(here, failed):
    said = here("logs", failed)
    assert said.err == "last, attempt 1: FAILED\n"
    assert '$ exit "$Code"' in said.out


def test_logs_of_a_task_and_an_attempt(here, failed):
    assert "\nattempt 1\n" in here("logs", failed, "flaky").out
    first = here("logs", failed, "flaky", "--attempt", "1").out
    assert "\nattempt 0\n" in first and "\nattempt 1\n" not in first
    assert "has no attempt 7" in here("logs", failed, "flaky", "--attempt", "7").err


def test_raw_is_every_byte(here, failed):
    assert here("logs", failed, "hello", "--raw").raw == b"hello world\ncaf\xc3\xa9 \x00\xff end"
    assert here("logs", failed, "hello", "--raw", "-f").raw == b"hello world\ncaf\xc3\xa9 \x00\xff end"


def test_shown_logs_are_harmless_and_have_times(here, failed):
    """T15."""
    said = here("logs", failed, "hello", "--timestamps")
    lines = said.out.splitlines()
    assert any(line.endswith("Z hello world") for line in lines)
    assert any(line.endswith("Z café \ufffd end") for line in lines)
    assert all(line[:2] == "20" for line in lines)


def test_followed_logs_carry_their_tasks_names(here, failed):
    said = here("logs", failed, "-f")
    assert "hello | hello world\n" in said.out
    assert "flaky | attempt 0\n" in said.out and "flaky | attempt 1\n" in said.out
    assert "FAILED" in said.err


def test_a_followed_task_is_shown_while_it_runs_and_ends_with_it(server, process, here):
    found = request_id(here("trigger", "slow", "--json"))
    follower = process("logs", found, "slow", "-f", "--data", server.data)
    seen = b""
    while b"\nbegan\n" not in seen:
        seen += follower.stdout.readline()
    assert follower.poll() is None
    here("cancel", found)
    _, err = follower.communicate(timeout=30)
    assert follower.returncode == 0, err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("logs", "9999"), "There is no job request 9999"),
        (("logs", "9999", "-f"), "There is no job request 9999"),
        (("status", "9999"), "There is no job request 9999"),
        (("why", "9999"), "There is no job request 9999"),
        (("cancel", "9999"), "There is no job request 9999"),
        (("token", "revoke", "9999"), "There is no token 9999"),
    ],
)
def test_what_is_not_there(words, text, here):
    said = here(*words)
    assert (said.code, said.out) == (1, "") and text in said.err


@pytest.mark.parametrize("follow", [(), ("-f",)])
def test_a_task_that_is_not_there_names_those_that_are(follow, here, failed):
    said = here("logs", failed, "nope", *follow)
    assert said.code == 1
    assert f"request {failed} has no task `nope`; it has hello, flaky, last" in said.err


def test_raw_has_no_timestamps(here):
    assert here("logs", "1", "--raw", "--timestamps").code == 2


def test_cancel(here, server):
    found = request_id(here("trigger", "slow", "--json"))
    until_running(server, found)
    said = here("cancel", found, "--reason", "wrong branch")
    assert said.code == 0 and str(found) in said.out
    ended = server.wait(lambda: (one := server.get(f"/api/jobs/requests/{found}"))["state"] == "CANCELLED" and one)
    assert "wrong branch" in ended["error_message"] + ended["reason"]
    again = here("cancel", found)
    assert again.code == 1 and "has ended already" in again.err


def test_repos_and_what_is_wrong_in_them(here, server):
    server.repo.commit({".formicary/bad.yml": "job_type: bad\nscript: x\ntimout: 3\n"})
    said = here("repos", "--sync")
    found = json.loads(here("repos", "--json").out)
    server.repo.git("rm", "-q", ".formicary/bad.yml")
    server.repo.commit(message="without it")
    assert said.code == 0
    assert f"app ({server.repo.path}, branch main)" in said.out
    assert "Synced" in said.out and "Invalid" in said.out
    assert ".formicary/bad.yml:3:1: `timout` is not a key" in said.out
    assert {one["job_type"] for one in found[0]["definitions"]} >= {"ci", "slow", "bad"}


def test_tokens_are_made_used_and_revoked(here, formicary, server, monkeypatch):
    made = here("token", "create", "laptop", "--role", "viewer", "--expires", "2d")
    secret = made.out.strip()
    assert made.code == 0 and secret.count("\n") == 0 and secret not in made.err
    listed = here("token", "list").out
    assert "laptop" in listed and "viewer" in listed and secret not in listed
    assert "in 2 d" in listed or "in 1 d 23 h" in listed
    monkeypatch.setenv("FORMICARY_TOKEN", secret)
    assert formicary("status", "--server", server.url).code == 0
    refused = formicary("trigger", "ci", "--server", server.url)
    assert refused.code == 1 and "needs the role developer" in refused.err
    monkeypatch.delenv("FORMICARY_TOKEN")
    number = next(one["id"] for one in json.loads(here("token", "list", "--json").out) if one["name"] == "laptop")
    assert here("token", "revoke", number).out == f"token {number} is revoked\n"
    monkeypatch.setenv("FORMICARY_TOKEN", secret)
    assert "does not take this token" in formicary("status", "--server", server.url).err


def test_a_token_for_ever_and_for_one_repository(here):
    made = json.loads(here("token", "create", "x", "--repo", "app", "--expires", "never", "--json").out)
    assert (made["expires_at"], made["repository"], made["role"]) == (None, "app", "viewer")
    here("token", "revoke", made["id"])


@pytest.mark.parametrize("said", ["2y", "0d", "d", "-1d", "999999w"])
def test_a_lifetime_that_is_none(said, here):
    assert here("token", "create", "x", "--expires", said).code == 2


def test_doctor_likes_what_a_server_made(here, server):
    said = here("doctor")
    assert said.code == 0, said.out
    assert f"A server runs at {server.url}, and it is ready." in said.out


def test_doctor_finds_what_is_wrong(here, server):
    orphan = server.data / "logs" / "99" / "99999-1.log"
    orphan.parent.mkdir()
    orphan.touch()
    (server.data / "admin.token").chmod(0o644)
    said = here("doctor")
    found = json.loads(here("doctor", "--json").out)
    orphan.unlink()
    (server.data / "admin.token").chmod(0o600)
    assert said.code == 1
    assert f"run chmod 600 {server.data / 'admin.token'}" in said.out
    assert f"delete them: {orphan}" in said.out
    assert {one["part"] for one in found if not one["ok"]} == {"secrets", "logs"}


async def test_doctor_says_what_could_not_be_told_to_the_outside(formicary, tmp_path, monkeypatch):
    """D10: dead letters are visible, and so is what waits for hours."""
    monkeypatch.setenv("FORMICARY_PORT", "0")
    now = [time.time() - 7200]
    store = open_store(tmp_path / "data", clock=lambda: now[0])
    (tmp_path / "data").chmod(0o700)
    await store.write(lambda tx: tx.owe("status", "k", {}))
    late = formicary("doctor", "--data", tmp_path / "data")
    (entry,) = store.read().outbox().records
    await store.write(lambda tx: tx.defer(entry.id, due_at=0.0, error="there is no token for app", dead=True))
    dead = formicary("doctor", "--data", tmp_path / "data")
    store.close()
    assert late.code == dead.code == 1
    assert "A message to the outside waits, the oldest for 2 h" in late.out
    assert "such as this status: there is no token for app. See formicary outbox list --dead." in dead.out


async def test_doctor_names_the_repositories_that_cannot_be_read(formicary, tmp_path, monkeypatch):
    monkeypatch.setenv("FORMICARY_PORT", "0")
    store = open_store(tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    away = Repository(id=0, name="app", path="/m", state="unavailable", error="Its token is wrong.")
    await store.write(lambda tx: tx.put_repository(away))
    await store.write(lambda tx: tx.put_repository(Repository(id=0, name="lib", path="/n")))
    store.close()
    said = formicary("doctor", "--data", tmp_path / "data")
    assert said.code == 1 and "1 of 2 cannot be read. app: Its token is wrong." in said.out


def test_doctor_before_the_first_start(formicary, tmp_path, monkeypatch):
    monkeypatch.setenv("FORMICARY_PORT", "0")
    said = formicary("doctor", "--data", tmp_path / "none")
    assert said.code == 0 and "`formicary serve` makes it" in said.out
