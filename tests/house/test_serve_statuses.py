"""`formicary serve` tells GitHub how commits do: settings, token, public address, an outage across a restart."""

import json

import pytest
from forges import TOKEN
from servers import Server

CI = "job_type: ci\ntriggers: {commit: {}, push: {}}\ntasks: [{task_type: build, script: ['exit ${CODE:-0}']}]\n"


@pytest.fixture
def start(tmp_path, repo):
    """Start a server that watches `repo` as acme/app of that API; all are stopped at the end."""
    opened = []

    def go(api):
        (tmp_path / "formicary.toml").write_text(
            f'url = "https://ci.example"\n[[repo]]\npath = "{repo.path}"\nname = "app"\nforge = "github"\n'
            f'slug = "acme/app"\napi_url = "{api}"\ntoken_env = "APP_TOKEN"\n'
        )
        opened.append(Server(tmp_path, APP_TOKEN=TOKEN).ready())
        return opened[-1]

    yield go
    for one in opened:
        one.stop()


def test_statuses_arrive_through_outage_and_restart(start, github, proxy, repo):
    """D10, end to end, every request held against GitHub's description."""
    double = github()
    checked = proxy(double.url)
    good = repo.commit({".formicary/ci.yml": CI})
    server = start(checked.url)
    server.wait(lambda: (double.last("formicary/ci", good) or ("",))[0] == "success")
    double.down = True
    bad = repo.commit({".formicary/ci.yml": CI.replace("CODE:-0", "CODE:-7")})
    server.wait(lambda: server.get("/api/jobs/requests?state=FAILED")["total_records"] == 1)
    server.wait(lambda: any(one["error"] for one in server.get("/api/outbox")["records"]))
    server.stop()
    double.down = False
    double.answers.append((429, {"retry-after": 1}, "slow down"))
    server = start(checked.url)
    server.wait(lambda: (double.last("formicary/ci", bad) or ("",))[0] == "failure")
    server.wait(lambda: server.get("/api/outbox")["total_records"] == 0)
    post = double.posts[-1]
    assert post["description"].startswith("`build` failed: exit code 7")
    assert post["target_url"].startswith("https://ci.example/requests/")
    assert checked.violations() == [] and TOKEN not in server.said()
    for states in double.history().values():
        assert "pending" not in states[states.index(states[-1]) :], "nothing old came after the end"


def test_a_dead_letter_is_shown_with_its_remedy(start, github, repo):
    double = github(slugs=("acme/other",))
    repo.commit({".formicary/ci.yml": CI})
    server = start(double.url)
    found = server.wait(lambda: server.get("/api/outbox?state=dead")["records"])
    assert "there is no acme/app that the token of app may see" in found[0]["error"]
    double.slugs["acme/app"] = 9
    status, text = server.call(f"/api/outbox/{found[0]['id']}/resend", "POST", {})
    assert status == 202, text
    server.wait(lambda: double.posts)
    assert json.loads(text)["attempts"] == 0
