"""Makes workspaces that share nothing with their source: objects are copied, no hook or filter is run (T12, T20)."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from dulwich.refs import Ref, check_ref_format

from formicary.runner.core.errors import RepositoryUnavailable, SetupError, UserError

FETCH_TIMEOUT: Final = 1800.0
LIST_TIMEOUT: Final = 120.0
COPY_REF: Final = "refs/formicary/commit"
HEX: Final = "0123456789abcdef"

# The source may belong to anybody. Deltas are not searched for: the copy stays on this machine and lives for one task.
UPLOAD_PACK: Final = (
    "git -c safe.directory=* -c uploadpack.allowAnySHA1InWant=true -c pack.window=0 -c pack.threads=1 upload-pack"
)
# One pack instead of many loose files: faster to write, to give to another user and to remove.
FETCH: Final = (
    *("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "protocol.version=2"),
    *("-c", "fetch.unpackLimit=1", "-c", "pack.threads=1", "-c", "maintenance.auto=false"),
    *("fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", "--update-shallow"),
)
CHECKOUT: Final = (
    *("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "advice.detachedHead=false", "-c", "protocol.file.allow=never"),
    *("-c", "filter.lfs.process=", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false"),
    *("checkout", "--quiet", "--force", "--no-recurse-submodules"),
)


@cache
def git_binary() -> str | None:
    """Where git is, if it is installed."""
    return shutil.which("git")


def git_environment(home: Path) -> dict[str, str]:
    """The environment for any git command in a workspace: nothing of the machine's or a user's configuration."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }


def fetch_commit(source: Path, sha: str, into: Path, *, depth: int) -> None:
    """Make `into/.git` with copies of this commit's objects and `depth` commits of history (0 = all), HEAD detached.

    Nothing is checked out. Tags on what was copied come along (unless depth is 1), so that `git describe` works.
    """
    if len(sha) not in (40, 64) or sha.strip(HEX):
        raise UserError(f"{sha[:64]!r} is not a full commit id; give all of its 40 (or 64) hexadecimal digits.")
    source, folder = source.absolute(), into.absolute() / ".git"
    _write_skeleton(folder, sha)
    git = git_binary()
    if git is None:
        from formicary.runner.git import fallback  # on first use: it brings a large part of dulwich along

        fallback.fetch(source, sha, folder, depth)
    else:
        _fetch_with_git(git, source, sha, into, depth)
    (folder / "HEAD").write_text(f"{sha}\n")


def checkout_command(sha: str, branch: str | None) -> list[str] | None:
    """What fills the working tree, to be run in it as the task's user with `git_environment`; None without git.

    A branch whose name git would not take is not made: HEAD stays detached.
    """
    git = git_binary()
    if git is None:
        return None
    name = (branch or "").removeprefix("refs/heads/")
    return [git, *CHECKOUT, *(("-B", name) if valid_branch(name) else ("--detach",)), sha, "--"]


def checkout_with_dulwich(into: Path, sha: str) -> None:
    """As `checkout_command`, without git: fills the working tree and the index; HEAD stays detached."""
    from formicary.runner.git import fallback  # on first use

    fallback.checkout(into.absolute(), sha)


def valid_branch(name: str) -> bool:
    usable = bool(name) and not name.startswith("-") and name != "HEAD"
    return usable and check_ref_format(Ref(b"refs/heads/" + name.encode("utf-8", "replace")))


def snapshot_files(tree: Path) -> list[str]:
    """Files of a working tree as they are now, tracked or not, without the ignored ones; relative to `tree`, sorted.

    Submodules and repositories inside are left out. Here the user's own git configuration counts (their excludes).
    """
    tree = tree.absolute()
    git = git_binary()
    names = _list_with_dulwich(tree) if git is None else _list_with_git(git, tree)
    links: dict[PurePosixPath, bool] = {}
    return sorted(
        name for name in names if not _behind_link(tree, PurePosixPath(name).parent, links) and _is_file(tree / name)
    )


def copy_snapshot(tree: Path, files: list[str], into: Path) -> None:
    """Copy these files with their permission bits; a symbolic link stays one. What vanished meanwhile is left out."""
    links: dict[PurePosixPath, bool] = {}
    made: set[PurePosixPath] = set()
    for path in map(PurePosixPath, files):
        _refuse_escape(tree, path)
        if _behind_link(tree, path.parent, links):
            raise UserError(f"{path} lies behind a symbolic link and not in {tree}; it cannot be copied.")
        if path.parent not in made:
            (into / path.parent).mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        _copy_one(tree / path, into / path)


def _copy_one(source: Path, target: Path) -> None:
    try:
        mode = source.lstat().st_mode
        if stat.S_ISLNK(mode):
            target.symlink_to(source.readlink())
        elif stat.S_ISREG(mode):
            shutil.copyfile(source, target, follow_symlinks=False)
            target.chmod(stat.S_IMODE(mode) & 0o777)
    except FileNotFoundError:
        return


def _refuse_escape(tree: Path, path: PurePosixPath) -> None:
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in str(path) or _in_git_folder(path):
        raise UserError(f"{str(path)!r} does not lie inside {tree}; only files of the working tree can be copied.")


def _in_git_folder(path: PurePosixPath) -> bool:
    return any(part.lower() == ".git" for part in path.parts)


def _behind_link(tree: Path, folder: PurePosixPath, known: dict[PurePosixPath, bool]) -> bool:
    """Whether a tracked folder was replaced by a link, so that what is below it now lies elsewhere."""
    if not folder.parts:
        return False
    if folder not in known:
        known[folder] = (tree / folder).is_symlink() or _behind_link(tree, folder.parent, known)
    return known[folder]


def _is_file(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _list_with_dulwich(tree: Path) -> list[str]:
    from formicary.runner.git import fallback  # on first use

    return fallback.list_files(tree)


def _list_with_git(git: str, tree: Path) -> list[str]:
    # A hook's GIT_DIR or GIT_INDEX_FILE would point elsewhere; fsmonitor would run a program the repository names.
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
    command = [git, "-c", "core.fsmonitor=false", "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o"]
    code, out, err = _run([*command, "--exclude-standard", "--deduplicate"], tree, env, LIST_TIMEOUT)
    if code:
        raise SetupError(f"{tree} is no git working tree ({_reason(err)}); run `git init` there.")
    return [os.fsdecode(name) for name in out.split(b"\0") if name and not name.endswith(b"/")]


def _write_skeleton(folder: Path, sha: str) -> None:
    """What `git init` would make, without its process."""
    if folder.exists():
        raise UserError(f"{folder} exists already; a workspace is made in an empty folder.")
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (folder / name).mkdir(parents=True)
    version, extension = (1, "[extensions]\n\tobjectformat = sha256\n") if len(sha) == 64 else (0, "")
    core = f"[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n"
    (folder / "config").write_text(f"{core}\tlogallrefupdates = true\n{extension}")
    (folder / "HEAD").write_text("ref: refs/heads/main\n")


def _fetch_with_git(git: str, source: Path, sha: str, into: Path, depth: int) -> None:
    tags = depth != 1 and _has_tags(source)
    refspec = f"{sha}:{COPY_REF}" if tags else sha  # git follows tags only for what it gives a name
    options = [
        "--upload-pack",
        UPLOAD_PACK,
        *(() if tags else ("--no-tags",)),
        *(("--depth", str(depth)) * (depth > 0)),
    ]
    command = [git, *FETCH, *options, "--", source.as_uri(), refspec]
    code, _, err = _run(command, into, git_environment(into), FETCH_TIMEOUT)
    if code:
        raise RepositoryUnavailable(f"Commit {sha} could not be copied from {source}: {_reason(err)}")
    if tags:
        (into / ".git" / COPY_REF).unlink()
        (into / ".git" / COPY_REF).parent.rmdir()


def _has_tags(source: Path) -> bool:
    """Following tags costs milliseconds, and most repositories have none. In doubt (a worktree): yes."""
    folder = source / ".git" if (source / ".git").exists() else source
    if not (folder / "refs").is_dir() or (folder / "reftable").exists():
        return True
    try:
        if next((folder / "refs" / "tags").iterdir(), None) is not None:
            return True
        return b" refs/tags/" in (folder / "packed-refs").read_bytes()
    except OSError:
        return False


def _run(command: list[str], cwd: Path, env: dict[str, str], timeout: float) -> tuple[int, bytes, bytes]:
    """Run to the end; whatever ends this call early ends the whole process group too."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise RepositoryUnavailable(f"git did not finish within {timeout:.0f} seconds in {cwd}.") from error
        except BaseException:
            _end(process)
            raise
    return process.returncode, out, err


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _reason(stderr: bytes) -> str:
    """The line in which git says what is wrong: the first fatal one, for what follows it is general advice."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal:")]
    return (fatal or lines[-1:] or ["git gave no reason"])[0][:500]
