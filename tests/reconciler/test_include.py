"""Definitions that include fragments: read from the same commit, stored whole, run as they were."""

from formicary.runner.core.states import State

CI = "job_type: ci\ntriggers: {commit: {}}\ninclude: [fragments/a.yml]\nscript: make\n"
FRAGMENT = "environment: {V: '{{ GitBranch }}'}\nbefore_script: [first]\n"


async def test_a_job_runs_with_what_its_commit_s_fragment_says(hive, repo):
    """The stored version is whole: an execution of it needs no file of git again."""
    repo.commit({".formicary/ci.yml": CI, ".formicary/fragments/a.yml": FRAGMENT})
    repository = await hive.watch(repo)
    (first,) = hive.requests()
    repo.commit({".formicary/fragments/a.yml": FRAGMENT.replace("first", "second")})
    await hive.reconciler.sync(repository.id)
    _, second = hive.requests()
    assert first.version_id != second.version_id
    seen = []
    async with hive.ant() as ant:
        for request in (first, second):
            order = await ant.claim()
            seen.append((order.task.before_script, order.environment["V"]))
            await ant.work(order)
            assert (await hive.ended(request.id)).state is State.COMPLETED
    assert seen == [(("first",), "main"), (("second",), "main")]


async def test_an_unchanged_fragment_makes_no_new_version(hive, repo):
    repo.commit({".formicary/ci.yml": CI, ".formicary/fragments/a.yml": FRAGMENT})
    repository = await hive.watch(repo)
    repo.commit({".formicary/fragments/b.yml": "tags: [x]\n", "other": "1"})
    await hive.reconciler.sync(repository.id)
    assert len({request.version_id for request in hive.requests()}) == 1


async def test_a_broken_fragment_leaves_the_last_good_version_in_force(hive, repo):
    """A2: the error is that of the fragment, at its place."""
    repo.commit({".formicary/ci.yml": CI, ".formicary/fragments/a.yml": FRAGMENT})
    repository = await hive.watch(repo)
    repo.commit({".formicary/fragments/a.yml": "timout: 5m\n"})
    await hive.reconciler.sync(repository.id)
    (definition,) = hive.store.read().definitions()
    assert definition.state.value == "Invalid" and definition.version_id is not None
    assert ".formicary/fragments/a.yml:1:1: `timout`" in definition.problems[0]
    assert len(hive.requests()) == 1


async def test_fragments_are_no_jobs_and_a_job_among_them_is_told(hive, repo):
    lost = "job_type: lost\ntriggers: {commit: {}}\nscript: x\n"
    head = repo.commit(
        {
            ".formicary/ci.yml": CI,
            ".formicary/fragments/a.yml": FRAGMENT,
            ".formicary/fragments/deep/b.yml": lost,
        }
    )
    await hive.watch(repo)
    assert [request.job_type for request in hive.requests()] == ["ci"]
    (problem,) = hive.sources.definitions(str(repo.path), head).problems
    assert problem.path == ".formicary/fragments/deep/b.yml" and "`lost`" in problem.message
