"""A task's `ref` of a remote repository: what it names there when the attempt starts."""

import anyio
import pytest

from formicary.runner.core.errors import NotFound, RepositoryUnavailable
from formicary.runner.core.messages import Source
from formicary.runner.git.chosen import chosen
from formicary.runner.git.repository import GitRepository


def source(far, ref):
    return Source(kind="commit", path=far.repository.path, ref=ref)


def found(far, ref):
    with GitRepository.open(far.repository.path) as git:
        return chosen(git, ref).commit


async def test_what_was_pushed_a_moment_ago_is_seen(far, repo):
    """New, moved and deleted since the last refresh; the next refresh tells of it all the same."""
    repo.commit({"a": "1"})
    repo.branch("going")
    before = await far.refresh()
    moved = repo.commit({"a": "2"})
    repo.tag("v1", annotated=True)
    repo.git("branch", "-D", "going")
    await far.mirrors.ready(source(far, "v1"))
    assert found(far, "v1") == found(far, "main") == moved
    with pytest.raises(NotFound):
        found(far, "going")
    after = await far.refresh()
    assert after.fingerprint != before.fingerprint and not after.anew


async def test_many_at_once_share_the_look(near, repo, http_site):
    repo.commit({"a": "1"})
    await near.refresh()
    http_site.seen.clear()
    moved = repo.commit({"a": "2"})
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(near.mirrors.ready, source(near, "main"))
    assert found(near, "main") == moved
    listings = [call for call in http_site.calls() if "info/refs" in call]
    assert len(listings) < 8, "one look, or two, and a fetch"


async def test_an_id_needs_no_look(near, repo, http_site):
    sha = repo.commit({"a": "1"})
    await near.refresh()
    http_site.seen.clear()
    await near.mirrors.ready(source(near, sha))
    assert http_site.calls() == []


async def test_a_remote_that_is_down_is_the_worlds(near, repo, http_site):
    """D12: another attempt may find it."""
    repo.commit({"a": "1"})
    await near.refresh()
    http_site.status = 503
    with pytest.raises(RepositoryUnavailable):
        await near.mirrors.ready(source(near, "main"))
