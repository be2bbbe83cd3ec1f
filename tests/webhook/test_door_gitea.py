"""Gitea's and Forgejo's hook: bare HMAC, its events as its documentation has them, and what becomes of each."""

import hashlib
import hmac
import json
from urllib.parse import urlencode

import pytest
from bending import bent
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.core.records import Fact
from formicary.webhook.forges import gitea

HOOK = "/hooks/gitea"
SECRET = b"it's a secret"
HEAD, ZEROS = "bffeb74224043ba2feb48d137756c8a9331c449a", "0" * 40
HILL = {"id": 140, "name": "hill", "full_name": "acme/hill", "private": False}
USER = {"id": 1, "login": "gitea", "full_name": "Gitea", "username": "gitea"}


def push(**fields):
    """docs.gitea.com/usage/webhooks, as far as anybody here reads it."""
    return {
        "ref": "refs/heads/develop",
        "before": "28e1879d029cb852e4844d9c718537df08844e03",
        "after": HEAD,
        "compare_url": "http://localhost:3000/acme/hill/compare/28e1879d029c...bffeb7422404",
        "commits": [{"id": HEAD, "message": "Webhooks Yay!", "author": {"name": "Gitea", "email": "someone@gitea.io"}}],
        "repository": HILL,
        "pusher": USER,
        "sender": USER,
        **fields,
    }


def change(ref, kind, **fields):
    return {"sha": HEAD, "ref": ref, "ref_type": kind, "repository": HILL, "sender": USER, **fields}


def pull(action="opened", **fields):
    sides = {
        "head": {"label": "topic", "ref": "topic", "sha": HEAD, "repo_id": 140, "repo": HILL},
        "base": {"label": "main", "ref": "main", "sha": "b" * 40, "repo_id": 140, "repo": HILL},
    }
    said = {
        "id": 3,
        "number": 7,
        "user": USER,
        "title": "Say more",
        "labels": [{"id": 2, "name": "bug", "color": "ee0701"}],
        "state": "open",
        "mergeable": True,
        "merged": False,
        "merge_commit_sha": None,
        "updated_at": "2026-01-01T00:00:00+01:00",
        **sides,
        **fields,
    }
    about = {"action": action, "number": 7, "pull_request": said, "repository": HILL, "sender": USER}
    return {**about, "commit_id": "", "review": None}


def fact(event, payload):
    return gitea.fact_of(gitea.event_of({"x-gitea-event": event}), json.dumps(payload))


@pytest.mark.parametrize(
    ("event", "payload", "refs"),
    [
        ("push", push(), ("refs/heads/develop",)),
        ("push", push(ref="refs/tags/v1", before=ZEROS), ("refs/tags/v1",)),
        ("push", push(after=ZEROS, commits=[]), ("refs/heads/develop",)),
        ("create", change("$(x) ü", "branch"), ("refs/heads/$(x) ü",)),
        ("create", change("v1", "tag"), ("refs/tags/v1",)),
        ("delete", change("v1", "tag", pusher_type="user"), ("refs/tags/v1",)),
    ],
)
def test_what_has_moved(event, payload, refs):
    found = fact(event, payload)
    assert (found.event, found.slug, found.sender, found.refs) == (event, "acme/hill", "gitea", refs)


@pytest.mark.parametrize(
    ("event", "said", "action"),
    [
        ("pull_request", "opened", "opened"),
        ("pull_request", "reopened", "reopened"),
        ("pull_request", "closed", "closed"),
        ("pull_request", "edited", "edited"),
        ("pull_request", "synchronized", "synchronize"),
        ("pull_request_sync", "synchronized", "synchronize"),
        ("pull_request", "label_updated", "labeled"),
        ("pull_request_label", "label_cleared", "unlabeled"),
        ("pull_request", "assigned", "assigned"),
    ],
)
def test_pull_requests_are_told_as_github_tells_them(event, said, action):
    found = fact(event, pull(said))
    assert (found.event, found.action) == ("pull_request", action)
    one = found.pull_request
    assert (one.number, one.head_commit, one.base_commit, one.author) == (7, HEAD, "b" * 40, "gitea")
    assert not one.fork and one.labels == ("bug",) and one.merge_commit == "" and one.updated_at == 1767222000.0


@pytest.mark.parametrize("repo", [None, {"full_name": "mallory/hill"}])
def test_what_is_not_known_to_be_of_this_repository_is_a_forks(repo):
    """T3: a fork that was deleted too."""
    assert fact("pull_request", pull(head={"ref": "topic", "sha": HEAD, "repo": repo})).pull_request.fork


@pytest.mark.parametrize("event", ["issues", "release", "pull_request_review_approved", "pull_request_comment", "fork"])
def test_nothing_follows_from_anything_else(event):
    payload = pull("reviewed") if event.startswith("pull_request_review") else {"action": "x", "repository": HILL}
    assert fact(event, payload).event == "other"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["push", "create", "pull_request", "other"]), bent([push(), change("v1", "tag"), pull()]))
def test_whatever_stands_in_a_payload_is_read_or_refused(event, payload):
    """A ValueError (which the door answers 400 or 422), or a fact that can be kept; nothing else ever."""
    try:
        found = fact(event, payload)
    except ValueError:
        return
    assert Fact.model_validate(json.loads(json.dumps(found.model_dump(mode="json")))) == found
    if found.pull_request and not (found.slug and found.pull_request.head_slug):
        assert found.pull_request.fork, "T3: whose head it is not known to be, is not trusted"


@pytest.fixture
async def ant_hill(store, repository, door):
    hill = repository.model_copy(update={"forge": "gitea", "slug": "Acme/Hill"})
    await store.write(lambda tx: tx.put_repository(hill))
    door.forge_secret = lambda one: SECRET if one.id == hill.id else None
    return hill


@pytest.fixture
def post(client):
    async def post(payload, event="push", delivery="d-1", secret=SECRET, maker="Gitea", form=False, **headers):
        text = payload if isinstance(payload, bytes) else json.dumps(payload, indent=2).encode()
        body = urlencode({"payload": text.decode()}).encode() if form else text
        said = {
            "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
            f"X-{maker}-Event": event,
            f"X-{maker}-Delivery": delivery,
            f"X-{maker}-Signature": hmac.new(secret, body, hashlib.sha256).hexdigest(),
        }
        return await client.post(HOOK, content=body, headers={**said, **headers})

    return post


@pytest.mark.parametrize("maker", ["Gitea", "Forgejo"])
@pytest.mark.parametrize("form", [False, True])
async def test_a_push_is_written_down_and_wakes_the_reconciler(post, ant_hill, store, door, maker, form):
    """D1, T10: on disk before 202; seen before, it starts nothing."""
    first, again = [await post(push(), maker=maker, form=form) for _ in range(2)]
    assert (first.status_code, again.status_code) == (202, 200)
    delivery = store.read().delivery_by_id(first.json()["delivery_id"])
    assert (delivery.forge, delivery.event, delivery.repository_id) == ("gitea", "push", ant_hill.id)
    assert door.reconciler.woken == [ant_hill.id]


async def test_a_fact_counts_once_by_its_body_too(post, ant_hill, store):
    """T10: the id is not signed."""
    answers = [await post(pull(), "pull_request", name) for name in "ab"]
    assert [answer.status_code for answer in answers] == [202, 200]
    assert store.read().deliveries().total_records == 1


@pytest.mark.parametrize("signature", ["", "0" * 64, "sha256=" + "0" * 64, "é", HEAD])
async def test_without_a_good_signature_nothing_is_read(post, ant_hill, store, signature):
    """T9; what GitHub would send is none here either."""
    answer = await post(b"{", **{"X-Gitea-Signature": signature.encode()})
    assert answer.status_code == 401 and store.read().deliveries().total_records == 0


async def test_no_secret_no_hook_and_a_default_for_all(post, ant_hill, door):
    door.forge_secret = lambda _: None
    assert (await post(push())).status_code == 401
    door.default_secrets = {"gitea": SECRET, "github": b"x"}
    assert (await post(push())).status_code == 202
    assert (await post(push(), secret=b"x")).status_code == 401


@pytest.mark.parametrize(
    ("payload", "event", "status"),
    [(b"{", "push", 400), (b"[]", "push", 400), (push(ref="x"), "push", 422), (pull(number=0), "pull_request", 422)],
)
async def test_what_cannot_be_read_is_said(post, ant_hill, store, payload, event, status):
    assert (await post(payload, event)).status_code == status
    assert store.read().deliveries().total_records == 0


async def test_a_delivery_has_a_name(post, ant_hill):
    assert (await post(push(), delivery="")).status_code == 400
