"""Mirrors of remotes over http, ssh and files: one contract, real servers (`git http-backend`, sshd)."""

import subprocess

from formicary.runner.core.messages import Source
from formicary.runner.git import mirror as mirrors_module
from formicary.runner.git import workspace


async def test_branches_and_tags_follow_the_remote(far, repo):
    """New, moved, forced, deleted, tagged: after each refresh the mirror has what the remote has."""
    first = repo.commit({"a": "1"})
    repo.tag("v1", annotated=True)
    repo.branch("topic/one")
    repo.branch('"quoted')
    before = await far.refresh(tracked_branch="")
    assert far.refs() == {
        "refs/heads/main": first,
        "refs/heads/topic/one": first,
        'refs/heads/"quoted': first,
        "refs/tags/v1": first,
    }
    assert far.git("symbolic-ref", "HEAD") == "refs/heads/main"
    second = repo.commit({"a": "2"})
    repo.git("branch", "-D", "topic/one", '"quoted')
    repo.branch("topic")
    after = await far.refresh(tracked_branch="main")
    assert far.refs() == {"refs/heads/main": second, "refs/heads/topic": second, "refs/tags/v1": first}
    assert after.fingerprint != before.fingerprint
    repo.git("reset", "-q", "--hard", first)
    forced = repo.commit({"b": "1"})
    await far.refresh()
    assert far.refs()["refs/heads/main"] == forced
    assert far.git("fsck", "--strict") == ""
    assert far.git("config", "--list", "--local").count("\n") == 3, "the mirror's configuration says nothing of us"


async def test_nothing_moved_nothing_fetched(near, repo, http_site):
    """Refs before fetch: a listing that says the same costs one listing."""
    repo.commit({"a": "1"})
    one = await near.refresh()
    http_site.seen.clear()
    assert (await near.refresh()).fingerprint == one.fingerprint
    assert [call.partition("?")[0].rpartition("/")[2] for call in http_site.calls()] == ["refs", "git-upload-pack"]


async def test_an_empty_repository_and_its_first_branch(far, repo):
    await far.refresh(tracked_branch="")
    assert far.refs() == {}
    repo.git("checkout", "-q", "-b", "trunk")
    sha = repo.commit({"a": "1"})
    await far.refresh()
    assert far.refs() == {"refs/heads/trunk": sha}
    assert far.git("symbolic-ref", "HEAD") == "refs/heads/trunk"


async def test_a_long_history_is_fetched_as_deep_as_wanted(far, repo, tmp_path, monkeypatch):
    """First shallow, deeper where a task asks for it, whole for `depth: 0`; `git describe` finds its tag (T20)."""
    monkeypatch.setattr(mirrors_module, "FIRST_DEPTH", 5)
    commits = [repo.commit({"a": str(number)}) for number in range(14)]
    repo.tag("v1", commits[0], annotated=True)
    repo.git("tag", "-d", "v1")
    await far.refresh()
    assert far.git("rev-list", "--count", "main") == "5"
    for depth, here in ((3, "3"), (8, "8"), (0, "14")):
        await far.mirrors.ready(source(far, commits[-1], depth))
        into = tmp_path / f"workspace-{depth}"
        into.mkdir()
        workspace.fetch_commit(far.source_path(), commits[-1], into, depth=depth)
        counted = subprocess.run(
            ["git", "rev-list", "--count", "HEAD"], cwd=into, check=True, capture_output=True, text=True
        )
        assert counted.stdout.strip() == here
    more = repo.commit({"a": "more"})
    repo.tag("v2", commits[3], annotated=True)
    await far.refresh()
    into = tmp_path / "described"
    into.mkdir()
    workspace.fetch_commit(far.source_path(), more, into, depth=0)
    said = subprocess.run(["git", "describe"], cwd=into, check=True, capture_output=True, text=True).stdout
    assert said.startswith("v2-11-g")


def source(far, commit, depth):
    return Source(kind="commit", path=far.repository.path, commit=commit, depth=depth)
