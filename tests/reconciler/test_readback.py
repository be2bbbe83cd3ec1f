"""Open pull requests are read back: a lost hook costs delay, never a check (D5)."""

import pytest

from formicary.reconciler import readback
from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import PullRequest

CI = "job_type: ci\ntriggers: {pull_request: {}}\nscript: [make]\n"


class Forge:
    def __init__(self):
        self.pulls, self.asked, self.error = [], 0, None

    async def open_pulls(self, repository):
        self.asked += 1
        if self.error:
            raise self.error
        return list(self.pulls)


@pytest.fixture
def forge(hive):
    found = Forge()
    hive.reconciler._read_back = readback.ReadBack(hive.store, found.open_pulls)
    return found


@pytest.fixture
def due(hive):
    """Make the next look read back."""
    return lambda: hive.reconciler._read_back._due.clear()


def pull(head, number=7, at=100.0, **fields):
    about = {"head_ref": "topic", "head_commit": head, "head_slug": "acme/hill", "base_ref": "main", "updated_at": at}
    return PullRequest(repository_id=0, number=number, **{**about, **fields})


async def watch(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    return await hive.watch(repo, forge="github", slug="acme/hill")


async def test_what_no_hook_has_told_runs(hive, repo, forge, due):
    """A new one, a new head, and one that is open again; each once, however often it is read."""
    repository = await watch(hive, repo)
    repo.git("checkout", "-q", "-b", "topic")
    first = repo.commit({"a.txt": "1"})
    forge.pulls = [pull(first)]
    for _ in range(2):
        due()
        await hive.reconciler.sync(repository.id)
    second = repo.commit({"a.txt": "2"})
    forge.pulls = [pull(second, at=200.0)]
    for _ in range(2):
        due()
        await hive.reconciler.sync(repository.id)
    assert [(one.commit, one.event) for one in hive.requests()] == [(first, "pull_request"), (second, "pull_request")]
    ledger = hive.store.read().deliveries().records
    assert [one.event for one in ledger] == ["pull_request.synchronize", "pull_request.opened"]
    assert {one.verdict for one in ledger} == {"handled"}


async def test_on_first_sight_everything_is_old_news(hive, repo, forge):
    head = repo.commit({"a.txt": "1"})
    forge.pulls = [pull(head)]
    repository = await watch(hive, repo)
    assert hive.requests() == [] and hive.store.read().pull_request(repository.id, 7).head_commit == head


async def test_a_fork_is_held_once(hive, repo, forge, due):
    """T3."""
    repository = await watch(hive, repo)
    forge.pulls = [pull("d" * 40, fork=True, head_slug="mallory/hill")]
    for _ in range(2):
        due()
        await hive.reconciler.sync(repository.id)
    (held,) = hive.store.read().deliveries().records
    assert held.verdict == "held" and hive.requests() == []


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (Undeliverable("no token"), readback.LATER),
        (WorldError("down"), readback.EVERY),
        (ToldToWait("slowly", retry_after=1000.0), 1000.0),
    ],
)
async def test_a_forge_that_is_away_keeps_no_branch_from_being_seen(hive, repo, forge, error, wait):
    hive.reconciler._read_back._clock = lambda: 50.0
    forge.error = error
    repository = await watch(hive, repo)
    assert repository.state == "ok" and forge.asked == 1
    await hive.reconciler.sync(repository.id)
    assert forge.asked == 1, "it is asked again when it is time"
    assert 50 + wait <= hive.reconciler._read_back._due[repository.id] <= 50 + wait * 1.2


async def test_plain_git_has_none(hive, repo, forge):
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    assert forge.asked == 0
