"""The change detector: cheap, and it misses nothing."""

import os
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from costs import within
from dulwich.repo import Repo


def settle(repo):
    """Make everything that the change detector looks at old enough to be believed."""
    for folder, _, files in os.walk(repo.path / ".git"):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            os.utime(path, ns=(10**18, 10**18))


CHANGES = {
    "a commit": lambda repo: repo.commit(),
    "a branch": lambda repo: repo.branch("new"),
    "a branch in a new folder": lambda repo: repo.branch("new/folder/x"),
    "a branch in an old folder": lambda repo: repo.branch("old/y"),
    "a tag": lambda repo: repo.tag("v1"),
    "a deleted branch": lambda repo: repo.git("branch", "-D", "old/x"),
    "packing": lambda repo: repo.git("pack-refs", "--all"),
    "another HEAD": lambda repo: repo.git("symbolic-ref", "HEAD", "refs/heads/old/x"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_tells_of_every_change_and_of_nothing_else(repo, opened, change):
    """D5: an idle poll is cheap and misses nothing."""
    repo.commit()
    repo.branch("old/x")
    settle(repo)
    git = opened(repo.path)
    before = git.fingerprint()
    assert git.fingerprint() == before
    CHANGES[change](repo)
    assert git.fingerprint() != before


def test_a_ref_that_moves_twice_within_one_tick_is_not_missed(repo, opened):
    """D5: what changed a moment ago is never believed, so the look after it reads the refs once more."""
    repo.commit()
    git = opened(repo.path)
    now = time.time_ns() + 10**12  # not to become old while this test runs
    os.utime(repo.path / ".git/refs/heads", ns=(now, now))
    assert git.fingerprint() != git.fingerprint()


def test_5000_loose_branches_are_read_quickly_and_an_idle_poll_does_not_look_at_them(repo, opened):
    """D5: the poll is cheap; the bounds are far above what it takes, so that a busy machine passes."""
    repo.commit()
    main = repo.path / ".git/refs/heads/main"
    for number in range(5000):
        os.link(main, main.with_name(f"b{number}"))
    os.utime(main.parent, ns=(10**18, 10**18))
    os.utime(repo.path / ".git/HEAD", ns=(10**18, 10**18))
    os.utime(main.parent.parent / "tags", ns=(10**18, 10**18))
    git = opened(repo.path)
    assert len(within(0.3, git.refs)) == 5001
    before = git.fingerprint()
    assert within(0.02, lambda: {git.fingerprint() for _ in range(10)}) == {before}


def test_reftable_repositories_are_read(repo, opened):
    sha = repo.commit({"a": "1"})
    repo.git("config", "core.repositoryformatversion", "1")
    repo.git("config", "extensions.refStorage", "reftable")
    shutil.rmtree(repo.path / ".git/refs/heads")
    with closing(Repo(repo.path)) as raw:
        raw.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
        raw.refs[b"refs/heads/main"] = sha.encode()
    git = opened(repo.path)
    assert (git.refs(), git.head_ref()) == ({"refs/heads/main": sha}, "refs/heads/main")
    settle(repo)
    before = git.fingerprint()
    assert git.fingerprint() == before
    with closing(Repo(repo.path)) as raw:
        raw.refs[b"refs/heads/new"] = sha.encode()
    assert git.fingerprint() != before
    assert git.refs() == {"refs/heads/main": sha, "refs/heads/new": sha}
