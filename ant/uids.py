"""As root every task gets an unprivileged user of its own (T19): a number that nobody else has at the same time.

A number is locked by a file in a folder that all ants of this machine share, so never two tasks have it at once, of
whichever process; and they are handed out in turn, so that one comes back as late as possible.
"""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import LostError

DEFAULT_RANGE: Final = (200_000, 265_535)
LOCKS: Final = Path("/run/formicary/uids")
OTHER_LOCKS: Final = Path("/var/tmp/formicary-uids")  # where there is no /run; 0700, and checked


def default_range() -> tuple[int, int] | None:
    """The range to use: None when this process is not root, or cannot give files away (a container may forbid it)."""
    if os.geteuid() != 0:
        return None
    with tempfile.TemporaryFile() as file:
        try:
            os.fchown(file.fileno(), DEFAULT_RANGE[0], DEFAULT_RANGE[0])
            os.fchown(file.fileno(), DEFAULT_RANGE[1], DEFAULT_RANGE[1])
        except OSError:
            return None
    return DEFAULT_RANGE


class Uids:
    """Lends numbers of `first..last`; with no range it lends None: the task runs as the ant's own user."""

    def __init__(self, range_: tuple[int, int] | None, locks: Path | None = None) -> None:
        self._range = range_
        if range_ is None:
            return
        self._folder = locks or (LOCKS if Path("/run").is_dir() else OTHER_LOCKS)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._folder.stat().st_uid != os.geteuid():
            raise LostError(
                f"{self._folder} belongs to somebody else; remove it, tasks cannot be told apart otherwise."
            )
        self._next = random.randint(*range_)  # only where to begin

    @contextmanager
    def lend(self) -> Iterator[int | None]:
        """A number for one task, and for whatever it leaves on the disk until that is removed."""
        if self._range is None:
            yield None
            return
        uid, lock = self._lock()
        try:
            yield uid
        finally:
            (self._folder / str(uid)).unlink(missing_ok=True)
            os.close(lock)

    def _lock(self) -> tuple[int, int]:
        assert self._range is not None
        first, last = self._range
        for _ in range(last - first + 1):
            uid, self._next = self._next, self._next + 1 if self._next < last else first
            lock = _try(self._folder / str(uid))
            if lock is not None:
                return uid, lock
        raise LostError(f"All user numbers from {first} to {last} are in use; make the range larger.")


def _try(path: Path) -> int | None:
    """The locked file, or None. A file that its last holder removed meanwhile is no lock: look again."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        try:
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
