"""Open pull requests are read back: a lost hook costs delay, never a check (D5)."""

import time

import anyio
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
def read_back(hive):
    """Have a repository's pull requests read, and looked at."""

    async def read(repository):
        await quiet(hive)
        hive.reconciler._read_back._due.clear()
        await hive.reconciler.sync(repository.id)
        await quiet(hive)
        await hive.reconciler.sync(repository.id)

    return read


async def quiet(hive):
    """No reading is under way. Its end changes nothing that anybody is told of, so it is looked for."""
    with anyio.fail_after(10):
        while hive.reconciler._read_back._busy:
            await anyio.sleep(0.002)


def pull(head, number=7, at=100.0, **fields):
    about = {"head_ref": "topic", "head_commit": head, "head_slug": "acme/hill", "base_ref": "main", "updated_at": at}
    return PullRequest(repository_id=0, number=number, **{**about, **fields})


async def watch(hive, repo):
    repo.commit({".formicary/ci.yml": CI})
    return await hive.watch(repo, forge="github", slug="acme/hill")


async def test_what_no_hook_has_told_runs(hive, repo, forge, read_back):
    """A new one, a new head, and one that is open again; each once, however often it is read."""
    repository = await watch(hive, repo)
    repo.git("checkout", "-q", "-b", "topic")
    first = repo.commit({"a.txt": "1"})
    forge.pulls = [pull(first)]
    for _ in range(2):
        await read_back(repository)
    second = repo.commit({"a.txt": "2"})
    forge.pulls = [pull(second, at=200.0)]
    for _ in range(2):
        await read_back(repository)
    assert [(one.commit, one.event) for one in hive.requests()] == [(first, "pull_request"), (second, "pull_request")]
    ledger = hive.store.read().deliveries().records
    assert [one.event for one in ledger] == ["pull_request.synchronize", "pull_request.opened"]
    assert {one.verdict for one in ledger} == {"handled"}


async def test_on_first_sight_everything_is_old_news(hive, repo, forge):
    head = repo.commit({"a.txt": "1"})
    forge.pulls = [pull(head)]
    repository = await watch(hive, repo)
    await quiet(hive)
    assert hive.requests() == [] and hive.store.read().pull_request(repository.id, 7).head_commit == head


async def test_a_fork_is_held_once(hive, repo, forge, read_back):
    """T3."""
    repository = await watch(hive, repo)
    forge.pulls = [pull("d" * 40, fork=True, head_slug="mallory/hill")]
    for _ in range(2):
        await read_back(repository)
    (held,) = hive.store.read().deliveries().records
    assert held.verdict == "held" and hive.requests() == []


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (Undeliverable("no token"), readback.LATER),
        (WorldError("down"), readback.EVERY),
        (ToldToWait("slowly", retry_after=1000.0), 1000.0),
        (TypeError("it answered nonsense"), readback.EVERY),
    ],
)
async def test_a_forge_that_is_away_keeps_no_branch_from_being_seen(hive, repo, forge, error, wait):
    hive.reconciler._read_back._clock = lambda: 50.0
    forge.error = error
    repository = await watch(hive, repo)
    await quiet(hive)
    assert repository.state == "ok" and forge.asked == 1
    await hive.reconciler.sync(repository.id)
    await quiet(hive)
    assert forge.asked == 1, "it is asked again when it is time"
    assert 50 + wait <= hive.reconciler._read_back._due[repository.id] <= 50 + wait * 1.2


async def test_plain_git_has_none(hive, repo, forge):
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    assert forge.asked == 0


async def test_what_is_open_no_longer_is_closed(hive, repo, forge, read_back):
    """Once, as a hook would have told it; what the forge has told just now may not be in its list yet."""
    repo.commit({".formicary/ci.yml": CI.replace("{}}", "{types: [opened, closed]}}")})
    repository = await hive.watch(repo, forge="github", slug="acme/hill")
    repo.git("checkout", "-q", "-b", "topic")
    head = repo.commit({"a.txt": "1"})
    forge.pulls = [pull(head), pull(head, number=8), pull(head, number=9, at=time.time())]
    await read_back(repository)
    forge.pulls = [pull(head, number=8)]
    for _ in range(2):
        await read_back(repository)
    state = {number: hive.store.read().pull_request(repository.id, number).state for number in (7, 8, 9)}
    assert state == {7: "closed", 8: "open", 9: "open"}
    assert hive.store.read().deliveries().records[0].event == "pull_request.closed"
    assert len(hive.requests()) == 4, "three were opened, one was closed"
    forge.pulls.append(pull(head, at=200.0))
    await read_back(repository)
    assert hive.store.read().pull_request(repository.id, 7).state == "open"


async def test_a_list_that_may_not_be_whole_closes_nothing(hive, repo, forge, read_back, monkeypatch):
    monkeypatch.setattr(readback, "MOST_PULLS", 1)
    repository = await watch(hive, repo)
    forge.pulls = [pull("d" * 40), pull("d" * 40, number=8)]
    await read_back(repository)
    forge.pulls = forge.pulls[:1]
    await read_back(repository)
    assert [one.number for one in hive.store.read().open_pull_requests(repository.id)] == [7, 8]


async def test_a_hook_that_came_meanwhile_counts_more(hive, repo, forge, read_back):
    repository = await watch(hive, repo)
    forge.pulls = [pull("d" * 40)]
    await read_back(repository)
    newer = pull("e" * 40, at=300.0).model_copy(update={"repository_id": repository.id})

    async def open_pulls(_):
        await hive.store.write(lambda tx: tx.put_pull_request(newer))
        return []

    hive.reconciler._read_back._open_pulls = open_pulls
    await read_back(repository)
    assert hive.store.read().pull_request(repository.id, 7) == newer


async def test_a_forge_that_hangs_holds_no_look_up(hive, repo, forge, monkeypatch):
    """Branches are seen meanwhile; and it is not asked twice at a time, nor waited for without end."""
    monkeypatch.setattr(readback, "LONGEST", 3600.0)
    came = anyio.Event()

    async def hang(_):
        forge.asked += 1
        came.set()
        await anyio.sleep_forever()

    hive.reconciler._read_back._open_pulls = hang
    repo.commit({".formicary/ci.yml": "job_type: ci\ntriggers: {commit: {}}\nscript: [make]\n"})
    repository = await hive.watch(repo, forge="github", slug="acme/hill")
    with anyio.fail_after(10):
        await came.wait()
    for number in range(3):
        commit = repo.commit({"a": str(number)})
        await hive.reconciler.sync(repository.id)
        assert commit in {one.commit for one in hive.requests()}
    assert forge.asked == 1


async def test_a_reading_has_an_end(hive, repo, monkeypatch):
    monkeypatch.setattr(readback, "LONGEST", 0.01)

    async def hang(_):
        await anyio.sleep_forever()

    repository = await watch(hive, repo)
    reading = readback.ReadBack(hive.store, hang, lambda: 50.0)
    assert reading.claim(repository) and not reading.claim(repository)
    assert await reading.look(repository) is False
    assert not reading.claim(repository) and 350.0 <= reading._due[repository.id] <= 410.0
