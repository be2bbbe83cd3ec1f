"""Workspaces are copies (T20), made by git or by dulwich, and nothing of the repository is run while they are made."""

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from formicary.runner.core.errors import RepositoryUnavailable, UserError
from formicary.runner.git import workspace
from formicary.runner.git.repository import GitRepository

BOTH = ["git", "dulwich"]


@pytest.fixture(params=BOTH)
def means(request, monkeypatch):
    """With git and without."""
    if request.param == "dulwich":
        monkeypatch.setattr(workspace, "git_binary", lambda: None)
    return request.param


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def check_out(into, sha, branch=None):
    command = workspace.checkout_command(sha, branch)
    if command is None:
        workspace.checkout_with_dulwich(into, sha)
    else:
        subprocess.run(command, cwd=into, env=workspace.git_environment(into), check=True)


def git(into, *args):
    env = workspace.git_environment(into)
    return subprocess.run(["git", *args], cwd=into, env=env, check=True, capture_output=True, text=True).stdout.strip()


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def test_a_workspace_holds_the_commit_and_git_works_in_it(repo, into, means):
    repo.commit({"a": "1"})
    repo.tag("v1", annotated=True)
    sha = repo.commit({"a": "2", "run.sh": "#!/bin/sh\n", "deep/er/ä": "x"})
    (repo.path / "run.sh").chmod(0o755)
    (repo.path / "link").symlink_to("a")
    sha = repo.commit()
    workspace.fetch_commit(repo.path, sha, into, depth=50)
    assert [path.name for path in into.iterdir()] == [".git"], "nothing is checked out"
    check_out(into, sha, "main")
    assert (into / "a").read_text() == "2"
    assert (into / "deep/er/ä").read_text() == "x"
    assert os.access(into / "run.sh", os.X_OK)
    assert str((into / "link").readlink()) == "a"
    assert git(into, "status", "--porcelain") == ""
    assert git(into, "rev-parse", "HEAD") == sha
    assert len(git(into, "log", "--format=%h").splitlines()) == 3
    assert git(into, "fsck", "--strict") == ""


def test_branch_and_description_inside_a_workspace(repo, into):
    repo.commit({"a": "1"})
    repo.tag("v1", annotated=True)
    sha = repo.commit({"a": "2"})
    repo.branch("feature/ü")
    workspace.fetch_commit(repo.path, sha, into, depth=50)
    check_out(into, sha, "feature/ü")
    assert git(into, "rev-parse", "--abbrev-ref", "HEAD") == "feature/ü"
    assert git(into, "describe") == f"v1-1-g{sha[:7]}"
    assert git(into, "for-each-ref", "--format=%(refname)").splitlines() == ["refs/heads/feature/ü", "refs/tags/v1"]


@pytest.mark.parametrize("branch", [None, "", "-b", "HEAD", "a..b", "x y", "refs/heads/", "a.lock", "--orphan=x"])
def test_a_branch_that_git_would_not_take_leaves_head_detached(repo, into, branch):
    """T6: untrusted text is never an option."""
    sha = repo.commit({"a": "1"})
    workspace.fetch_commit(repo.path, sha, into, depth=1)
    check_out(into, sha, branch)
    assert git(into, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert (into / "a").read_text() == "1"


@pytest.mark.parametrize(("depth", "commits"), [(1, 1), (3, 3), (50, 5), (0, 5)])
def test_depth(repo, into, means, depth, commits):
    sha = [repo.commit({"a": str(i)}) for i in range(5)][-1]
    workspace.fetch_commit(repo.path, sha, into, depth=depth)
    assert git(into, "rev-list", "--count", "HEAD") == str(commits)
    assert (git(into, "rev-parse", "--is-shallow-repository") == "true") == (commits < 5)


def test_a_commit_that_no_ref_reaches(repo, into, means):
    repo.commit({"a": "1"})
    lost = repo.commit({"a": "2"})
    repo.git("reset", "-q", "--hard", "HEAD~1")
    workspace.fetch_commit(repo.path, lost, into, depth=50)
    check_out(into, lost)
    assert (into / "a").read_text() == "2"


@pytest.mark.parametrize("depth", [0, 1, 50])
def test_shallow_sources(repo, into, means, tmp_path, depth):
    sha = [repo.commit({"a": str(i)}) for i in range(5)][-1]
    repo.git("clone", "-q", "--depth", "2", repo.path.as_uri(), str(tmp_path / "short"))
    workspace.fetch_commit(tmp_path / "short", sha, into, depth=depth)
    check_out(into, sha)
    assert (into / "a").read_text() == "4"
    assert git(into, "rev-list", "--count", "HEAD") == str(1 if depth == 1 else 2)


@pytest.mark.parametrize("kind", ["bare", "worktree", "packed", "odd name", "sha256", "shared"])
def test_kinds_of_sources(make_repo, into, means, tmp_path, kind):
    repo = make_repo(
        "50% of ä b#c?d" if kind == "odd name" else "r", *(["--object-format=sha256"] * (kind == "sha256"))
    )
    sha = repo.commit({"a": "1"})
    repo.tag("v1")
    source = repo.path
    if kind == "bare":
        source = repo.bare(tmp_path / "b.git")
    elif kind == "worktree":
        source = tmp_path / "side"
        repo.git("worktree", "add", "-q", str(source))
    elif kind == "packed":
        repo.git("gc", "-q")
    elif kind == "shared":
        source = tmp_path / "s"
        repo.git("clone", "-q", "--shared", str(repo.path), str(source))
    workspace.fetch_commit(source, sha, into, depth=50)
    check_out(into, sha)
    assert (into / "a").read_text() == "1"
    assert not (into / ".git/objects/info/alternates").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_workspace_shares_no_file_with_its_source(repo, into, means, packed):
    """T20: truncating everything in the workspace leaves the source whole."""
    sha = repo.commit({f"f{i}": str(i) * 100 for i in range(20)})
    if packed:
        repo.git("gc", "-q")
    before = {(path.stat().st_dev, path.stat().st_ino) for path in files(repo.path)}
    workspace.fetch_commit(repo.path, sha, into, depth=0)
    check_out(into, sha)
    copies = files(into)
    assert copies
    for path in copies:
        found = path.stat()
        assert found.st_nlink == 1
        assert (found.st_dev, found.st_ino) not in before
    for path in copies:
        path.chmod(0o644)
        os.truncate(path, 0)
    assert repo.git("fsck", "--strict") == ""
    with closing(GitRepository.open(repo.path)) as source:
        assert len(source.changed_files(None, sha)) == 20


def test_nothing_of_the_repository_is_run(repo, into, tmp_path, monkeypatch):
    """T12: no hooks, no filters, no programs that a configuration names; submodules are not fetched."""
    marker = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho ran $0 >> {marker}\nexec cat\n")
    program.chmod(0o755)
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        shutil.copy(program, home / "hooks" / name)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n\tfsmonitor = {program}\n[filter "lfs"]\n\tsmudge = {program}\n'
        f'\tprocess = {program}\n\trequired = true\n[filter "own"]\n\tsmudge = {program}\n'
    )
    repo.write({".gitattributes": "*.bin filter=lfs\n*.own filter=own\n", "x.bin": "1", "x.own": "2"})
    repo.write({".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = {tmp_path}\n'})
    sha = repo.commit()
    repo.git("config", "uploadpack.packObjectsHook", str(program))
    repo.git("config", "core.fsmonitor", str(program))
    monkeypatch.setenv("HOME", str(home))
    workspace.fetch_commit(repo.path, sha, into, depth=50)
    check_out(into, sha, "main")
    assert (into / "x.bin").read_text() == "1"
    assert not marker.exists(), marker.read_text()


def test_lfs_stays_off_even_with_the_users_configuration(repo, into, tmp_path):
    """T12: filters run only where they were configured for it."""
    (tmp_path / ".gitconfig").write_text('[filter "lfs"]\n\tsmudge = false\n\tprocess = false\n\trequired = true\n')
    sha = repo.commit({".gitattributes": "*.bin filter=lfs\n", "x.bin": "1"})
    workspace.fetch_commit(repo.path, sha, into, depth=1)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run(workspace.checkout_command(sha, None), cwd=into, env=env, check=True)
    assert (into / "x.bin").read_text() == "1"


def test_what_is_not_there_is_the_worlds_error(repo, tmp_path, means):
    sha = repo.commit({"a": "1"})
    for number, (source, wanted) in enumerate([(repo.path, "1" * 40), (tmp_path / "gone", sha)]):
        into = tmp_path / f"w{number}"
        into.mkdir()
        with pytest.raises(RepositoryUnavailable) as caught:
            workspace.fetch_commit(source, wanted, into, depth=1)
        assert str(source) in str(caught.value)
    if means == "git":
        assert "does not appear to be a git repository" in str(caught.value)


@pytest.mark.parametrize("sha", ["main", "", "abc", "--upload-pack=x", "1" * 39, "G" * 40])
def test_only_full_ids_are_fetched(repo, into, sha):
    with pytest.raises(UserError, match="not a full commit id"):
        workspace.fetch_commit(repo.path, sha, into, depth=1)
    assert not any(into.iterdir())


def test_a_workspace_is_made_only_once(repo, into):
    sha = repo.commit({"a": "1"})
    workspace.fetch_commit(repo.path, sha, into, depth=1)
    with pytest.raises(UserError, match="exists already"):
        workspace.fetch_commit(repo.path, sha, into, depth=1)


def test_a_damaged_source_is_a_sentence(repo, into, means):
    """T12: corrupt objects."""
    sha = repo.commit({"a": "1"})
    path = repo.path / ".git/objects" / sha[:2] / sha[2:]
    path.chmod(0o644)
    path.write_bytes(b"nonsense")
    with pytest.raises(RepositoryUnavailable):
        workspace.fetch_commit(repo.path, sha, into, depth=50)


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT"])
def test_dulwich_writes_nothing_outside(repo, into, monkeypatch, name):
    """T12: paths that lead out of the tree or into .git."""
    monkeypatch.setattr(workspace, "git_binary", lambda: None)
    inner = repo.raw_tree((b"100644", b"evil", repo.blob("x")))
    sha = repo.commit_tree(repo.raw_tree((b"40000", name, inner)))
    with pytest.raises((UserError, RepositoryUnavailable)):
        workspace.fetch_commit(repo.path, sha, into, depth=1)
        workspace.checkout_with_dulwich(into, sha)
    assert not list(into.parent.rglob("evil"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a repository of another user")
@pytest.mark.parametrize("bare", [False, True])
def test_root_copies_another_users_repository(repo, into, tmp_path, bare):
    """T19, T20: the ant may run as root and the repository belong to somebody; so may its objects be unreadable."""
    sha = repo.commit({"a": "1"})
    source = repo.bare(tmp_path / "b.git") if bare else repo.path
    for path in (source, *source.rglob("*")):
        os.lchown(path, 12345, 12345)
    workspace.fetch_commit(source, sha, into, depth=50)
    check_out(into, sha)
    assert (into / "a").stat().st_uid == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a command as another user")
def test_another_user_fills_the_working_tree(repo, into):
    """T19: the checkout happens under the task's uid."""
    sha = repo.commit({"a": "1"})
    workspace.fetch_commit(repo.path, sha, into, depth=50)
    for path in (into, *into.rglob("*")):
        os.lchown(path, 12345, 12345)
    parent = into
    while parent != Path("/"):
        parent.chmod(parent.stat().st_mode | 0o011)
        parent = parent.parent
    command = workspace.checkout_command(sha, "main")
    subprocess.run(command, cwd=into, env=workspace.git_environment(into), check=True, user=12345, group=12345)
    assert (into / "a").stat().st_uid == 12345


def test_a_git_that_never_ends_is_ended_with_its_children(repo, into, tmp_path, monkeypatch):
    """Nothing outlives its task: the whole process group is killed."""
    sha = repo.commit({"a": "1"})
    os.mkfifo(tmp_path / "alive")
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\n(exec sleep 600 > {tmp_path}/alive) &\nwait\n")
    program.chmod(0o755)
    reading = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(workspace, "git_binary", lambda: str(program))
    monkeypatch.setattr(workspace, "FETCH_TIMEOUT", 0.5)
    with pytest.raises(RepositoryUnavailable, match="did not finish"):
        workspace.fetch_commit(repo.path, sha, into, depth=1)
    os.set_blocking(reading, True)
    assert os.read(reading, 1) == b"", "the pipe ends when the last process that holds it does"
    os.close(reading)
