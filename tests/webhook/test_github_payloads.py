"""GitHub's own examples of its hooks, and what is left of them when somebody has bent them."""

import copy
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.core.records import Fact
from formicary.webhook.forges.github import fact_of

EXAMPLES = Path(sys.prefix) / "doubles" / "node_modules" / "@octokit" / "webhooks-examples" / "api.github.com"


def examples():
    """(event, payload) of every example; none where they are not installed (make doubles)."""
    try:
        found = json.loads((EXAMPLES / "index.json").read_text("utf-8"))
    except FileNotFoundError:
        return []
    return [(event["name"], payload) for event in found for payload in event["examples"]]


ALL = examples()
PULLS = [payload for event, payload in ALL if event == "pull_request"]


@pytest.fixture(autouse=True)
def there():
    if not ALL:
        if "prism" in os.environ.get("FORMICARY_REQUIRE", ""):
            pytest.fail("FORMICARY_REQUIRE names prism, whose examples of hooks are not installed; run: make doubles")
        pytest.skip("no examples of GitHub's hooks here (make doubles)")


def test_every_example_is_read():
    """Those that something follows from with their refs or their pull request, all others as other."""
    events = {event: fact_of(event, json.dumps(payload)) for event, payload in ALL}
    assert {"push", "create", "delete", "pull_request", "ping", "star", "issues"} <= events.keys()
    for event, payload in ALL:
        fact = fact_of(event, json.dumps(payload))
        assert fact.slug == (payload.get("repository") or {}).get("full_name", "")
        assert fact.action == (payload.get("action") or "")
        assert fact.event == (event if event in ("push", "create", "delete", "pull_request", "ping") else "other")
        assert bool(fact.refs) is (event in ("push", "create", "delete"))
        assert Fact.model_validate(fact.model_dump(mode="json")) == fact, "as it lies in the ledger"


def test_pull_requests_are_what_github_says():
    for payload in PULLS:
        said, pull = payload["pull_request"], fact_of("pull_request", json.dumps(payload)).pull_request
        assert (pull.number, pull.title, pull.state) == (said["number"], said["title"], said["state"])
        assert (pull.head_commit, pull.base_ref) == (said["head"]["sha"], said["base"]["ref"])
        assert pull.author == said["user"]["login"] and pull.merge_commit == (said["merge_commit_sha"] or "")
        assert pull.fork is (said["head"]["repo"]["full_name"] != payload["repository"]["full_name"])


def places(value, path=()):
    """Every place in a payload, as the keys that lead to it."""
    found = [path] if path else []
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        found += places(part, (*path, key))
    return found


JUNK = st.one_of(
    st.just("\ud800"),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=50),
    st.just({}),
    st.just([]),
    st.just("🐜" * 3000),
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_payload_is_read_or_refused(data):
    """A ValueError (which the door answers 400 or 422), or a fact that can be kept; nothing else ever."""
    event, payload = data.draw(st.sampled_from([one for one in ALL if one[0] in ("push", "create", "pull_request")]))
    bent = copy.deepcopy(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        *folders, last = data.draw(st.sampled_from(places(bent)))
        there = bent
        for key in folders:
            there = there[key]
        if data.draw(st.booleans()):
            there[last] = data.draw(JUNK)
        else:
            del there[last]
    try:
        fact = fact_of(event, json.dumps(bent))
    except ValueError:
        return
    assert Fact.model_validate(json.loads(json.dumps(fact.model_dump(mode="json")))) == fact
    if fact.pull_request and not (fact.slug and fact.pull_request.head_slug):
        assert fact.pull_request.fork, "T3: whose head it is not known to be, is not trusted"
