"""Looks at real repositories: what git says should run, runs once, whatever was missed, doubled or broken meanwhile."""

import shutil
import threading
from types import SimpleNamespace

import anyio
import anyio.to_thread
import pytest

from formicary.reconciler import reconciler
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Delivery, SyncState
from formicary.runner.core.states import State

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: [make]\n"


def shown(hive):
    return [(one.ref.removeprefix("refs/"), one.commit, one.state.value) for one in hive.requests()]


async def look(hive, repository):
    return await hive.reconciler.sync(repository.id)


async def test_first_sight_runs_the_tracked_head_only(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repo.branch("old")
    head = repo.commit({"a": "1"})
    repository = await hive.watch(repo)
    assert (repository.tracked_branch, repository.synced_commit, repository.state) == ("main", head, "ok")
    assert shown(hive) == [("heads/main", head, "PENDING")]
    await look(hive, repository)
    assert len(hive.requests()) == 1


async def test_a_commit_runs_once_however_often_it_is_looked_at(hive, repo):
    """D5: a lost webhook costs delay, a doubled one nothing."""
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    second = repo.commit({"a": "1"})
    for _ in range(3):
        await look(hive, repository)
    assert [commit for _, commit, _ in shown(hive)][1:] == [second]


async def test_commits_between_two_looks_are_one(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    for number in range(3):
        last = repo.commit({"a": str(number)})
    await look(hive, repository)
    assert [commit for _, commit, _ in shown(hive)][1:] == [last]


async def test_every_commit_asks_for_each(hive, repo):
    repo.commit({".formicary/ci.yml": CI.replace("{}", "{every_commit: true}")})
    repository = await hive.watch(repo)
    made = [repo.commit({"a": str(number)}) for number in range(3)]
    await look(hive, repository)
    await look(hive, repository)
    assert [commit for _, commit, _ in shown(hive)][1:] == made


async def test_force_push_and_back_again(hive, repo):
    first = repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    second = repo.commit({"a": "1"})
    await look(hive, repository)
    repo.git("reset", "-q", "--hard", first)
    await look(hive, repository)
    assert [commit for _, commit, _ in shown(hive)] == [first, second, first]


async def test_branches_come_and_go_and_come_back(hive, repo):
    head = repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    for _ in range(2):
        repo.branch("topic")
        await look(hive, repository)
        repo.git("branch", "-D", "topic")
        await look(hive, repository)
    assert shown(hive)[1:] == [("heads/topic", head, "PENDING")] * 2


async def test_a_tag_is_an_event_too(hive, repo):
    head = repo.commit({".formicary/ci.yml": CI.replace("{}", "{tags: ['v*']}")})
    repository = await hive.watch(repo)
    repo.tag("v1", annotated=True)
    await look(hive, repository)
    assert shown(hive) == [("heads/main", head, "SKIPPED"), ("tags/v1", head, "PENDING")]
    assert "names tags only" in hive.requests()[0].reason


async def test_filtered_out_ends_skipped_and_untriggered_makes_nothing(hive, repo):
    """D11: a filtered-out job is told as skipped, with the reason."""
    repo.commit(
        {
            ".formicary/docs.yml": "job_type: docs\ntriggers: {commit: {paths: ['docs/**']}}\nscript: [make]\n",
            ".formicary/manual.yml": "job_type: manual\nscript: [make]\n",
        }
    )
    repository = await hive.watch(repo)
    repo.commit({"src/a": "1"})
    await look(hive, repository)
    last = hive.requests()[-1]
    assert (last.job_type, last.state, last.reason) == ("docs", State.SKIPPED, "no changed file is among `docs/**`")
    assert {one.job_type for one in hive.requests()} == {"docs"}


async def test_skip_ci(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.commit({"a": "1"}, "typo [skip ci]")
    await look(hive, repository)
    assert (hive.requests()[-1].state, "[skip ci]" in hive.requests()[-1].reason) == (State.SKIPPED, True)


async def test_the_definition_is_the_commits_own(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.git("checkout", "-q", "-b", "topic")
    repo.commit({".formicary/ci.yml": CI.replace("make", "make other")})
    await look(hive, repository)
    version = hive.store.read().version(hive.requests()[-1].version_id)
    assert "make other" in version.text
    registered = hive.store.read().definition_named("ci", repository_id=repository.id)
    assert "make other" not in hive.store.read().version(registered.version_id).text


async def test_invalid_runs_nothing_and_the_last_good_version_stays(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.commit({".formicary/ci.yml": CI + "scrpt: [x]\n"})
    await look(hive, repository)
    definition = hive.store.read().definition_named("ci", repository_id=repository.id)
    assert definition.state is SyncState.INVALID
    assert "did you mean `script`?" in definition.problems[0]
    assert len(hive.requests()) == 1
    assert (await hive.submit()).version_id == definition.version_id
    repo.commit({".formicary/ci.yml": CI})
    await look(hive, repository)
    assert hive.store.read().definition(definition.id).state is SyncState.SYNCED


async def test_deleted_definitions_are_orphaned(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.git("rm", "-q", ".formicary/ci.yml")
    repo.commit()
    await look(hive, repository)
    assert [one.state for one in hive.store.read().definitions()] == [SyncState.ORPHANED]


async def test_empty_repository_then_its_first_commit(hive, repo):
    repository = await hive.watch(repo)
    assert (repository.state, repository.tracked_branch) == ("empty", "main")
    head = repo.commit({".formicary/ci.yml": CI})
    assert (await look(hive, repository)).state == "ok"
    assert shown(hive) == [("heads/main", head, "PENDING")]


async def test_bare_repository(hive, repo, tmp_path):
    head = repo.commit({".formicary/ci.yml": CI})
    bare = repo.bare(tmp_path / "bare.git")
    stored = await hive.watch(repo, path=str(bare), name="bare")
    assert shown(hive) == [("heads/main", head, "PENDING")]
    second = repo.commit({"a": "1"})
    repo.git("push", "-q", str(bare), "main")
    await look(hive, stored)
    assert shown(hive)[-1][1] == second


async def test_gone_and_back(hive, repo, tmp_path):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    away = tmp_path / "away"
    shutil.move(repo.path, away)
    gone = await look(hive, repository)
    assert (gone.state, "put" in gone.error) == ("unavailable", True)
    shutil.move(away, repo.path)
    second = repo.commit({"a": "1"})
    back = await look(hive, repository)
    assert (back.state, back.error) == ("ok", "")
    assert [commit for _, commit, _ in shown(hive)][1:] == [second]


async def test_what_is_no_repository_is_refused(hive, tmp_path):
    (tmp_path / "plain").mkdir()
    with pytest.raises(SetupError, match="git init"):
        await hive.watch(SimpleNamespace(path=tmp_path / "plain"))


async def test_five_thousand_branches(hive, repo):
    """Bounded backfill: all are seen, and a new commit on one of them runs once."""
    head = repo.commit({".formicary/ci.yml": CI})
    lines = "".join(f"create refs/heads/b{number} {head}\n" for number in range(5000))
    repo.git("update-ref", "--stdin", stdin=lines)
    repository = await hive.watch(repo)
    assert len(hive.requests()) == 1
    assert len(hive.store.read().refs(repository.id)) == 5001
    repo.git("checkout", "-q", "b77")
    second = repo.commit({"a": "1"})
    await look(hive, repository)
    assert shown(hive)[1:] == [("heads/b77", second, "PENDING")]


async def test_many_moves_are_taken_a_hundred_at_a_time(hive, repo):
    head = repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.git("update-ref", "--stdin", stdin="".join(f"create refs/heads/b{n} {head}\n" for n in range(250)))
    await look(hive, repository)
    await hive.until(lambda: hive.store.read().requests(page_size=1).total_records == 251)


async def test_after_a_restart_nothing_runs_twice_and_what_was_missed_runs(open_hive, repo):
    """D1, D5: the state of the refs is on disk with the requests they caused."""
    repo.commit({".formicary/ci.yml": CI})
    async with open_hive() as hive:
        repository = await hive.watch(repo)
    second = repo.commit({"a": "1"})
    async with open_hive() as hive:
        await look(hive, repository)
        assert [commit for _, commit, _ in shown(hive)][1:] == [second]


async def test_the_tracked_branch_follows_head_when_it_is_gone(hive, repo):
    """`git branch -m main trunk`: what is registered is trunk's from then on."""
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.git("branch", "-m", "main", "trunk")
    head = repo.commit({".formicary/ci.yml": CI.replace("make", "make all")})
    repository = await look(hive, repository)
    assert (repository.tracked_branch, repository.synced_commit) == ("trunk", head)
    repo.git("checkout", "-q", "-b", "feature")
    assert (await look(hive, repository)).tracked_branch == "trunk"


async def test_a_branch_that_was_never_born_is_not_waited_for(hive, repo):
    repository = await hive.watch(repo)
    assert repository.tracked_branch == "main"
    repo.git("checkout", "-q", "-b", "trunk")
    head = repo.commit({".formicary/ci.yml": CI})
    repository = await look(hive, repository)
    assert (repository.tracked_branch, repository.synced_commit) == ("trunk", head)


async def test_the_operators_branch_is_waited_for(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo, tracked_branch="release", pinned=True)
    assert (repository.tracked_branch, repository.synced_commit) == ("release", "")
    repo.branch("release")
    assert (await look(hive, repository)).synced_commit == repo.head()
    repo.git("branch", "-D", "release")
    assert (await look(hive, repository)).tracked_branch == "release"


@pytest.fixture
def slowly(monkeypatch):
    """The next look stops when it has read the refs: (it is there, go on)."""
    there, go_on, real = threading.Event(), threading.Event(), reconciler.look

    def look(*args):
        found = real(*args)
        if not there.is_set():
            there.set()
            assert go_on.wait(10)
        return found

    def begin():
        monkeypatch.setattr(reconciler, "look", look)
        return there, go_on

    return begin


async def test_a_look_that_is_asked_for_sees_what_was_there_when_it_was(hive, repo, slowly):
    """Not the look that had begun before the commit."""
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    there, go_on = slowly()
    hive.reconciler.wake(repository.id)
    await anyio.to_thread.run_sync(there.wait, 10)
    head = repo.commit({"a": "1"})
    async with anyio.create_task_group() as group:

        async def ask():
            assert (await look(hive, repository)).synced_commit == head

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        go_on.set()


async def test_a_delivery_that_comes_during_a_look_gets_its_verdict(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    delivery = Delivery(forge="commit", delivery_key="1:a", repository_id=repository.id)
    real, came, again = hive.store.write, [], anyio.Event()

    async def write(change):
        """It comes right after the look's own change."""
        result = await real(change)
        if came:
            again.set()
        else:
            came.append(await real(lambda tx: tx.add_delivery(delivery)))
            hive.reconciler.wake(repository.id)
        return result

    hive.store.write = write
    await look(hive, repository)
    with anyio.fail_after(5):
        await again.wait()
    (found,) = hive.store.read().deliveries().records
    assert found.verdict != "accepted"


async def test_one_damaged_branch_keeps_no_other_from_running(hive, repo):
    """D8: it is told, and looked at again."""
    repo.commit({".formicary/ci.yml": CI})
    repository = await hive.watch(repo)
    repo.git("checkout", "-q", "-b", "broken")
    repo.commit({"b": "1"})
    tree = repo.path / ".git/objects" / (sha := repo.git("rev-parse", "HEAD^{tree}"))[:2] / sha[2:]
    lost = tree.read_bytes()
    tree.unlink()
    repo.git("checkout", "-q", "-f", "main")
    good = repo.commit({"a": "1"})
    looked = await look(hive, repository)
    assert (looked.state, "refs/heads/broken cannot be read" in looked.error) == ("ok", True)
    assert [commit for _, commit, _ in shown(hive)][1:] == [good]
    tree.write_bytes(lost)
    hive.sources.forget(str(repo.path))
    assert (await look(hive, repository)).error == ""
    assert len(hive.requests()) == 3
