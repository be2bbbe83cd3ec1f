"""The folders of a task execution, outside the data folder and shared with nobody: made, handed over, removed.

`<work>/<number>/` holds `workspace`, `home` and `tmp`, which are the task's, and `run`, which stays ours:
the task may read it but not put links where we write. The folder itself is ours too, and only the task's group may
pass through it; `work` is open for passing through alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from formicary.runner.core.errors import SetupError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one task execution lives, and the user that it belongs to (None: the ant's own)."""

    root: Path
    workspace: Path
    home: Path
    tmp: Path
    run: Path
    output: Path
    spool: Path
    uid: int | None

    @classmethod
    def of(cls, root: Path, uid: int | None) -> Place:
        run = root / "run"
        return cls(root, root / "workspace", root / "home", root / "tmp", run, run / "output", root / "log", uid)

    def make(self) -> None:
        """All folders, empty, and the file for outputs."""
        for folder in (self.root, self.workspace, self.home, self.tmp, self.run):
            os.mkdir(folder, 0o700)  # noqa: PTH102  # pathlib costs time here
        self.write_run(self.output, b"")
        self._hand_over()

    def take_over(self) -> None:
        """The same, from folders that another task has left empty."""
        for folder in (self.workspace, self.home, self.tmp):
            if stat.S_IMODE(os.lstat(folder).st_mode) != 0o700:
                os.chmod(folder, 0o700)  # noqa: PTH101
        if self.uid is None:
            os.chmod(self.output, 0o600)  # noqa: PTH101
        else:
            self.write_run(self.output, b"")
        self._hand_over()

    def shut(self) -> None:
        """Nobody may pass into it until it is handed over again: a later task may get this one's number."""
        if self.uid is not None:
            os.chmod(self.root, 0o700)  # noqa: PTH101

    def _hand_over(self) -> None:
        if self.uid is None:
            return
        for folder in (self.workspace, self.home, self.tmp):
            self.give(folder)
        for folder in (self.root, self.run):
            os.chown(folder, -1, self.uid)
            if stat.S_IMODE(os.lstat(folder).st_mode) != 0o710:
                os.chmod(folder, 0o710)  # noqa: PTH101

    def give(self, path: Path) -> None:
        if self.uid is not None:
            os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def give_all(self, folder: Path) -> None:
        """A tree that we made ourselves, before anything of the task has run in it."""
        if self.uid is None:
            return
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(os.path.join(parent, name), self.uid, self.uid, follow_symlinks=False)  # noqa: PTH118
        self.give(folder)

    def write_run(self, path: Path, data: bytes) -> None:
        """A file in `run` that the task's user may read and write, and not replace."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "wb", buffering=0) as file:
            if self.uid is not None:
                os.fchown(handle, self.uid, self.uid)
            file.write(data)

    def empty(self) -> bool:
        """Whether the task has left nothing behind; our own files in `run` go. Raises OSError."""
        if len(os.listdir(self.root)) != len((self.workspace, self.home, self.tmp, self.run)):  # noqa: PTH208
            return False
        if not all(untouched(folder) for folder in (self.workspace, self.home, self.tmp)):
            return False
        for name in os.listdir(self.run):  # noqa: PTH208
            if name != self.output.name:
                os.unlink(os.path.join(self.run, name))  # noqa: PTH108, PTH118
        return self._blank_output()

    def _blank_output(self) -> bool:
        """Empty the file for outputs, unless the task has given it another name or attributes of its own. Of a task
        with a user of its own it goes: it may have passed the open file on to another one that still runs."""
        if self.uid is not None:
            os.unlink(self.output)  # noqa: PTH108
            return True
        found = os.lstat(self.output)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or _attributes(self.output):
            return False
        if found.st_size:
            os.truncate(self.output, 0)
        return True


def untouched(folder: Path) -> bool:
    """Nothing in it, and no attributes on it: an access list would outlive its task."""
    return not os.listdir(folder) and not _attributes(folder)  # noqa: PTH208  # pathlib costs time here


def _attributes(path: Path) -> list[str]:
    if not hasattr(os, "listxattr"):
        return []
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []  # this file system has none


def remove_tree(root: Path) -> None:
    """Remove whatever a task may have left, in any depth, without permissions; links are not followed. Blocking."""
    try:
        shutil.rmtree(root, ignore_errors=True)
    except RecursionError:
        pass
    if not root.exists():
        return
    for command in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
        subprocess.run([*command, "--", str(root)], check=False, capture_output=True)
    if root.exists():
        _log.warning("%s could not be removed whole; it is tried again when the ant starts next", root)


class Work:
    """The folder of all tasks of one ant, held by a lock: what is in it at the start was left by a dead ant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        self._lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SetupError(f"Another ant works in {self.folder}: stop it, or choose another --work.") from None

    def close(self) -> None:
        os.close(self._lock)

    def leftovers(self) -> list[Path]:
        """What a dead ant has left, moved out of the way (ids may come again) and shut (so may users' numbers)."""
        found = [path for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink()]
        for path in found:
            path.chmod(0o700)
        return [path.rename(self.folder / f".gone-{token_hex(8)}") for path in found]

    def check_reachable(self) -> None:
        """Tasks with users of their own must be able to pass through every folder above. Raises SetupError."""
        for folder in self.folder.parents:
            if not folder.stat().st_mode & 0o001:
                raise SetupError(
                    f"Tasks run as users of their own and cannot pass through {folder} to {self.folder}: "
                    "choose a --work that everybody may pass through, as /var/lib/formicary-work."
                )
