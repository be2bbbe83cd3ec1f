"""Snapshots of a working tree for `formicary run`: what is there now, copied."""

import os

import pytest

from formicary.runner.core.errors import SetupError, UserError
from formicary.runner.git import workspace


@pytest.fixture(params=["git", "dulwich"])
def means(request, monkeypatch):
    """With git and without."""
    if request.param == "dulwich":
        monkeypatch.setattr(workspace, "git_binary", lambda: None)
    return request.param


def test_files_as_they_are_now(repo, means):
    repo.commit({"kept": "1", "gone": "1", "changed": "1", ".gitignore": "*.log\n/build/\n", "forced.log": "1"})
    repo.git("add", "-f", "forced.log")
    (repo.path / "gone").unlink()
    repo.write(
        {"changed": "2", "new/ä b": "x", "x.log": "y", "build/out": "z", "new/.gitignore": "no\n", "new/no": "1"}
    )
    (repo.path / "dangling").symlink_to("nowhere")
    expected = [".gitignore", "changed", "dangling", "forced.log", "kept", "new/.gitignore", "new/ä b"]
    assert workspace.snapshot_files(repo.path) == expected


def test_before_the_first_commit(repo, means):
    repo.write({"a": "1"})
    assert workspace.snapshot_files(repo.path) == ["a"]


def test_a_repository_inside_is_left_out(repo, make_repo):
    make_repo("repo/inner").commit({"x": "1"})
    repo.write({"a": "1"})
    assert workspace.snapshot_files(repo.path) == ["a"]


def test_a_name_that_is_not_utf8_is_copied_too(repo, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (repo.path / name).write_text("x")
    files = workspace.snapshot_files(repo.path)
    workspace.copy_snapshot(repo.path, files, tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [name]


def test_no_working_tree_says_git_init(tmp_path, means):
    with pytest.raises(SetupError, match="git init"):
        workspace.snapshot_files(tmp_path)


def test_no_program_of_the_repository_is_run_and_a_hooks_variables_are_not_believed(
    repo, make_repo, tmp_path, monkeypatch
):
    """T12: `formicary run` may be called from a hook, and in a hostile clone."""
    repo.write({"a": "1"})
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(program))
    other = make_repo("other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert workspace.snapshot_files(repo.path) == ["a"]
    assert not (tmp_path / "ran").exists()


def test_copies_keep_bits_and_links_and_share_nothing(repo, tmp_path):
    """T20: workspaces are copies."""
    repo.write({"run": "#!/bin/sh\n", "deep/er/x": "1", "private": "2"})
    (repo.path / "run").chmod(0o755)
    (repo.path / "private").chmod(0o600)
    (repo.path / "link").symlink_to("deep/er/x")
    into = tmp_path / "copy"
    workspace.copy_snapshot(repo.path, [*workspace.snapshot_files(repo.path), "vanished"], into)
    assert (into / "deep/er/x").read_text() == "1"
    assert [(into / name).stat().st_mode & 0o777 for name in ("run", "private")] == [0o755, 0o600]
    assert str((into / "link").readlink()) == "deep/er/x"
    assert not (into / "vanished").exists()
    assert (into / "run").stat().st_nlink == 1
    (into / "run").write_text("")
    assert (repo.path / "run").read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../../secret", ".git/config", "sub/.GIT/x", "", "a\0b"]
)
def test_paths_that_escape_are_refused(repo, tmp_path, name):
    """T12: paths with `..`, NUL and `.git`."""
    (tmp_path / "secret").write_text("token")
    with pytest.raises(UserError, match="does not lie inside"):
        workspace.copy_snapshot(repo.path, [name], tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_files_behind_a_link_are_refused(repo, tmp_path):
    """T12: a tracked folder that was replaced by a link leads outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("token")
    repo.commit({"folder/secret": "1"})
    (repo.path / "folder/secret").unlink()
    (repo.path / "folder").rmdir()
    (repo.path / "folder").symlink_to(tmp_path / "outside")
    assert "folder/secret" not in workspace.snapshot_files(repo.path)
    with pytest.raises(UserError, match="symbolic link"):
        workspace.copy_snapshot(repo.path, ["folder/secret"], tmp_path / "copy")
