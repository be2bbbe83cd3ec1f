"""What an event would run, and why, or why not: by the same judgement as when it happens."""

import pytest

from formicary.reconciler.explain import pull_request, push
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import PullRequest, Repository

FILES = {
    ".formicary/ci.yml": "job_type: ci\ntriggers: {push: {branches: [main, 'release/*']}}\nscript: [make]\n",
    ".formicary/docs.yml": "job_type: docs\ntriggers: {push: {paths: ['docs/**']}}\nscript: [make]\n",
    ".formicary/local.yml": "job_type: local\ntriggers: {commit: {}}\nscript: [make]\n",
    ".formicary/nightly.yml": "job_type: nightly\ncron_trigger: 0 3 * * *\nscript: [make]\n",
    ".formicary/pr.yml": "job_type: pr\ntriggers: {pull_request: {branches: [main]}}\nscript: [make]\n",
    ".formicary/bad.yml": "job_type: bad\nscrpt: [make]\n",
}


@pytest.fixture
async def there(hive, repo):
    sha = repo.commit(FILES)
    return hive.sources, Repository(id=1, name="hill", path=str(repo.path)), sha


def answers(found):
    return {one.job_type: (one.answer, one.reason) for one in found}


async def test_a_push_to_a_local_repository(there):
    sources, repository, sha = there
    found = answers(push(sources, repository, "refs/heads/main", sha))
    assert found["ci"] == ("runs", "its `push` trigger: branch `main` is among `main`, `release/*`")
    assert found["docs"] == ("skipped", "no changed file is among `docs/**`")
    assert found["local"] == ("runs", "its `commit` trigger: every branch will do")
    assert found["nightly"][0] == "nothing" and "0 3 * * *" in found["nightly"][1]
    assert found["pr"][0] == "nothing" and found["bad"][0] == "invalid" and "scrpt" in found["bad"][1]


async def test_a_push_elsewhere(there):
    """Of a remote repository: `commit` triggers are not for it; and another branch."""
    sources, repository, sha = there
    remote = repository.model_copy(update={"url": "https://example.org/hill.git"})
    found = answers(push(sources, remote, "refs/heads/topic", sha))
    assert found["ci"] == ("skipped", "branch `topic` is not among `main`, `release/*`")
    assert found["local"][0] == "nothing"


async def test_a_pull_request(there):
    sources, repository, sha = there
    pull = PullRequest(repository_id=1, number=7, base_ref="main", head_commit=sha)
    found = answers(pull_request(sources, repository, pull, "opened"))
    assert found["pr"] == ("runs", "its `pull_request` trigger: its base `main` is among `main`")
    assert found["ci"][0] == "nothing"
    labelled = answers(pull_request(sources, repository, pull, "labeled"))["pr"]
    assert labelled[0] == "nothing" and "`labeled`" in labelled[1]
    fork = answers(pull_request(sources, repository, pull.model_copy(update={"fork": True}), "opened"))["pr"]
    assert fork[0] == "nothing" and "fork" in fork[1]
    other = answers(pull_request(sources, repository, pull.model_copy(update={"base_ref": "old"}), "opened"))["pr"]
    assert other == ("skipped", "its base `old` is not among `main`")


async def test_a_server_explains_its_own_repositories(hive, repo):
    sha = repo.commit(FILES)
    repository = await hive.watch(repo)
    found = answers(await hive.reconciler.explain(repository, "", "", None))
    assert found["ci"][0] == "runs"
    assert answers(await hive.reconciler.explain(repository, "topic", sha, None))["ci"][0] == "skipped"
    with pytest.raises(NotFound, match="no `nothing`"):
        await hive.reconciler.explain(repository, "nothing", "", None)
