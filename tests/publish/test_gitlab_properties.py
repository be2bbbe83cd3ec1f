"""GitLab takes nothing back: whatever was said before and got lost on the way, the end is what was said last."""

import json
from urllib.parse import urlsplit

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from otherforges import SECRET, GitLabDouble

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import Repository
from formicary.runner.publish import rest
from formicary.runner.publish.gitlab import GitLab
from formicary.runner.publish.status import Status

COMMIT = "a" * 40
SAID = [("pending", "waiting"), ("pending", "running"), ("success", "passed"), ("failure", "failed"), ("error", "lost")]
THERE = {"waiting": {"pending", "running"}, "running": {"running"}, "passed": {"success"}}
#: What happens to a call: it lands or not, and its answer comes or not.
LUCK = st.sampled_from(["well", "well", "lost", "answer lost", "limited", "pipeline gone", "another pipeline"])


class Unlucky(GitLabDouble):
    """Without a server: the adapter's calls come straight here."""

    def __init__(self):
        super().__init__()
        self.close()
        self.luck = []

    async def call(self, method, url, headers, body=None, query=None):
        luck = self.luck.pop(0) if self.luck else "well"
        if luck == "lost":
            raise WorldError("lost")
        if luck == "limited":
            return rest.Answered(429, {"retry-after": "1"}, None)
        if luck == "pipeline gone":
            self.pipelines.clear()
        if luck == "another pipeline":
            self.pipeline(COMMIT)
        sent = {"user-agent": "formicary/1", **headers}
        code, said, data = self.take(method, urlsplit(url).path, sent, json.dumps(body).encode())
        if luck == "answer lost":
            return rest.Answered(502, {}, None)
        return rest.Answered(code, said, data, data.get("message", ""))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(SAID), min_size=1, max_size=12), st.lists(LUCK, max_size=40))
def test_what_is_posted_last_is_what_was_said_last(said, luck):
    double = Unlucky()
    double.luck = list(luck)
    repository = Repository(id=1, name="app", path="/p", forge="gitlab", slug="acme/app", api_url="http://x/api/v4")

    async def play():
        forge = GitLab(lambda *_: SECRET)
        for state, description in said:
            status = Status(COMMIT, "formicary/ci", state, description)
            for _ in range(60):  # as the outbox does
                try:
                    await forge.post_status(repository, status)
                    break
                except Undeliverable:
                    raise
                except (ToldToWait, WorldError):
                    continue

    real, rest.call = rest.call, double.call
    try:
        anyio.run(play)
    finally:
        rest.call = real
    last = double.last("formicary/ci")
    assert last[0] in THERE.get(said[-1][1], {"failed"}), (said, double.posts)
    assert double.mistakes == []
