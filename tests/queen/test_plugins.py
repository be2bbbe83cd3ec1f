"""Plugins: released versions that never change, and which of them a FORK_JOB task gets."""

import pytest
from repos import RepoBuilder

from formicary.runner.core.records import SyncState
from formicary.runner.core.states import State

SCAN = "job_type: io.acme.scan\npublic_plugin: true\nsem_version: {version}\nscript: ['{says}']\n"
CALL = "job_type: ci\nmethod: FORK_JOB\nfork_job_type: io.acme.scan\nfork_job_version: '{wanted}'\n"
CALL += "sub_workflow: {{wait_for_completion: true}}\n"


@pytest.fixture
def plugin_repo(tmp_path):
    return RepoBuilder(tmp_path / "plugins")


def scan(version, says):
    return {".formicary/scan.yml": SCAN.format(version=version, says=says)}


async def released(hive, repo, *versions, bundle_id="io.acme"):
    """The same with these (version, what it says)."""
    return await committed(hive, repo, *(scan(*one) for one in versions), bundle_id=bundle_id)


async def committed(hive, repo, *files, bundle_id="io.acme"):
    """Commit and sync these one after the other."""
    hive.reconciler.bundle_id, stored = bundle_id, None
    for each in files:
        repo.commit(each)
        stored = await (hive.reconciler.sync(stored.id) if stored else hive.watch(repo))
    return stored


def definition(hive, job_type="io.acme.scan"):
    return next(one for one in hive.store.read().definitions() if one.job_type == job_type)


async def ran(hive, repo, wanted):
    """What the forked job says, and how its parent ended."""
    repo.commit({".formicary/ci.yml": CALL.format(wanted=wanted)})
    known = hive.store.read().repository_named(repo.path.name)
    await (hive.reconciler.sync(known.id) if known else hive.watch(repo))
    async with hive.ant() as ant:
        request = await hive.submit()
        order = await ant.claim()
        await ant.work(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED
    return order


WANTED = [("1.1", "old"), ("^1.1", "newer"), ("", "newest"), ("3.0-rc1", "next")]
VERSIONS = [("1.1", "old"), ("1.4.2", "newer"), ("2.0", "newest"), ("3.0-rc1", "next")]


@pytest.mark.parametrize(("wanted", "says"), WANTED)
async def test_the_wanted_version_runs(hive, repo, plugin_repo, wanted, says):
    """At its own commit, whatever came after it."""
    await released(hive, plugin_repo, *VERSIONS)
    order = await ran(hive, repo, wanted)
    assert order.task.script == (says,)
    child = hive.request(order.request_id)
    known = {one.sem_version: one for one in hive.store.read().plugins("default", "io.acme.scan")}
    assert child.commit in {one.commit for one in known.values()}
    assert hive.store.read().version(child.version_id).text.count(f"'{says}'") == 1


async def test_a_released_version_never_changes(hive, plugin_repo):
    """The text that came later is the definition's problem, runs nothing, and the old one stays."""
    await released(hive, plugin_repo, ("1.0", "first"), ("1.0", "second"))
    found = definition(hive)
    assert found.state is SyncState.INVALID
    (problem,) = found.problems
    assert ".formicary/scan.yml:3:1: Version 1.0 was released at commit " in problem
    assert "a released version never changes: give the new text a new `sem_version`" in problem
    (kept,) = hive.store.read().plugins("default")
    assert "first" in hive.store.read().version(kept.version_id).text
    assert "first" in hive.store.read().version(found.version_id).text


async def test_a_pre_release_is_replaced(hive, plugin_repo):
    await released(hive, plugin_repo, ("1.0-dev", "first"), ("1.0-dev", "second"))
    assert definition(hive).state is SyncState.SYNCED
    (kept,) = hive.store.read().plugins("default")
    assert "second" in hive.store.read().version(kept.version_id).text


async def test_other_jobs_of_its_file_may_change(hive, plugin_repo):
    own, other = SCAN.format(version="1.0", says="x"), "---\njob_type: other\nscript: ['{}']\n"
    files = [{".formicary/scan.yml": own + other.format(says)} for says in ("one", "two")]
    await committed(hive, plugin_repo, *files)
    assert definition(hive).state is SyncState.SYNCED and len(hive.store.read().plugins("default")) == 1


@pytest.mark.parametrize(
    ("bundle_id", "told"), [("", "has no bundle id"), ("io.other", "begins with the organization")]
)
async def test_a_public_plugin_begins_with_the_bundle_id(hive, plugin_repo, bundle_id, told):
    """What the operator has mended is in force with the next look that is asked for."""
    stored = await released(hive, plugin_repo, ("1.0", "x"), bundle_id=bundle_id)
    assert told in definition(hive).problems[0] and not hive.store.read().plugins("default")
    hive.reconciler.bundle_id = "io.acme"
    await hive.reconciler.sync(stored.id)
    assert definition(hive).state is SyncState.SYNCED and hive.store.read().plugins("default")


async def test_what_was_refused_runs_nothing(hive, plugin_repo):
    """A commit whose definition is invalid runs nothing of it."""
    texts = [SCAN.format(version="1.0", says=says) + "triggers: {push: {}}\n" for says in ("first", "second")]
    await committed(hive, plugin_repo, *({".formicary/scan.yml": text} for text in texts))
    assert len(hive.requests()) == 1


async def test_a_version_that_nobody_has_is_told_with_those_that_are(hive, repo, plugin_repo):
    await released(hive, plugin_repo, ("1.0", "x"), ("1.1-dev", "y"))
    repo.commit({".formicary/ci.yml": CALL.format(wanted="^1.1")})
    await hive.watch(repo)
    ended = await hive.ended((await hive.submit()).id)
    assert (ended.state, ended.error_code) == (State.FAILED, "ERR_FORK")
    assert "there is no version `^1.1` of `io.acme.scan`; there is 1.0, 1.1-dev" in ended.error_message


async def test_the_own_repository_comes_first(hive, repo, plugin_repo):
    """Its text of the parent's commit, if that is the wanted version."""
    await released(hive, plugin_repo, ("1.0", "theirs"))
    own = "job_type: io.acme.scan\nsem_version: 1.0\nscript: [ours]\n"
    repo.commit({".formicary/own.yml": own})
    order = await ran(hive, repo, "1.0")
    assert order.task.script == ("ours",) and hive.request(order.request_id).commit


@pytest.mark.parametrize(("wanted", "says"), [("1.0", "first"), ("^1.0", "first"), ("", "second")])
async def test_a_text_that_was_changed_is_not_the_version_it_says_it_is(hive, repo, wanted, says):
    """Not even for a job of the same commit: who names a version gets what was released. Who names none, the text."""
    own = {".formicary/own.yml": "job_type: io.acme.scan\nsem_version: 1.0\nscript: [first]\n"}
    stored = await committed(hive, repo, own)
    repo.commit({".formicary/own.yml": own[".formicary/own.yml"].replace("first", "second")})
    await hive.reconciler.sync(stored.id)
    order = await ran(hive, repo, wanted)
    assert order.task.script == (says,)


async def test_a_public_plugin_of_another_organization(hive, repo, plugin_repo):
    """T3, T19: only its text is public: no files and no secrets, and its code waits for an ant that isolates."""
    hive.reconciler.bundle_id = "io.acme"
    plugin_repo.commit(scan("1.0", "foreign"))
    await hive.watch(plugin_repo, organization_id="acme")
    repo.commit({".formicary/ci.yml": CALL.format(wanted="^1.0")})
    await hive.watch(repo)
    async with hive.ant():
        request = await hive.submit()
        await hive.until(lambda: hive.store.read().children(request.id))
        (child,) = hive.store.read().children(request.id)
        assert not child.trusted and "foreign" in hive.store.read().version(child.version_id).text
        assert (child.organization_id, child.repository_id, child.source_path) == ("default", None, "")
        await hive.until(lambda: "isolates SHELL tasks" in hive.queen.why(child.id))
