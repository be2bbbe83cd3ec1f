"""`formicary deliveries` and `formicary outbox` against a server that runs."""

import json
import sqlite3
import urllib.request

import pytest

from formicary.runner.store.connect import FILE_NAME
from formicary.webhook.datafolder import hook_secret
from formicary.webhook.forges.signature import sign


@pytest.fixture(scope="module")
def delivery(server):
    """A delivery of a commit that the server has run."""
    repository = server.get("/api/repos")["records"][0]

    class Named:
        id = repository["id"]

    secret = hook_secret(server.data, Named())
    server.repo.commit({"more": "1"})
    body = json.dumps({"repository": repository["name"], "refs": [{"ref": "refs/heads/main"}]}).encode()
    headers = {"X-Formicary-Signature-256": sign(secret, body), "X-Formicary-Delivery": "d-1"}
    request = urllib.request.Request(f"{server.url}/hooks/commit", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        number = json.load(answer)["delivery_id"]
    server.wait(lambda: server.get(f"/api/deliveries/{number}")["verdict"] != "accepted")
    server.ended(2)
    return number


def test_deliveries_are_listed_and_shown(here, delivery):
    said = here("deliveries", "list")
    assert said.code == 0
    for word in ("verdict", "commit", "now" if "now" in said.out else "ago"):
        assert word in said.out
    assert [one["id"] for one in json.loads(here("deliveries", "list", "--json").out)] == [delivery]
    said = here("deliveries", "show", delivery)
    assert "refs/heads/main" in said.out and "d-1" in said.out
    assert json.loads(here("deliveries", "show", delivery, "--json").out)["body"].startswith('{"repository"')


def test_a_replay_makes_no_second_request(here, server, delivery):
    """T10."""
    before = server.get("/api/jobs/requests")["total_records"]
    shown = server.get(f"/api/deliveries/{delivery}")
    found = json.loads(here("deliveries", "replay", delivery, "--json").out)
    assert {**found, "body": shown["body"]} == shown
    said = here("deliveries", "replay", delivery)
    assert said.code == 0 and shown["verdict"] in said.out
    assert server.get("/api/jobs/requests")["total_records"] == before
    assert f"delivery {delivery} (commit) is replayed, asked for by admin" in server.said()


def test_a_delivery_that_is_not_there(here):
    said = here("deliveries", "replay", 99)
    assert (said.code, said.err) == (1, "error: There is no delivery 99.\n")


@pytest.fixture
def dead(server):
    """A dead letter of a sort that nobody sends any more, so that it counts as done when it is tried."""
    with sqlite3.connect(server.data / FILE_NAME, timeout=10) as connection:
        number = connection.execute(
            "INSERT INTO outbox (organization_id, kind, key, attempts, created_at, due_at, error, dead, payload)"
            " VALUES ('default', 'pigeon', 'a message', 35, 1, 5e9, 'nobody is at home', 1, '{}') RETURNING id"
        ).fetchone()[0]
    connection.close()
    return number


def test_a_dead_letter_is_shown_and_sent_again(here, server, dead):
    """D10."""
    said = here("outbox", "list", "--dead")
    for word in ("pigeon", "a message", "35", "dead", "nobody is at home"):
        assert word in said.out
    assert [one["id"] for one in json.loads(here("outbox", "list", "--dead", "--json").out)] == [dead]
    said = here("outbox", "resend", dead)
    assert said.code == 0 and "pigeon a message is sent again" in said.out
    server.wait(lambda: server.get("/api/outbox?kind=pigeon")["total_records"] == 0)
    assert here("outbox", "list", "--dead").out == "no dead letters\n"
    assert here("outbox", "resend", dead).code == 1


def test_all_dead_letters_at_once(here, server, dead):
    assert [one["key"] for one in json.loads(here("outbox", "resend", "--all", "--json").out)] == ["a message"]
    server.wait(lambda: server.get("/api/outbox?kind=pigeon")["total_records"] == 0)
    assert here("outbox", "resend", "--all").out == "no dead letters\n"


def test_nothing_named_is_nothing_sent(here):
    for words in (("resend",), ("resend", "1", "--all")):
        said = here("outbox", *words)
        assert said.code == 1 and "--all" in said.err
