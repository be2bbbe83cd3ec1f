"""A repository at GitHub, from the hook to the request: over HTTP, signed, pull requests and forks."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest

from formicary.webhook.forges.signature import sign

CI = """
job_type: ci
triggers: {push: {branches: [main]}, pull_request: {branches: [main]}}
script: ['echo "$GitEvent $GitBranch $GitPullRequest"', cat a.txt]
"""
SECRET = "it's a secret"
HILL = {"full_name": "acme/hill"}


class Hook:
    """Calls the server as GitHub does."""

    def __init__(self, server):
        self.server, self.number = server, 0

    def send(self, event, payload):
        """(status, delivery id)."""
        self.number += 1
        body = json.dumps({**payload, "repository": HILL, "sender": {"login": "ada"}}).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": sign(SECRET.encode(), body),
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": f"d-{self.number}",
        }
        request = urllib.request.Request(self.server.url + "/hooks/github", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())["delivery_id"]

    def pull(self, action, head, base, *, fork=False, at="2026-01-01T00:00:00Z"):
        repo = {"full_name": "mallory/hill"} if fork else HILL
        about = {
            "number": 7,
            "title": "Say more",
            "updated_at": at,
            "head": {"ref": "topic", "sha": head, "repo": repo},
            "base": {"ref": "main", "sha": base, "repo": HILL},
        }
        return self.send("pull_request", {"action": action, "pull_request": about})

    def settled(self, delivery_id):
        def look():
            found = self.server.get(f"/api/deliveries/{delivery_id}")
            return found if found["verdict"] != "accepted" else None

        return self.server.wait(look)


@pytest.fixture
def hill(serve, repo, http_site, tmp_path):
    """(hook, the commit of main), once its first look has run."""
    base = repo.commit({".formicary/ci.yml": CI, "a.txt": "one\n"})
    (tmp_path / "formicary.toml").write_text(
        f'[[repo]]\nurl = "{http_site.url(repo.path / ".git")}"\nname = "hill"\nforge = "github"\nslug = "acme/hill"\n'
    )
    server = serve(tmp_path, "--poll", "600", FORMICARY_GITHUB_WEBHOOK_SECRET=SECRET)
    server.ended(1)
    return Hook(server), base


def test_a_push_is_seen_by_its_hook(hill, repo):
    """The poll is minutes away: the hook alone tells of it."""
    hook, before = hill
    after = repo.commit({"a.txt": "two\n"})
    status, delivery_id = hook.send("push", {"ref": "refs/heads/main", "before": before, "after": after})
    assert status == 202
    newest = hook.server.ended(2)[0]
    assert (newest["commit"], newest["event"]) == (after, "push")
    assert hook.settled(delivery_id)["request_ids"] == [newest["id"]]


def test_a_pull_request_runs_although_its_branch_is_gone(hill, repo):
    """Its branch was deleted before anybody looked; the forge keeps the head."""
    hook, base = hill
    repo.git("checkout", "-q", "-b", "topic")
    head = repo.commit({"a.txt": "three\n"})
    repo.git("update-ref", "refs/pull/7/head", head)
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "topic")
    _, delivery_id = hook.pull("opened", head, base)
    newest = hook.server.ended(2)[0]
    assert (newest["commit"], newest["event"], newest["ref"]) == (head, "pull_request", "refs/pull/7/head")
    assert hook.settled(delivery_id)["verdict"] == "handled"
    (task,) = hook.server.get(f"/api/jobs/requests/{newest['id']}/tasks")["records"]
    status, log = hook.server.call(f"/api/tasks/{task['attempts'][0]['id']}/log")
    assert (status, log) == (200, "pull_request topic 7\nthree\n")


def test_a_fork_is_held_and_nothing_of_it_is_fetched(hill, repo):
    """T3."""
    hook, base = hill
    repo.git("checkout", "-q", "-b", "evil")
    head = repo.commit({".formicary/ci.yml": CI.replace("cat a.txt", "touch /tmp/evil")})
    repo.git("update-ref", "refs/pull/7/head", head)
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "evil")
    _, delivery_id = hook.pull("opened", head, base, fork=True)
    assert hook.settled(delivery_id)["verdict"] == "held"
    assert len(hook.server.get("/api/jobs/requests")["records"]) == 1
    (mirror,) = (hook.server.data / "mirrors").glob("*.git")
    known = subprocess.run(["git", "-C", mirror, "cat-file", "-e", head], capture_output=True)
    assert known.returncode != 0, "the commit of a fork is not here"


def test_what_nobody_signed_is_refused(hill):
    hook, _ = hill
    request = urllib.request.Request(hook.server.url + "/hooks/github", data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(request, timeout=20)
    refused.value.close()
