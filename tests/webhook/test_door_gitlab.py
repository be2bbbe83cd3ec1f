"""GitLab's hook: its token or its signature, its events as its documentation has them, and what becomes of each."""

import base64
import hashlib
import hmac
import json

import pytest
from bending import bent
from hypothesis import given, settings

from formicary.runner.core.records import Fact
from formicary.webhook.forges import gitlab

HOOK = "/hooks/gitlab"
TOKEN = b"a long secret"
KEY = bytes(range(32))
SIGNING = b"whsec_" + base64.b64encode(KEY)
HEAD, ZEROS = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "0" * 40
HILL = {"id": 14, "path_with_namespace": "acme/ants/hill", "default_branch": "main"}


def push(**fields):
    """docs.gitlab.com/user/project/integrations/webhook_events/#push-events, as far as anybody here reads it."""
    return {
        "object_kind": "push",
        "event_name": "push",
        "before": "95790bf891e76fee5e1747ab589903a6a1f80f22",
        "after": HEAD,
        "ref": "refs/heads/main",
        "ref_protected": True,
        "checkout_sha": HEAD,
        "user_id": 4,
        "user_name": "John Smith",
        "user_username": "jsmith",
        "user_email": "john@example.com",
        "project_id": 14,
        "project": HILL,
        "repository": {"name": "Hill", "url": "git@example.com:acme/ants/hill.git"},
        "commits": [
            {"id": HEAD, "message": "fixed readme", "author": {"name": "x", "email": "gitlabdev@dv6700.(none)"}}
        ],
        "total_commits_count": 4,
        **fields,
    }


def merge(action="open", *, changes=None, project=HILL, user_id=51, **fields):
    """…#merge-request-events."""
    attributes = {
        "id": 99,
        "iid": 7,
        "target_branch": "main",
        "source_branch": "ms-viewport",
        "source_project_id": 14,
        "target_project_id": 14,
        "author_id": 51,
        "title": "MS-Viewport",
        "updated_at": "2013-12-03T17:23:34Z",
        "state": "opened",
        "draft": False,
        "work_in_progress": False,
        "source": HILL,
        "target": HILL,
        "last_commit": {"id": HEAD, "message": "fixed readme", "title": "Update file README.md"},
        "labels": [{"id": 206, "title": "API"}],
        "action": action,
        **fields,
    }
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": {"id": user_id, "name": "Administrator", "username": "root", "email": "admin@example.com"},
        "project": project,
        "object_attributes": attributes,
        "changes": changes or {},
    }


def fact(payload):
    return gitlab.fact_of(json.dumps(payload))


# What is said


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/$(x) ü/'a'", "refs/tags/v1.0.0"])
@pytest.mark.parametrize("after", [HEAD, ZEROS])
def test_pushes_of_branches_and_tags_new_gone_and_forced(ref, after):
    """Where it went is read from git; the delivery only says when to look."""
    kind = "tag_push" if "tags" in ref else "push"
    checkout = None if after == ZEROS else after
    found = fact(push(object_kind=kind, event_name=kind, ref=ref, after=after, checkout_sha=checkout, commits=[]))
    assert (found.event, found.slug, found.sender, found.refs) == ("push", "acme/ants/hill", "jsmith", (ref,))


@pytest.mark.parametrize(
    ("payload", "action", "state"),
    [
        (merge("open"), "opened", "open"),
        (merge("reopen"), "reopened", "open"),
        (merge("close", state="closed"), "closed", "closed"),
        (merge("merge", state="merged", merge_commit_sha="c" * 40), "closed", "closed"),
        (merge("update", oldrev="e" * 40), "synchronize", "open"),
        (merge("update", changes={"title": {"previous": "a", "current": "b"}}), "edited", "open"),
        (merge("update", changes={"draft": {"previous": True, "current": False}}), "ready_for_review", "open"),
        (merge("update", changes={"draft": {"previous": False, "current": True}}, draft=True), "edited", "open"),
        (merge("update", changes={"labels": {"previous": [], "current": [{"id": 1}]}}), "labeled", "open"),
        (merge("update", changes={"labels": {"previous": [{"id": 1}], "current": []}}), "unlabeled", "open"),
        (merge("approved"), "approved", "open"),
    ],
)
def test_merge_requests_are_told_as_github_tells_them(payload, action, state):
    found = fact(payload)
    pull = found.pull_request
    assert (found.event, found.action, found.slug, found.sender) == ("pull_request", action, "acme/ants/hill", "root")
    assert (pull.number, pull.state, pull.title, pull.author) == (7, state, "MS-Viewport", "root")
    assert (pull.head_ref, pull.head_commit, pull.base_ref) == ("ms-viewport", HEAD, "main")
    assert not pull.fork and pull.labels == ("API",) and pull.updated_at == 1386091414.0


@pytest.mark.parametrize(
    "fields",
    [
        {"source_project_id": 15},
        {"source_project_id": None, "source": None},
        {"source": {"path_with_namespace": "mallory/hill"}},
        {"source": None},
        {"target_project_id": None, "source_project_id": None},
    ],
)
def test_what_is_not_known_to_be_of_this_project_is_a_forks(fields):
    """T3: a fork that was deleted too."""
    assert fact(merge(**fields)).pull_request.fork


def test_only_the_author_is_the_author_and_times_come_in_two_ways():
    found = fact(merge(user_id=1, updated_at="2017-09-15 16:52:00 UTC", last_commit=None))
    assert found.pull_request.author == "" and found.sender == "root"
    assert found.pull_request.updated_at == 1505494320.0 and found.pull_request.head_commit == ""


@pytest.mark.parametrize("kind", ["note", "issue", "pipeline", "release", "wiki_page", None])
def test_nothing_follows_from_anything_else(kind):
    assert fact({"object_kind": kind, "project": HILL}).event == "other"


@pytest.mark.parametrize(
    "payload",
    [
        [],
        push(ref="main"),
        push(ref=None),
        merge(iid=0),
        merge(updated_at="soon"),
        merge(source_branch=None, target_branch=7),
        merge(last_commit={"id": "--upload-pack"}),
        {"object_kind": "merge_request"},
    ],
)
def test_what_gitlab_does_not_send_is_refused(payload):
    with pytest.raises(ValueError):
        fact(payload)


@settings(max_examples=200, deadline=None)
@given(bent([push(), merge(), merge("update", oldrev="e" * 40, changes={"labels": {"previous": [], "current": []}})]))
def test_whatever_stands_in_a_payload_is_read_or_refused(payload):
    """A ValueError (which the door answers 400 or 422), or a fact that can be kept; nothing else ever."""
    try:
        found = fact(payload)
    except ValueError:
        return
    assert Fact.model_validate(json.loads(json.dumps(found.model_dump(mode="json")))) == found
    if found.pull_request and not (found.slug and found.pull_request.head_slug):
        assert found.pull_request.fork, "T3: whose head it is not known to be, is not trusted"


# Who says it


@pytest.fixture
async def ant_hill(store, repository, door):
    hill = repository.model_copy(update={"forge": "gitlab", "slug": "Acme/ants/Hill"})
    await store.write(lambda tx: tx.put_repository(hill))
    door.forge_secret = lambda one: TOKEN if one.id == hill.id else None
    door.clock = lambda: 1_800_000_000.0
    return hill


@pytest.fixture
def post(client):
    async def post(payload, delivery="d-1", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        said = {"Content-Type": "application/json", "X-Gitlab-Event": "Push Hook", "Idempotency-Key": delivery}
        said.setdefault("X-Gitlab-Token", TOKEN.decode())
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await client.post(HOOK, content=body, headers={**said, **headers})

    return post


def signed(body, key=KEY, at=1_800_000_000, name="d-1", more=""):
    mac = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    said = f"{more}v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": said, "X-Gitlab-Token": ""}


async def test_a_push_is_written_down_and_wakes_the_reconciler(post, ant_hill, store, door):
    """D1, T10: on disk before 202; seen before, it starts nothing. Capitals of the name do not count."""
    first = await post(push())
    assert first.status_code == 202
    delivery = store.read().delivery_by_id(first.json()["delivery_id"])
    assert (delivery.forge, delivery.event, delivery.verdict) == ("gitlab", "push", "accepted")
    again = await post(push())
    assert again.status_code == 200 and again.json()["delivery_id"] == delivery.id
    assert door.reconciler.woken == [ant_hill.id]


async def test_a_fact_counts_once_by_its_body_too(post, ant_hill, store):
    """T10: the id is not signed."""
    first, again = await post(merge(), "a"), await post(merge(), "b")
    assert (first.status_code, again.status_code) == (202, 200)
    assert store.read().deliveries().total_records == 1
    assert store.read().delivery_by_id(1).fact["pull_request"]["number"] == 7


@pytest.mark.parametrize("token", ["", "wrong", TOKEN.decode() + " x", TOKEN.decode()[:-1], "é"])
async def test_without_the_token_nothing_is_read(post, ant_hill, store, door, token):
    """T9: constant time, fail closed."""
    answer = await post(b"{", **{"X-Gitlab-Token": token.encode()})
    assert answer.status_code == 401 and store.read().deliveries().total_records == 0
    assert door.verdicts["bad_signature"] == 1


async def test_a_signature_where_a_signing_token_is_set(post, ant_hill, store, door):
    """T9: then the header's token alone is worth nothing."""
    door.forge_secret = lambda _: SIGNING
    body = json.dumps(push()).encode()
    assert (await post(body, **signed(body))).status_code == 202
    assert (await post(body, **signed(body, name="d-2", more="v1,AAAA v1a,x "))).status_code == 202
    for headers in (
        signed(body, key=b"x" * 32, name="3"),
        signed(b"{}", name="3"),
        {**signed(body, name="3"), "webhook-id": "4"},
        signed(body, at=1_800_000_000 - 4000, name="3"),
        {**signed(body, name="3"), "webhook-timestamp": ""},
        {**signed(body, name="3"), "webhook-signature": ""},
        {"X-Gitlab-Token": SIGNING.decode()},
    ):
        assert (await post(body, "5", **headers)).status_code == 401
    door.forge_secret = lambda _: b"whsec_no base64"
    assert (await post(body, **signed(body, key=b"", name="6"))).status_code == 401
    door.forge_secret = lambda _: b"whsec_"
    assert (await post(body, **signed(body, key=b"", name="6"))).status_code == 401


async def test_no_secret_no_hook_and_a_default_for_all(post, ant_hill, store, door):
    door.forge_secret = lambda _: None
    assert (await post(push())).status_code == 401
    door.default_secrets = {"gitlab": TOKEN}
    assert (await post(push())).status_code == 202
    stranger = await post(push(project={"path_with_namespace": "some/where"}), "d-2")
    assert stranger.status_code == 202
    assert "no repository some/where is watched" in store.read().delivery_by_id(2).reason


async def test_a_secret_speaks_for_its_own_repository_only(post, ant_hill, store):
    answer = await post(push(project={"path_with_namespace": "other/one"}))
    assert answer.status_code == 401 and store.read().deliveries().total_records == 0


async def test_deliveries_without_a_name_are_known_by_what_they_say(client, ant_hill):
    """Versions before 16.2 name none."""
    headers = {"Content-Type": "application/json", "X-Gitlab-Token": TOKEN.decode()}
    answers = [
        await client.post(HOOK, json=payload, headers=headers) for payload in (push(), push(), push(after=ZEROS))
    ]
    assert [answer.status_code for answer in answers] == [202, 200, 202]


@pytest.mark.parametrize(
    ("payload", "status"),
    [(b"{", 400), (b"[]", 400), (b"\xff", 400), (b"[" * 100_000, 400), (push(ref="x"), 422), (merge(iid="x"), 422)],
)
async def test_what_cannot_be_read_is_said(post, ant_hill, store, payload, status):
    assert (await post(payload)).status_code == status
    assert store.read().deliveries().total_records == 0


async def test_gitlab_sends_no_forms(post, ant_hill):
    assert (await post(b"payload=%7B%7D", **{"Content-Type": "application/x-www-form-urlencoded"})).status_code == 415
