"""`formicary explain` in a working tree, without a server."""

import json

import pytest

CI = "job_type: ci\ntriggers: {push: {branches: [main]}, pull_request: {}}\nscript: [make]\n"


@pytest.fixture
def project(repo, monkeypatch):
    sha = repo.commit({".formicary/ci.yml": CI})
    monkeypatch.chdir(repo.path)
    return repo, sha


def test_the_branch_that_is_checked_out_or_another_one(project, formicary):
    repo, _ = project
    said = formicary("explain")
    assert said.code == 0 and "runs" in said.out and "branch `main` is among `main`" in said.out
    repo.branch("topic")
    (found,) = json.loads(formicary("explain", "--push", "topic", "--json").out)
    assert (found["job_type"], found["answer"]) == ("ci", "skipped") and "`topic`" in found["reason"]
    assert "there is no `nope` here" in formicary("explain", "--push", "nope").err


def test_a_call_of_webhook_triggers(project, formicary, tmp_path):
    repo, _ = project
    trigger = "{name: go, auth: token, secret_config: K, filter: '{{ body.env == 1 }}', params: {V: '{{ body.v }}'}}"
    repo.commit({".formicary/deploy.yml": f"job_type: deploy\ntriggers:\n  webhook: {trigger}\nscript: make\n"})
    event = tmp_path / "body.json"

    def explained(text, *more):
        event.write_text(text)
        found = json.loads(formicary("explain", "--event", event, *more, "--json").out)
        return [(one["job_type"], one["answer"], one["reason"]) for one in found]

    runs = ("deploy", "runs", "its `webhook` trigger `go`: V=2")
    nothing = ("ci", "nothing", "no trigger of it names webhook; it runs when it is asked for")
    assert explained('{"env": 1, "v": 2}') == [nothing, runs]
    assert explained('{"env": 1, "v": 2, "ref": "refs/heads/main"}', "--webhook", "go")[1] == runs
    assert explained('{"env": 2}')[1][1:] == (
        "skipped",
        "its `webhook` trigger `go`: its filter says `false`, not `true`",
    )
    assert "there is no `v` in what was sent" in explained('{"env": 1}')[1][2]
    assert [one[1] for one in explained("{}", "--webhook", "other")] == ["nothing", "nothing"]
    assert "--event says with what" in formicary("explain", "--webhook", "go").err
    event.write_text("{")
    assert "is no JSON" in formicary("explain", "--event", event, "--webhook", "go").err


def test_what_githubs_hook_sent(project, formicary, tmp_path):
    _, sha = project
    hill = {"full_name": "acme/hill"}
    sides = {"head": {"ref": "topic", "sha": sha, "repo": hill}, "base": {"ref": "main", "sha": sha, "repo": hill}}
    pull = {"number": 7, "updated_at": "2026-01-01T00:00:00Z", **sides}
    event = tmp_path / "payload.json"
    event.write_text(json.dumps({"action": "opened", "pull_request": pull, "repository": hill}))
    (found,) = json.loads(formicary("explain", "--event", event, "--json").out)
    assert found["answer"] == "runs" and "pull_request" in found["reason"]
    event.write_text(json.dumps({"ref": "refs/heads/main", "repository": hill}))
    assert "branch `main`" in formicary("explain", "--event", event).out
    gitlab = {"object_kind": "push", "ref": "refs/heads/main", "project": {"path_with_namespace": "acme/ants/hill"}}
    event.write_text(json.dumps(gitlab))
    assert "branch `main`" in formicary("explain", "--event", event).out
    event.write_text("{}")
    assert "no push or pull request" in formicary("explain", "--event", event).err
    assert "give one of them" in formicary("explain", "--event", event, "--push", "main").err
