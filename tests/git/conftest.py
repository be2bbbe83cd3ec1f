"""A builder of git repositories with fixed authors and times, made by the git binary."""

import os
import subprocess
from pathlib import Path

import pytest

from formicary.runner.git.repository import GitRepository

START = 1_700_000_000


class RepoBuilder:
    """A git repository in a folder. Each commit is a minute younger than the one before."""

    def __init__(self, path, *options, bare=False):
        self.path = Path(path)
        self.minutes = 0
        self.path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *(("--bare",) if bare else ()), *options)

    def git(self, *args, stdin=None, cwd=None, **env):
        when = f"{START + 60 * self.minutes} +0000"
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_AUTHOR_DATE": when,
            "GIT_COMMITTER_NAME": "Cy",
            "GIT_COMMITTER_EMAIL": "cy@example.org",
            "GIT_COMMITTER_DATE": when,
            **env,
        }
        stdin = stdin.encode() if isinstance(stdin, str) else stdin
        options = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            ["git", "-c", "gc.auto=0", "-c", "core.fsync=none", *args],
            cwd=cwd or self.path,
            env=variables,
            capture_output=True,
            **options,
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files):
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files=None, message="change"):
        """Write these files (None = none), commit everything, give the id."""
        self.write(files or {})
        self.minutes += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def raw_commit(self, content):
        """A commit of exactly these bytes, on no branch."""
        return self.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=content)

    def raw_tree(self, *entries):
        """A tree of (mode, name, id), however wrong the names are."""
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries)
        return self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=data)

    def blob(self, content):
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def commit_tree(self, tree, *parents):
        return self.git("commit-tree", tree, "-m", "made", *(word for parent in parents for word in ("-p", parent)))

    def head(self):
        return self.git("rev-parse", "HEAD")

    def branch(self, name, sha="HEAD"):
        self.git("branch", "-f", name, sha)

    def tag(self, name, sha="HEAD", *, annotated=False):
        self.git("tag", *(("-a", "-m", name) if annotated else ()), name, sha)

    def bare(self, path):
        """A bare clone that shares nothing."""
        self.git("clone", "-q", "--bare", "--no-hardlinks", str(self.path), str(path))
        return Path(path)


@pytest.fixture
def repo(tmp_path):
    return RepoBuilder(tmp_path / "repo")


@pytest.fixture
def make_repo(tmp_path):
    return lambda name, *options, bare=False: RepoBuilder(tmp_path / name, *options, bare=bare)


@pytest.fixture
def opened():
    """Opens repositories and closes them in the end."""
    repositories = []

    def open_(path):
        repositories.append(GitRepository.open(path))
        return repositories[-1]

    yield open_
    for repository in repositories:
        repository.close()
