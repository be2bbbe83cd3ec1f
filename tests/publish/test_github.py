"""GitHub's adapter: what it sends fits the published description, and each answer means something (D10)."""

import logging
import subprocess
import sys
import time
from email.utils import formatdate

import anyio
import pytest
from forges import TOKEN

from formicary.runner.core.errors import SetupError, ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import Repository
from formicary.runner.publish import github as adapter
from formicary.runner.publish.answers import explained
from formicary.runner.publish.github import GitHub, api_of
from formicary.runner.publish.status import Status

COMMIT = "a" * 40
STATUS = Status(COMMIT, "formicary/ci", "success", "2 tasks passed in 3s", "https://ci.example/requests/1")


def remedy(code, message):
    return "do something"


def repository(api_url, **fields):
    return Repository(id=1, name="app", path="/srv/app.git", forge="github", slug="acme/app", api_url=api_url, **fields)


@pytest.fixture
def forge():
    opened = GitHub(lambda repository_id, name: TOKEN if (repository_id, name) == (1, "token") else None)
    yield opened
    opened.close()


async def test_a_status_is_one_request_that_the_description_allows(github, proxy, forge):
    """Every request is held against GitHub's published OpenAPI description."""
    double = github()
    checked = proxy(double.url)
    for state in ("pending", "success", "failure", "error"):
        await forge.post_status(repository(checked.url), Status(COMMIT, "formicary/ci", state, "because"))
    await forge.post_status(repository(checked.url), STATUS)
    assert [post["state"] for post in double.posts] == ["pending", "success", "failure", "error", "success"]
    assert double.posts[-1] == {
        "slug": "acme/app",
        "commit": COMMIT,
        "state": "success",
        "context": "formicary/ci",
        "description": "2 tasks passed in 3s",
        "target_url": "https://ci.example/requests/1",
    }
    assert len(double.calls) == 5 and checked.violations() == []


async def test_the_proxy_would_notice(github, proxy, forge):
    """The check of the check: a state that GitHub does not know gets no further than the proxy."""
    double = github()
    checked = proxy(double.url)
    with pytest.raises(Undeliverable):
        await forge.post_status(repository(checked.url), Status(COMMIT, "formicary/ci", "SUCCESS", "because"))
    assert double.calls == []
    with anyio.fail_after(10):
        while not checked.violations():  # it answers first, and writes that down afterwards
            await anyio.sleep(0.02)


async def test_enterprise_has_a_prefix_and_its_own_host(github, forge):
    double = github(prefix="/api/v3")
    await forge.post_status(repository(double.url + "/"), STATUS)
    assert double.calls[0]["path"] == f"/api/v3/repos/acme/app/statuses/{COMMIT}"


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("", "https://api.github.com"),
        ("https://github.com/acme/app.git", "https://api.github.com"),
        ("ssh://git@github.com/acme/app.git", "https://api.github.com"),
        ("https://git.acme.example/acme/app.git", "https://git.acme.example/api/v3"),
    ],
)
def test_no_token_goes_to_another_host_than_the_repositorys(url, api):
    assert api_of(repository("", url=url)) == api
    assert GitHub(lambda *_: None).lane(repository("", url=url)) == api.split("/")[2] + "/acme"


async def test_a_renamed_repository_is_followed_on_its_own_host(github, forge):
    """GitHub answers 307 with the repository's number; PyGithub alone takes that for a success, and talks of it."""
    double = github()
    there = f"{double.url}/repositories/1/statuses/{COMMIT}"
    double.answers.append((307, {"location": there}, "Moved"))
    await forge.post_status(repository(double.url), STATUS)
    assert len(double.posts) == 1 and double.calls[1]["path"] == f"/repositories/1/statuses/{COMMIT}"
    double.answers.append((301, {"location": there}, "Moved"))
    await forge.post_status(repository(double.url), STATUS)
    assert len(double.posts) == 2
    assert not logging.getLogger("github").handlers and not logging.getLogger("github").isEnabledFor(logging.INFO)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_repository_that_has_moved_elsewhere_is_said(github, forge, code):
    """A token follows nobody to another host."""
    double = github()
    double.answers.append((code, {"location": f"https://evil.example/repositories/1/statuses/{COMMIT}"}, "Moved"))
    with pytest.raises(Undeliverable, match=r"evil\.example.*resend|redirected from .*resend"):
        await forge.post_status(repository(double.url), STATUS)
    assert double.posts == []


async def test_a_circle_of_redirects_has_an_end(github, forge):
    double = github()
    there = f"{double.url}/repositories/1/statuses/{COMMIT}"
    double.answers.extend([(307, {"location": there}, "Moved")] * 2)
    with pytest.raises(Undeliverable, match="has moved to"):
        await forge.post_status(repository(double.url), STATUS)


async def test_without_a_valid_token_somebody_must_act(github, forge):
    double = github()
    for credential, said in (
        (lambda *_: None, "there is no token for app"),
        (lambda *_: "ghp_wrong", "the token of app is not valid"),
        (_unreadable, "Others may read it. Then resend it."),
    ):
        other = GitHub(credential)
        with pytest.raises(Undeliverable, match=said):
            await other.post_status(repository(double.url), STATUS)
        other.close()
    assert double.posts == []


def _unreadable(*_):
    raise SetupError("Others may read it.")


async def test_a_new_token_counts_at_once(github):
    double, tokens = github(), ["ghp_old", TOKEN]
    forge = GitHub(lambda *_: tokens.pop(0))
    with pytest.raises(Undeliverable, match="not valid"):
        await forge.post_status(repository(double.url), STATUS)
    await forge.post_status(repository(double.url), STATUS)
    forge.close()


async def test_a_host_that_does_not_answer_is_asked_again_later(github, forge, monkeypatch):
    """A refused connection, a cut one, an endless one."""
    monkeypatch.setattr(adapter, "TIMEOUT", 1)
    double = github()
    double.down = True
    with pytest.raises(WorldError, match=r"^127\.0\.0\.1:\d+ cannot be reached \(.*Remote end closed"):
        await forge.post_status(repository(double.url), STATUS)
    double.down = False
    double.answers.append(lambda _: time.sleep(1.5))
    with pytest.raises(WorldError, match=r"cannot be reached \(.*[Rr]ead timed out"):
        await forge.post_status(repository(double.url), STATUS)
    with pytest.raises(WorldError, match=r"cannot be reached \(.*refused"):
        await forge.post_status(repository("http://127.0.0.1:1"), STATUS)
    assert [one.borrowed_tokens for one in forge._limiters.values()] == [0, 0]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((502, {}, "Bad gateway"), WorldError, "GitHub said 502: Bad gateway"),
        ((403, {"retry-after": 7}, "You have exceeded a secondary rate limit"), ToldToWait, "takes no more for 7 s"),
        ((403, {}, "Resource not accessible by personal access token"), Undeliverable, "needs write access to commit"),
        ((422, {}, "This SHA and context has reached the maximum number of statuses."), Undeliverable, "newer commit"),
    ],
)
async def test_what_the_forge_says_arrives(github, forge, answer, error, said):
    double = github()
    double.answers.append(answer)
    with pytest.raises(error, match=said):
        await forge.post_status(repository(double.url), STATUS)
    await forge.post_status(repository(double.url), STATUS)
    assert len(double.calls) == 2, "the library tries nothing by itself"


async def test_a_commit_that_is_not_there_and_a_repository_that_nobody_may_see(github, forge):
    double = github(commits={"b" * 40})
    with pytest.raises(Undeliverable, match=r"acme/app has no commit aaaaaaaaaa: .* push it, then resend it"):
        await forge.post_status(repository(double.url), STATUS)
    with pytest.raises(Undeliverable, match="there is no acme/gone that the token of app may see"):
        await forge.post_status(repository(double.url).model_copy(update={"slug": "acme/gone"}), STATUS)


NOW = 1_000_000.0
LATER = formatdate(NOW + 90, usegmt=True)


@pytest.mark.parametrize(
    ("code", "headers", "message", "wait"),
    [
        (403, {"Retry-After": "30"}, "", 30.0),
        (429, {"Retry-After": LATER}, "", 90.0),
        (503, {"Retry-After": "5"}, "", 5.0),
        (
            403,
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 600)},
            "API rate limit exceeded",
            601.0,
        ),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "API rate limit exceeded", 1.0),
        (403, {"X-RateLimit-Remaining": "12"}, "You have exceeded a secondary rate limit.", 60.0),
        (403, {}, "You have triggered an abuse detection mechanism.", 60.0),
        (429, {"Retry-After": "soon"}, "", 60.0),
    ],
)
def test_how_long_it_is_told_to_wait(code, headers, message, wait):
    """D10: Retry-After in seconds and as a date, the reset of the rate limit, the secondary limit's minute."""
    error = explained("GitHub", code, headers, message, remedy, NOW)
    assert isinstance(error, ToldToWait) and error.retry_after == wait


@pytest.mark.parametrize("code", [408, 409, 500, 502, 504])
def test_what_passes_by_itself_is_tried_again(code):
    error = explained("GitHub", code, {}, "", remedy, NOW)
    assert type(error) is WorldError


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 422, 451])
def test_what_does_not_pass_by_itself_says_what_to_do(code):
    error = explained("GitHub", code, {"X-RateLimit-Remaining": "4000"}, "Nope", remedy, NOW)
    assert isinstance(error, Undeliverable) and str(error).endswith(f"(GitHub said {code}: Nope)")


async def test_an_answer_that_is_none_of_githubs(receive, forge):
    """A proxy's page, broken JSON, an empty 201."""
    there = receive()
    there.answers.extend([(502, {}, b"<h1>Bad Gateway</h1>"), (200, {}, b'{"broken"'), (201, {}, b""), (204, {}, b"")])
    for _ in range(4):
        with pytest.raises(WorldError):
            await forge.post_status(repository(f"http://127.0.0.1:{there.port}"), STATUS)


def test_the_library_is_imported_on_first_use():
    code = "import sys, formicary.runner.publish.github; print('github' in sys.modules, 'requests' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False", "False"]
