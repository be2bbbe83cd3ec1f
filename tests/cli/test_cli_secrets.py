"""`formicary secrets`: values come from a pipe, a file or a terminal; not from the command line, not to the output."""

import os
import pty
import subprocess

import pytest
from servers import FORMICARY, environment

from formicary.cli.secrets import value_of

VALUE = "hunter2-from-a-pipe"


@pytest.fixture
def piped(here, monkeypatch, tmp_path):
    """`formicary secrets set` with this on its standard input."""

    def call(text, *words):
        file = tmp_path / "piped"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with open(file) as opened:
            monkeypatch.setattr("sys.stdin", opened)
            return here("secrets", "set", *words)

    return call


@pytest.fixture(autouse=True)
def nothing_left(here, server):
    yield
    for one in server.get("/api/secrets")["records"]:
        server.call(f"/api/secrets/{one['id']}", "DELETE")


def test_set_list_replace_and_remove(here, piped):
    said = piped(
        VALUE + "\n", "DeployKey", "--repo", "app", "--branch", "main", "--branch", "release/*", "--event", "push"
    )
    assert (said.code, said.out) == (
        0,
        "DeployKey is set for app, branches main release/*, events push\n",
    )
    assert piped("other-value", "DeployKey", "--repo", "app").out == "DeployKey has its new value for app\n"
    assert piped("org-value", "DeployKey").out == "DeployKey is set for all repositories\n"
    assert "app, job ci" in piped("job-value", "DeployKey", "--repo", "app", "--job", "ci").out
    shown = here("secrets", "list")
    assert [line.split()[0] for line in shown.out.splitlines()] == ["name", "DeployKey", "DeployKey", "DeployKey"]
    assert "value" not in shown.out and "admin" in shown.out
    assert here("secrets", "list", "--repo", "app", "--json").out.count('"DeployKey"') == 2
    assert here("secrets", "rm", "DeployKey", "--repo", "app").code == 0
    assert here("secrets", "rm", "DeployKey", "--repo", "app").code == 1
    assert here("secrets", "rm", "DeployKey", "--repo", "app", "--job", "ci").code == 0
    assert here("secrets", "rm", "DeployKey").code == 0
    assert "there are no secrets" in here("secrets", "list").out


@pytest.mark.parametrize("words", [["Key=hunter2"], ["Key", "hunter2"], ["Key", "=", "hunter2"]])
def test_a_value_on_the_command_line_is_refused(here, words):
    said = here("secrets", "set", *words)
    assert said.code == 1 and "everybody on this machine" in said.err
    assert "hunter2" not in said.err + said.out


def test_credentials(here, piped):
    assert "app" in piped("tok-en", "token", "--credential", "--repo", "app").out
    assert "token (credential)" in here("secrets", "list").out
    assert piped("x", "token", "--credential").code == 1
    assert here("secrets", "rm", "token", "--repo", "app").code == 1
    assert here("secrets", "rm", "token", "--repo", "app", "--credential").code == 0


def test_what_is_wrong_is_said(here, piped):
    assert "letters, digits and _" in piped(VALUE, "a-b").err
    assert "The value is empty" in piped("\n", "Key").err
    assert "no text in UTF-8" in piped(b"\xff\xfe", "Key").err
    assert "no repository" in piped(VALUE, "Key", "--repo", "gone").err.lower()
    assert "cannot be masked" in piped("abc", "Short").err


def test_the_line_end_of_a_file_is_no_part_of_a_credential(tmp_path):
    """`openssl rand -hex 32 > file` ends its line; a hook that is signed with the secret does not."""
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    assert value_of("webhook_secret", file, a_line=True) == "s3cret"
    assert value_of("deploy_key", file) == "s3cret\n"


def test_a_file_is_taken_as_it_is_and_a_pipe_without_its_last_line_end(here, piped, server, tmp_path):
    file = tmp_path / "key"
    file.write_text("line one\nline two\n")
    assert here("secrets", "set", "Multi", "--file", file).code == 0
    assert piped("piped\r\n", "Piped").code == 0
    echo = 'wc -c < /dev/null; printf %s "$Multi" | wc -c; printf %s "$Piped" | wc -c'
    server.repo.commit({".formicary/wc.yml": f"job_type: wc\nscript: ['{echo}']\n"})
    server.wait(lambda: "wc" in server.call("/api/jobs/definitions")[1])
    said = here("trigger", "wc", "--wait", "--json")
    found = server.get(f"/api/jobs/requests/{server.get('/api/jobs/requests')['records'][0]['id']}/tasks")["records"]
    log = server.call(f"/api/tasks/{found[0]['attempts'][0]['id']}/log")[1]
    assert said.code == 0 and log.split() == ["0", "18", "5"]


def test_at_a_terminal_it_is_asked_for_twice_and_not_shown(server):
    """Typed into a real terminal: the other end sees no letter of it."""
    ours, theirs = pty.openpty()
    words = [*FORMICARY, "secrets", "set", "Typed", "--data", str(server.data)]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True
    )
    os.close(theirs)
    shown = b""
    for prompt in (b"value of Typed: ", b"confirmation: "):
        while prompt not in shown.split(b"\n")[-1]:
            shown += os.read(ours, 4096)
        os.write(ours, b"typed-s3cret\n")
    while b"is set for" not in shown:
        shown += os.read(ours, 4096)
    assert process.wait(20) == 0 and b"typed-s3cret" not in shown
    os.close(ours)
    assert server.get("/api/secrets")["records"][0]["name"] == "Typed"
