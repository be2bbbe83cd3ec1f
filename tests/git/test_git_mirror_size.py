"""Large remotes: fetched and checked out in seconds, in bounded memory; many branches that do not move cost little."""

import random
import subprocess
import time
from pathlib import Path

import pytest

from formicary.runner.core.messages import Source
from formicary.runner.git import workspace
from formicary.runner.git.repository import GitRepository


def grow(repo, files, commits):
    """`files` files of 0.4 to 6 kB that hardly compress, then one change a commit; made by `git fast-import`."""
    chance = random.Random(7)

    def commit(number):
        return f"commit refs/heads/main\ncommitter A <a@example.org> {1_700_000_000 + number} +0000\ndata 1\nx\n"

    def file(number):
        text = chance.randbytes(chance.randint(200, 3000)).hex()
        return f"M 100644 inline d{number % 200}/f{number}.txt\ndata {len(text)}\n{text}\n"

    with open(repo.path / "stream", "w") as stream:
        stream.write(commit(0))
        stream.writelines(file(number) for number in range(files))
        for number in range(1, commits):
            stream.write(commit(number) + file(number % files))
    with open(repo.path / "stream", "rb") as stream:
        subprocess.run(["git", "fast-import", "--quiet"], cwd=repo.path, stdin=stream, check=True)
    return repo.git("rev-parse", "main")


class Peak:
    """The most memory that this process has had since, in MiB above what it had then."""

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")
        self.before = self.now("VmRSS")
        return self

    def __exit__(self, *_):
        self.grown = self.now("VmHWM") - self.before

    @staticmethod
    def now(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


async def fetched_and_checked_out(far, into, sha):
    """Seconds for the first fetch, and for a copy with its checkout."""
    started = time.perf_counter()
    with Peak() as peak:
        await far.refresh()
        with GitRepository.open(far.repository.path) as git:
            assert git.definitions(sha) == {}
            assert len(git.changed_files(None, sha)) == 1
        await far.mirrors.ready(Source(kind="commit", path=far.repository.path, commit=sha, depth=50))
    fetched = time.perf_counter() - started
    into.mkdir()
    started = time.perf_counter()
    workspace.fetch_commit(Path(far.repository.path), sha, into, depth=50)
    command = workspace.checkout_command(sha, "main")
    subprocess.run(command, cwd=into, env=workspace.git_environment(into), check=True)
    return fetched, time.perf_counter() - started, peak.grown


async def test_two_thousand_files(http_site, repo, make_far, tmp_path):
    sha = grow(repo, 2_000, 300)
    far = make_far(http_site, repo)
    fetched, copied, grown = await fetched_and_checked_out(far, tmp_path / "work", sha)
    assert len(list((tmp_path / "work").glob("d*/*.txt"))) == 2_000
    assert fetched < 10
    assert copied < 10
    assert grown < 40
    assert far.git("rev-list", "--count", "main") == "50"


@pytest.mark.soak
async def test_twenty_thousand_files_with_a_long_history(http_site, repo, make_far, tmp_path, capsys):
    """100 MB and 20,000 commits: seconds, and the queen's memory does not notice."""
    sha = grow(repo, 20_000, 20_000)
    far = make_far(http_site, repo)
    fetched, copied, grown = await fetched_and_checked_out(far, tmp_path / "work", sha)
    with capsys.disabled():
        print(f"\n20,000 files: fetched in {fetched:.1f} s, checked out in {copied:.1f} s, {grown:.0f} MiB more")
    assert len(list((tmp_path / "work").glob("d*/*.txt"))) == 20_000
    assert fetched < 30
    assert copied < 60
    assert grown < 60


async def test_five_thousand_branches_of_which_none_has_moved(http_site, repo, make_far):
    """One listing, no fetch, milliseconds."""
    sha = repo.commit({"a": "1"})
    repo.git("update-ref", "--stdin", stdin="".join(f"create refs/heads/b/{n} {sha}\n" for n in range(5_000)))
    repo.git("pack-refs", "--all")
    far = make_far(http_site, repo)
    await far.refresh()
    assert len(far.refs()) == 5_001
    assert len(list(Path(far.repository.path, "refs", "heads").rglob("*"))) <= 2, "one file holds them all"
    http_site.seen.clear()
    started = time.process_time()
    for _ in range(5):
        await far.refresh()
    assert (time.process_time() - started) / 5 < 0.2
    assert len(http_site.calls("/git-upload-pack")) == 5, "five listings, no fetch"
    moved = repo.commit({"a": "2"})
    await far.refresh()
    assert far.refs()["refs/heads/main"] == moved
