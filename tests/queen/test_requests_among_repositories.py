"""Which repository's job is meant, and what an ask may not say yet."""

import pytest

from formicary.runner.core.errors import NotFound, RequestRefused

CI = "job_type: ci\nscript: [make]\n"


async def test_a_job_that_is_gone_elsewhere_is_no_rival(hive, make_repo):
    one, other = make_repo("one"), make_repo("other")
    for repo in (one, other):
        repo.commit({".formicary/ci.yml": CI})
    first, second = await hive.watch(one), await hive.watch(other)
    with pytest.raises(RequestRefused, match="several repositories"):
        await hive.submit()
    other.commit({".formicary/ci.yml": CI.replace("ci", "renamed")})
    await hive.reconciler.sync(second.id)
    assert (await hive.submit()).repository_id == first.id
    one.commit({".formicary/ci.yml": CI.replace("ci", "renamed")})
    await hive.reconciler.sync(first.id)
    with pytest.raises(NotFound, match="there is renamed"):
        await hive.submit()


async def test_a_version_that_would_be_ignored_is_refused(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    with pytest.raises(RequestRefused, match="commit"):
        await hive.submit(job_version=7)
