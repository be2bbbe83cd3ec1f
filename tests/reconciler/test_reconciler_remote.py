"""Looks at remote repositories: the same as at local ones, through a mirror; their trouble is theirs alone."""

import shutil
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from formicary.reconciler.reconciler import Watched
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Delivery, Fact, PullRequest, Repository
from formicary.runner.core.states import State
from formicary.runner.git import mirror as mirrors

CI = "job_type: ci\ntriggers: {push: {}, commit: {branches: [nothing]}}\nscript: [make]\n"


@pytest.fixture
def far(http_site, repo):
    """Fields of a repository that lies elsewhere."""
    return {"name": "far", "path": "", "url": http_site.url(repo.path / ".git")}


async def watch(hive, far):
    stored = await hive.reconciler.add(Repository(id=0, **far))
    return await hive.reconciler.sync(stored.id)


def shown(hive):
    return [(one.ref.removeprefix("refs/"), one.commit, one.event, one.state.value) for one in hive.requests()]


async def test_its_moves_are_pushes(hive, repo, far):
    """`commit` is for local repositories; GitRepositoryURL is the address; nothing of the past runs."""
    repo.commit({".formicary/ci.yml": CI})
    repo.branch("old")
    head = repo.commit({".formicary/local.yml": "job_type: local\ntriggers: {commit: {}}\nscript: [make]\n"})
    repository = await watch(hive, far)
    assert (repository.state, repository.tracked_branch, repository.synced_commit) == ("ok", "main", head)
    assert shown(hive) == [("heads/main", head, "push", "PENDING")]
    request = hive.requests()[0]
    assert request.params["GitRepositoryURL"] == far["url"]
    assert (request.params["GitEvent"], request.params["GitBranch"]) == ("push", "main")


async def test_forced_deleted_and_back(hive, repo, far):
    first = repo.commit({".formicary/ci.yml": CI})
    repository = await watch(hive, far)
    second = repo.commit({"a": "1"})
    await hive.reconciler.sync(repository.id)
    repo.git("reset", "-q", "--hard", first)
    await hive.reconciler.sync(repository.id)
    repo.branch("topic")
    await hive.reconciler.sync(repository.id)
    repo.git("branch", "-D", "topic")
    await hive.reconciler.sync(repository.id)
    repo.branch("topic")
    await hive.reconciler.sync(repository.id)
    assert [(ref, commit) for ref, commit, *_ in shown(hive)] == [
        *(("heads/main", commit) for commit in (first, second, first)),
        *[("heads/topic", first)] * 2,
    ]


async def test_a_restart_fetches_nothing_and_asks_for_nothing_twice(open_hive, repo, far, http_site, tmp_path):
    repo.commit({".formicary/ci.yml": CI})
    async with open_hive() as hive:
        repository = await watch(hive, far)
    http_site.seen.clear()
    async with open_hive() as hive:
        await hive.reconciler.sync(repository.id)
        assert len(hive.requests()) == 1
        posts = [path for method, path, _ in http_site.seen if method == "POST"]
        assert len(posts) <= 2, "listings only: one at the start, one that was asked for"


async def test_down_said_and_back(hive, repo, far, http_site):
    repo.commit({".formicary/ci.yml": CI})
    http_site.stop()
    repository = await watch(hive, far)
    assert (repository.state, "does not answer" in repository.error) == ("unavailable", True)
    http_site.start()
    repository = await hive.reconciler.sync(repository.id)
    assert (repository.state, repository.error, len(hive.requests())) == ("ok", "", 1)


async def test_a_mirror_that_is_damaged_under_us_is_made_anew(hive, repo, far, caplog):
    """Found by reading, not by fetching: thrown away once, and the look goes on."""
    repo.commit({".formicary/ci.yml": CI})
    repository = await watch(hive, far)
    second = repo.commit({"a": "1"})
    refresh = hive.reconciler._mirrors.refresh
    damaged = []

    async def refresh_and_damage(one):
        found = await refresh(one)
        if not damaged:
            await anyio.to_thread.run_sync(damage, repository.path)
            damaged.append(True)
        return found

    hive.reconciler._mirrors.refresh = refresh_and_damage
    repository = await hive.reconciler.sync(repository.id)
    assert (repository.state, repository.error) == ("ok", "")
    assert [commit for _, commit, *_ in shown(hive)][1:] == [second]
    assert "is damaged; it is made anew" in caplog.text


def damage(path):
    """As a disk does: the bytes are there and are not what they were."""
    for pack in Path(path).glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:12] + b"\xff" * (pack.stat().st_size - 12))


async def test_a_remote_that_hangs_keeps_no_local_one_waiting(hive, repo, make_repo, far, http_site):
    """D15: more hanging remotes than looks may go on at once, and the local one is looked at."""
    repo.commit({".formicary/ci.yml": CI})
    local = make_repo("local")
    head = local.commit({".formicary/ci.yml": "job_type: here\ntriggers: {commit: {}}\nscript: [make]\n"})
    http_site.hang.set()
    for number in range(6):
        await hive.reconciler.add(Repository(id=0, **{**far, "name": f"far-{number}"}))
    await anyio.to_thread.run_sync(http_site.hung.wait, 20)
    with anyio.fail_after(10):
        await hive.watch(local)
    assert [commit for _, commit, *_ in shown(hive)] == [head]


async def test_settings_that_change_during_a_look_stay(hive, repo, far, http_site):
    """A failing look writes its error and no old settings."""
    repo.commit({".formicary/ci.yml": CI})
    http_site.hang.set()
    stored = await hive.reconciler.add(Repository(id=0, **far))
    await anyio.to_thread.run_sync(http_site.hung.wait, 20)
    new = stored.model_copy(update={"visibility": "public", "poll": 99.0})
    await hive.reconciler.add(new)
    http_site.stop()
    await hive.until(lambda: hive.store.read().repository(stored.id).state == "unavailable")
    found = hive.store.read().repository(stored.id)
    assert (found.visibility, found.poll, found.url) == ("public", 99.0, far["url"])


async def test_tidying_keeps_what_runs_or_waits(hive, repo, far, monkeypatch):
    """In quiet times many packs become few; a waiting request's commit stays though no branch leads to it."""
    monkeypatch.setattr(mirrors, "MANY_PACKS", 1)
    monkeypatch.setattr("formicary.runner.git.bare.PRUNE_AFTER", "now")
    repo.commit({".formicary/ci.yml": CI})
    repository = await watch(hive, far)
    lost = repo.commit({"a": "lost"})
    await hive.reconciler.sync(repository.id)
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.commit({"a": "new"})
    await hive.reconciler.sync(repository.id)
    watched = hive.reconciler._watched[repository.id]
    assert not await hive.reconciler._look(watched, hive.store.read().repository(repository.id))
    assert hive.sources.git(repository.path).contains(lost)
    waiting = [one for one in hive.requests() if one.commit == lost]
    assert [one.state for one in waiting] == [State.PENDING]


async def test_no_commit_is_fetched_because_somebody_names_it(hive, repo, far):
    """T3: a forge gives out a fork's commits by their ids as well."""
    repo.commit({".formicary/ci.yml": CI})
    repository = await watch(hive, far)
    stray = repo.commit_tree(repo.git("rev-parse", "HEAD^{tree}"))
    with pytest.raises(NotFound, match="repos --sync"):
        await hive.submit("ci", repository=repository.name, commit=stray)


async def test_forgotten_with_its_mirror(hive, repo, far, tmp_path):
    repo.commit({".formicary/ci.yml": CI})
    repository = await watch(hive, far)
    assert len(list((hive.folder / "mirrors").iterdir())) == 1
    await hive.reconciler.remove(repository.id)
    assert list((hive.folder / "mirrors").iterdir()) == []


async def test_a_database_from_another_folder_brings_no_mirror_along(open_hive, repo, far, tmp_path):
    """Restored elsewhere: the old folder is another server's."""
    repo.commit({".formicary/ci.yml": CI})
    async with open_hive(tmp_path / "old") as hive:
        repository = await watch(hive, far)
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "old" / "formicary.db", tmp_path / "new" / "formicary.db")
    async with open_hive(tmp_path / "new") as hive:
        found = await hive.reconciler.sync(repository.id)
        assert (found.state, Path(found.path).parent) == ("ok", tmp_path / "new" / "mirrors")
        assert len(hive.requests()) == 1


async def test_each_repository_has_its_own_pace(hive):
    """D15: with jitter; longer and longer while it fails, up to five minutes or its own poll."""

    def between(low, high, **state):
        found = [hive.reconciler._delay(Watched(1, **state)) for _ in range(50)]
        assert low <= min(found) < max(found) <= high

    between(48, 72, poll=60.0)
    between(0.8 * 3600, 1.2 * 3600)
    between(192, 288, poll=60.0, failures=2)
    between(240, 360, poll=60.0, failures=9)


async def test_the_head_of_a_merge_request_whose_branch_is_gone_is_fetched_by_its_own_name(hive, repo, far):
    """GitLab keeps it as `refs/merge-requests/7/head`; here it is called as everywhere."""
    base = repo.commit({".formicary/ci.yml": CI.replace("push: {}", "pull_request: {}")})
    repository = await watch(hive, {**far, "forge": "gitlab", "slug": "acme/hill"})
    repo.git("checkout", "-q", "-b", "topic")
    head = repo.commit({"a": "1"})
    repo.git("update-ref", "refs/merge-requests/7/head", head)
    repo.git("checkout", "-q", "main")
    repo.git("branch", "-D", "topic")
    pull = PullRequest(repository_id=0, number=7, head_ref="topic", head_commit=head, base_ref="main", updated_at=2.0)
    fact = Fact(event="pull_request", action="opened", slug="acme/hill", pull_request=pull)
    given = {"forge": "gitlab", "delivery_key": "1", "repository_id": repository.id, "received_at": 1.0}
    delivery = Delivery(**given, fact=fact.model_dump(mode="json"))
    await hive.store.write(lambda tx: tx.add_delivery(delivery))
    await hive.reconciler.sync(repository.id)
    assert base != head and ("pull/7/head", head, "pull_request", "PENDING") in shown(hive)
