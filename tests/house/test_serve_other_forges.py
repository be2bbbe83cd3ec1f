"""A repository at GitLab and at Gitea, from the hook to the status on the commit: a server, the forge's double, git."""

import base64
import hashlib
import hmac
import json
import time
import urllib.request

import pytest
from otherforges import SECRET as TOKEN

CI = """
job_type: ci
triggers: {push: {branches: [main]}, pull_request: {branches: [main]}}
script: ['echo "$GitEvent $GitBranch $GitPullRequest"', 'exit "$(cat code)"']
"""
KEY = base64.b64encode(bytes(range(32))).decode()
SIGNING = f"whsec_{KEY}"
NAMES = ("gitlab", "gitea")


class Hook:
    """Calls the server as the forge does."""

    def __init__(self, name, server, double):
        self.name, self.server, self.double, self.number = name, server, double, 0

    def send(self, event, payload):
        """The delivery, once it is settled."""
        self.number += 1
        body = json.dumps(payload).encode()
        headers = {"Content-Type": "application/json", **self._proof(event, body)}
        request = urllib.request.Request(f"{self.server.url}/hooks/{self.name}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 202
            number = json.loads(answer.read())["delivery_id"]

        def look():
            found = self.server.get(f"/api/deliveries/{number}")
            return found if found["verdict"] != "accepted" else None

        return self.server.wait(look)

    def _proof(self, event, body):
        if self.name == "gitea":
            mac = hmac.new(SIGNING.encode(), body, hashlib.sha256).hexdigest()
            return {"X-Gitea-Signature": mac, "X-Gitea-Event": event, "X-Gitea-Delivery": f"d-{self.number}"}
        named, at = f"d-{self.number}", str(int(time.time()))
        mac = hmac.new(base64.b64decode(KEY), f"{named}.{at}.".encode() + body, hashlib.sha256).digest()
        signed = f"v1,{base64.b64encode(mac).decode()}"
        return {"webhook-id": named, "webhook-timestamp": at, "webhook-signature": signed}

    def push(self, before, after):
        moved = {"ref": "refs/heads/main", "before": before, "after": after}
        if self.name == "gitea":
            return self.send("push", {**moved, "repository": {"full_name": "acme/app"}, "sender": {"login": "ada"}})
        return self.send("push", {**moved, "object_kind": "push", "project": {"path_with_namespace": "acme/app"}})

    def pull(self, head, base):
        if self.name == "gitea":
            repo, more = {"full_name": "acme/app"}, {"title": "Say more", "updated_at": "2026-01-01T00:00:00Z"}
            sides = {"head": ("topic", head), "base": ("main", base)}
            pull = {name: {"ref": ref, "sha": sha, "repo": repo} for name, (ref, sha) in sides.items()}
            about = {"action": "opened", "pull_request": {"number": 7, **more, **pull}, "repository": repo}
            return self.send("pull_request", about)
        project = {"id": 2, "path_with_namespace": "acme/app"}
        said = {"iid": 7, "state": "opened", "action": "open", "title": "Say more", "source": project}
        branches = {"source_branch": "topic", "target_branch": "main", "source_project_id": 2, "target_project_id": 2}
        about = {**said, **branches, "last_commit": {"id": head}, "updated_at": "2026-01-01T00:00:00Z"}
        return self.send("mr", {"object_kind": "merge_request", "project": project, "object_attributes": about})


@pytest.fixture
def watched(serve, repo, http_site, tmp_path, other_forge):
    def start(name):
        first = repo.commit({".formicary/ci.yml": CI, "code": "0\n"})
        double = other_forge(name)
        (tmp_path / "formicary.toml").write_text(
            f'url = "https://ci.example"\n[[repo]]\nurl = "{http_site.url(repo.path / ".git")}"\nname = "app"\n'
            f'forge = "{name}"\nslug = "acme/app"\napi_url = "{double.url}"\ntoken_env = "APP_TOKEN"\n'
        )
        secret = {f"FORMICARY_{name.upper()}_WEBHOOK_SECRET": SIGNING}
        server = serve(tmp_path, "--poll", "600", APP_TOKEN=TOKEN, **secret)
        server.ended(1)
        return Hook(name, server, double), first

    return start


@pytest.mark.parametrize("name", NAMES)
def test_from_the_hook_to_the_status(watched, repo, name):
    """The poll is minutes away: the hook alone tells of it. The merge request's branch is gone, its head is kept."""
    hook, first = watched(name)
    states = {post["commit"]: post["state"] for post in hook.double.wait(1)}
    assert first in states
    second = repo.commit({"code": "3\n"})
    assert len(hook.push(first, second)["request_ids"]) == 1
    repo.git("checkout", "-q", "-b", "topic")
    head = repo.commit({"code": "0\n"})
    repo.git("update-ref", f"refs/{'merge-requests' if name == 'gitlab' else 'pull'}/7/head", head)
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-q", "-D", "topic")
    (number,) = hook.pull(head, second)["request_ids"]
    hook.server.ended(3)
    request = hook.server.get(f"/api/jobs/requests/{number}")
    assert (request["state"], request["commit"], request["event"]) == ("COMPLETED", head, "pull_request")
    hook.server.wait(lambda: hook.server.get("/api/outbox")["total_records"] == 0)
    failed = "failed" if name == "gitlab" else "failure"
    found = {post["commit"]: (post["state"], post["description"]) for post in hook.double.posts}
    assert (found[second][0], found[head][0]) == (failed, "success")
    assert found[second][1].startswith("`ci` failed: exit code 3")
    assert TOKEN not in hook.server.said() and SIGNING not in hook.server.said()
