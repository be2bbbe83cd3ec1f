"""GitHub's open pull requests, read back by the adapter."""

import pytest
from forges import TOKEN, pull_of

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import Repository
from formicary.runner.publish.github import GitHub

HEAD = "a" * 40


@pytest.fixture
def forge():
    opened = GitHub(lambda repository_id, name: TOKEN)
    yield opened
    opened.close()


def repository(api_url):
    return Repository(id=1, name="app", path="/srv/app.git", forge="github", slug="acme/app", api_url=api_url)


async def test_every_page_is_read_and_forks_are_known_as_such(github, forge):
    double = github()
    double.pulls = [pull_of(number, HEAD) for number in range(1, 103)]
    double.pulls[1] = pull_of(2, HEAD, head_slug="mallory/app")
    found = await forge.open_pulls(repository(double.url))
    assert [pull.number for pull in found] == list(range(1, 103))
    assert [pull.number for pull in found if pull.fork] == [2]
    first = found[0]
    assert (first.head_commit, first.base_ref, first.author, first.labels) == (HEAD, "main", "ada", ("bug",))
    assert len(double.calls) == 2 and double.mistakes == []


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((403, {}, "Resource not accessible by personal access token"), Undeliverable, "read access to pull requests"),
        ((404, {}, "Not Found"), Undeliverable, "read access to pull requests"),
        ((403, {"Retry-After": "7"}, "secondary rate limit"), ToldToWait, "7 s"),
        ((502, {}, "Bad Gateway"), WorldError, "502"),
    ],
)
async def test_what_keeps_them_from_being_read_is_said(github, forge, answer, error, said):
    double = github()
    double.answers.append(answer)
    with pytest.raises(error, match=said):
        await forge.open_pulls(repository(double.url))


async def test_the_request_is_one_that_github_describes(github, proxy, forge):
    """Held against GitHub's published OpenAPI description."""
    double = github()
    checked = proxy(double.url)
    assert await forge.open_pulls(repository(checked.url)) == []
    assert len(double.calls) == 1 and checked.violations() == []
