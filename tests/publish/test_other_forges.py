"""Statuses at GitLab and Gitea by way of the outbox, and their open pull requests read back, against strict doubles."""

import httpx
import pytest
from otherforges import SECRET

from formicary.runner.core.errors import Locked, SetupError, ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import Repository
from formicary.runner.publish import rest
from formicary.runner.publish.forges import forges_of, open_pulls_of
from formicary.runner.publish.gitea import Gitea
from formicary.runner.publish.gitlab import GitLab
from formicary.runner.publish.status import Status

MAKING = {"gitlab": GitLab, "gitea": Gitea}
BOTH = pytest.mark.parametrize("name", list(MAKING))
COMMIT = "a" * 40
CI = """job_type: ci
triggers: {commit: {}}
tasks:
  - {task_type: build, script: [make], on_completed: test}
  - {task_type: test, script: [make test]}
"""


def repository(api_url, **fields):
    fields = {"slug": "acme/app", **fields}
    return Repository(id=1, name="app", path="/srv/app.git", api_url=api_url, **fields)


def status(state="success", description="passed in 3s", context="formicary/ci", **fields):
    return Status(COMMIT, context, state, description, **{"target_url": "https://ci.example/requests/1", **fields})


def forge_of(name, token=SECRET):
    return MAKING[name](lambda *_: token, lambda: 1_000.0)


# From a commit to its statuses


@BOTH
async def test_a_commit_is_pending_and_then_a_success(world, other_forge, repo, name):
    """The sentences are GitHub's."""
    double = other_forge(name)
    commit = repo.commit({".formicary/ci.yml": CI})
    async with world(double, make=MAKING[name], name=name, token=SECRET) as told:
        await told.watch(repo)
        (request,) = told.hive.requests()
        await told.landed(1)
        assert double.last("formicary/ci")[0] == "pending"
        async with told.hive.ant() as ant:
            first = await ant.claim()
            await ant.report(first, "EXECUTING")
            await told.landed(2)
            await ant.report(first)
            await ant.work(await ant.claim())
            await told.hive.ended(request.id)
        await told.told()
        assert told.dead() == []
    *before, last = double.history()[commit, "formicary/ci"]
    assert last == "success" and before == (["pending", "running"] if name == "gitlab" else ["pending", "pending"])
    last = double.posts[-1]
    assert last["description"].startswith("2 tasks passed in ")
    assert last["target_url"] == f"https://ci.example/requests/{request.id}"


@BOTH
async def test_a_failure_says_which_task_and_how_and_a_restart_says_it_anew(world, other_forge, repo, name):
    double = other_forge(name)
    repo.commit({".formicary/ci.yml": CI})
    failed = "failed" if name == "gitlab" else "failure"
    async with world(double, make=MAKING[name], name=name, token=SECRET) as told, told.hive.ant() as ant:
        await told.watch(repo)
        (request,) = told.hive.requests()
        await ant.work(await ant.claim())
        await ant.work(await ant.claim(), exit_code=3)
        await told.hive.ended(request.id)
        await told.told()
        assert double.last("formicary/ci") == (failed, double.posts[-1]["description"])
        assert double.posts[-1]["description"].startswith("1 of 2 tasks passed; `test` failed: exit code 3")
        await told.hive.queen.restart(request.id, by="ann")
        for _ in range(2):
            await ant.work(await ant.claim())
        await told.hive.ended(request.id)
        await told.told()
        assert told.dead() == []
    assert double.last("formicary/ci")[0] == "success"


@BOTH
async def test_the_forge_is_away_for_a_while(world, other_forge, repo, name):
    """D10: nothing is lost, nothing old comes after something new."""
    double = other_forge(name)
    double.answers.extend([500, (429, {"retry-after": "0"}, {"message": "slow"}), (503, {}, b"<html>")])
    repo.commit({".formicary/ci.yml": CI})
    async with world(double, make=MAKING[name], name=name, token=SECRET) as told, told.hive.ant() as ant:
        await told.watch(repo)
        for _ in range(2):
            await ant.work(await ant.claim())
        await told.hive.ended(told.hive.requests()[0].id)
        await told.told()
    assert double.last("formicary/ci")[0] == "success"


# GitLab alone


async def test_what_waits_already_is_no_error_and_what_has_ended_is_begun_anew(other_forge):
    double, forge = other_forge("gitlab"), forge_of("gitlab")
    for state, said in [
        ("pending", "waiting"),
        ("pending", "waiting: for an ant"),
        ("pending", "running"),
        ("pending", "running"),
        ("pending", "paused"),
        ("failure", "failed"),
        ("error", "cancelled"),
        ("pending", "waiting"),
        ("success", "passed"),
    ]:
        await forge.post_status(repository(double.url), status(state, said))
    assert [post["state"] for post in double.posts] == ["pending", "running", "failed", "failed", "pending", "success"]


async def test_all_statuses_of_a_commit_go_to_the_pipeline_that_took_the_first(other_forge):
    """Another one may have begun since; one that is gone is not asked for again."""
    double, forge = other_forge("gitlab"), forge_of("gitlab")
    await forge.post_status(repository(double.url), status("pending", "waiting"))
    (first,) = double.pipelines[COMMIT]
    double.pipeline(COMMIT)
    await forge.post_status(repository(double.url), status())
    await forge.post_status(repository(double.url), status(context="formicary/sync"))
    assert {post["pipeline_id"] for post in double.posts} == {first}
    double.pipelines[COMMIT].remove(first)
    await forge.post_status(repository(double.url), status(context="formicary/more"))
    assert double.posts[-1]["pipeline_id"] == double.pipelines[COMMIT][-1]


async def test_groups_within_groups_are_one_name_in_the_path(other_forge):
    double = other_forge("gitlab", slugs=("acme/ants/app",))
    await forge_of("gitlab").post_status(repository(double.url, slug="acme/ants/app"), status(target_url=""))
    assert double.calls[0]["path"] == f"/api/v4/projects/acme%2Fants%2Fapp/statuses/{COMMIT}"
    assert double.posts[0]["target_url"] is None


# What does not pass by itself


@BOTH
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (401, "is not valid"),
        (403, "may not set statuses of acme/app"),
        (404, "there is no acme/app that the token of app may see"),
        (301, "acme/app has moved to"),
        ((307, {"location": "https://evil.example/x"}, b""), r"moved to https://evil\.example/x; correct"),
        ((400, {}, {"message": {"state": ["is bad"]}}), r'does not take this status .*said 400: \{"state"'),
    ],
)
async def test_what_does_not_pass_by_itself_says_what_to_do(other_forge, name, answer, said):
    """A token follows nobody to another host."""
    double = other_forge(name)
    double.answers.append(answer)
    with pytest.raises(Undeliverable, match=said):
        await forge_of(name).post_status(repository(double.url), status())
    assert len(double.calls) == 1


@BOTH
async def test_a_commit_that_was_not_pushed(other_forge, name):
    double = other_forge(name, commits=())
    with pytest.raises(Undeliverable, match="has no commit aaaaaaaaaa"):
        await forge_of(name).post_status(repository(double.url), status())


@BOTH
@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        ((429, {"retry-after": "7"}, {}), 7),
        ((429, {"ratelimit-remaining": "0", "ratelimit-reset": "1030"}, {}), 31),
        ((429, {}, {}), 60),
        ((503, {"retry-after": "3"}, b"x"), 3),
    ],
)
async def test_it_is_told_when_to_come_back(other_forge, name, answer, wait):
    double = other_forge(name)
    double.answers.append(answer)
    with pytest.raises(ToldToWait) as caught:
        await forge_of(name).post_status(repository(double.url), status())
    assert caught.value.retry_after == wait


@BOTH
@pytest.mark.parametrize("answer", [500, 409, (200, {}, b"<html>"), (201, {}, b"[" * 100_000)])
async def test_what_may_pass_by_itself_is_tried_again(other_forge, name, answer):
    double = other_forge(name)
    double.answers.append(answer)
    with pytest.raises(WorldError) as caught:
        await forge_of(name).post_status(repository(double.url), status())
    assert not isinstance(caught.value, ToldToWait | Undeliverable)


@BOTH
async def test_nobody_is_there(other_forge, name):
    double = other_forge(name)
    double.down = True
    with pytest.raises(WorldError, match=r"127\.0\.0\.1:\d+ cannot be reached"):
        await forge_of(name).post_status(repository(double.url), status())


@BOTH
async def test_there_is_no_token_or_it_cannot_be_read(name):
    with pytest.raises(Undeliverable, match="there is no token for app; give one"):
        await forge_of(name, token=None).post_status(repository("https://x.example"), status())

    def broken(*_):
        raise SetupError("Others may read it.")

    with pytest.raises(Undeliverable, match=r"Others may read it\. Then resend it"):
        await MAKING[name](broken).post_status(repository("https://x.example"), status())

    def locked(*_):
        raise Locked("later")

    with pytest.raises(Locked):
        await MAKING[name](locked).post_status(repository("https://x.example"), status())


@pytest.mark.parametrize(
    ("name", "url", "lane"),
    [
        ("gitlab", "https://gitlab.com/acme/app.git", "gitlab.com/acme"),
        ("gitlab", "git@git.example:acme/app.git", "git.example/acme"),
        ("gitea", "ssh://git@git.example:2222/acme/app.git", "git.example/acme"),
        ("gitea", "http://git.example:3000/acme/app.git", "git.example:3000/acme"),
    ],
)
async def test_no_token_goes_to_another_host_than_the_repositorys(name, url, lane, monkeypatch):
    assert forge_of(name).lane(repository("", url=url)) == lane
    asked = []

    class Nobody(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            asked.append(request.url)
            raise httpx.ConnectError("nobody")

    real = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **kwargs: real(transport=Nobody(), timeout=kwargs["timeout"]))
    with pytest.raises(WorldError):
        await forge_of(name).post_status(repository("", url=url), status())
    assert asked[0].netloc.decode() == lane.partition("/")[0]
    assert asked[0].scheme == ("http" if url.startswith("http:") else "https")


# Open pull requests


def merge(number, **fields):
    """docs.gitlab.com/api/merge_requests/#list-project-merge-requests"""
    said = {"iid": number, "state": "opened", "title": "Say more", "author": {"username": "ada"}, "sha": COMMIT}
    branches = {"source_branch": "topic", "target_branch": "main", "source_project_id": 2, "target_project_id": 2}
    more = {"draft": False, "labels": ["bug"], "merge_commit_sha": None, "updated_at": "2026-01-01T00:00:00.000Z"}
    return {**said, **branches, **more, **fields}


def pull(number, head="acme/app"):
    """docs.gitea.com/api: PullRequest"""
    sides = {"head": ("topic", COMMIT, head), "base": ("main", "b" * 40, "acme/app")}
    said = {"number": number, "state": "open", "title": "Say more", "user": {"login": "ada"}, "draft": False}
    more = {"labels": [{"name": "bug"}], "merge_commit_sha": None, "updated_at": "2026-01-01T00:00:00Z"}
    named = {key: {"ref": ref, "sha": sha, "repo": {"full_name": repo}} for key, (ref, sha, repo) in sides.items()}
    return {**said, **more, **named}


@BOTH
async def test_every_page_is_read_and_forks_are_known_as_such(other_forge, name):
    """T3, D5."""
    double = other_forge(name)
    if name == "gitlab":
        double.pulls = [merge(number) for number in range(1, 103)]
        double.pulls[1] = merge(2, source_project_id=3)
        double.pulls[2] = merge(3, source_project_id=None)
    else:
        double.pulls = [pull(number) for number in range(1, 103)]
        double.pulls[1] = pull(2, "mallory/app")
        double.pulls[2] = {**pull(3), "head": {"ref": "topic", "sha": COMMIT, "repo": None}}
    ask = open_pulls_of(forges_of(lambda *_: SECRET))
    found = await ask(repository(double.url, forge=name))
    assert [one.number for one in found] == list(range(1, 103))
    assert [one.number for one in found if one.fork] == [2, 3]
    first = found[0]
    assert (first.head_ref, first.head_commit, first.base_ref, first.author) == ("topic", COMMIT, "main", "ada")
    assert first.labels == ("bug",) and first.updated_at == 1767225600.0


@BOTH
async def test_lists_that_cannot_be_had(other_forge, name):
    double = other_forge(name)
    ask = open_pulls_of(forges_of(lambda *_: SECRET))
    for answer, error in [
        (403, Undeliverable),
        ((429, {}, {}), ToldToWait),
        ((200, {}, [{"iid": 0}]), WorldError),
        ((200, {}, {"a": 1}), WorldError),
        ((200, {}, b"null"), WorldError),
        ((302, {"location": "/login"}, b""), Undeliverable),
    ]:
        double.answers.append(answer)
        with pytest.raises(error):
            await ask(repository(double.url, forge=name))


@BOTH
async def test_an_authority_of_ones_own_is_named_by_a_variable(receive, certificate, monkeypatch, name):
    made = certificate("localhost")
    server = receive(context=made.server)
    server.answers.append((201, {}, b'{"pipeline_id": 1}'))
    api = server.url("localhost", "/api", "https")
    rest._trust.cache_clear()
    with pytest.raises(WorldError, match="name its authority: SSL_CERT_FILE"):
        await forge_of(name).post_status(repository(api), status())
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    rest._trust.cache_clear()
    try:
        await forge_of(name).post_status(repository(api), status())
    finally:
        rest._trust.cache_clear()
    assert len(server.calls) == 1
