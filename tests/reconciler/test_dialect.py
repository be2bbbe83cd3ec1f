"""A repository whose definitions are those of the Go original: its setting says so, its versions remember it."""

from formicary.runner.core.records import SyncState

OLD = "job_type: old\ntriggers: {commit: {}}\nscript: ['echo {{.GitCommitID}}', '{{lower .No}}']\n"


def versions(hive):
    return {one.job_type: one for one in hive.store.read().definitions()}


async def test_its_definitions_are_read_as_such_and_run(hive, repo):
    head = repo.commit({".formicary/old.yml": OLD})
    await hive.watch(repo, dialect="go")
    (request,) = hive.requests()
    version = hive.store.read().version(request.version_id)
    assert (version.dialect, request.commit) == ("go", head)
    assert versions(hive)["old"].state is SyncState.SYNCED


async def test_without_the_setting_they_are_invalid_and_say_why(hive, repo):
    repo.commit({".formicary/old.yml": OLD})
    repository = await hive.watch(repo)
    assert hive.requests() == []
    assert "template: go" in str(versions(hive)["old"].problems)
    stored = await hive.reconciler.add(repository.model_copy(update={"dialect": "go"}))
    assert stored.synced_commit == ""
    await hive.reconciler.sync(repository.id)
    assert versions(hive)["old"].state is SyncState.SYNCED and not versions(hive)["old"].problems


async def test_the_same_text_in_another_dialect_is_another_version(hive, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\ntriggers: {commit: {}}\nscript: [make]\n"})
    repository = await hive.watch(repo)
    await hive.reconciler.add(repository.model_copy(update={"dialect": "go"}))
    await hive.reconciler.sync(repository.id)
    found = hive.store.read().version(versions(hive)["ci"].version_id)
    assert (found.dialect, found.version) == ("go", 2)
    assert len(hive.requests()) == 1, "nothing moved, so nothing runs again"
