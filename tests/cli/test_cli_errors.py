"""`formicary errors`: what failures are called, from the command line; and what it does to one."""

import json

import pytest


@pytest.fixture(autouse=True)
def nothing_left(here, server):
    yield
    for one in server.get("/api/errors")["records"]:
        server.call(f"/api/errors/{one['id']}", "DELETE")


def shown(here):
    return json.loads(here("errors", "list", "--json").out)


def test_set_change_and_forget(here):
    assert "no failure has a name" in here("errors", "list").out
    said = here("errors", "set", "ERR_DISK", "--regex", "No space left", "--hard", "--message", "clean up")
    assert said.code == 0 and said.out.endswith(" is set: no more tries\n")
    said = here("errors", "set", "ERR_DISK", "--regex", "No space left", "--retry", "2")
    assert said.code == 0 and said.out.endswith(" is changed: the task up to 2 times more\n")
    here("errors", "set", "ERR_DISK", "--exit-code", "28", "--job", "ci", "--retry-job", "1")
    first, second = shown(here)
    assert (first["action"], first["retry"], first["message"]) == ("RETRY_TASK", 2, "clean up")
    assert (second["exit_code"], second["job_type"], second["action"]) == (28, "ci", "RETRY_JOB")
    heads, *rows = here("errors", "list").out.splitlines()
    assert heads.split() == ["id", "code", "known", "by", "where", "then", "message"]
    assert "/No space left/" in rows[0] and "anywhere" in rows[0] and "exit 28" in rows[1] and "job=ci" in rows[1]
    assert here("errors", "rm", str(second["id"])).out == f"ERR_DISK ({second['id']}) is forgotten\n"
    assert here("errors", "rm", "ERR_DISK").code == 0 and shown(here) == []
    said = here("errors", "rm", "ERR_DISK")
    assert said.code == 1 and "there is no error code `ERR_DISK`" in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ERR_X"], "by what a failure is known"),
        (["ERR_X", "--regex", "("], "no regular expression of RE2"),
        (["x", "--exit-code", "1"], "error_code"),
        (["ERR_X", "--exit-code", "1", "--hard", "--retry", "1"], "exclude each other"),
    ],
)
def test_what_is_refused(here, words, why):
    said = here("errors", "set", *words)
    assert said.code == 1 and why in said.err
