"""As root every task gets an unprivileged user of its own (T19): a number that nobody else has at the same time.

Numbers are locked, in blocks, by files in a folder that all ants of this machine share, so never two tasks have one at
once, of whichever process; and they are handed out in turn, so that one comes back as late as possible.
"""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import LostError

DEFAULT_RANGE: Final = (200_000, 265_535)
BLOCK: Final = 1024
LEAST_BLOCKS: Final = 4
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
    """Lends numbers of `first..last`; with no range it lends None: the task runs as the ant's own user.

    A lock file stands for a block of numbers, and is kept: a file for each task would cost it as much as its process.
    """

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
        first, last = range_
        self._size = min(BLOCK, max((last - first + 1) // LEAST_BLOCKS, 1))
        self._locks: list[int] = []
        self._free: deque[int] = deque()

    @contextmanager
    def lend(self) -> Iterator[int | None]:
        """A number for one task, and for whatever it leaves on the disk until that is removed."""
        if self._range is None:
            yield None
            return
        if not self._free:
            self._take_block()
        uid = self._free.popleft()
        try:
            yield uid
        finally:
            self._free.append(uid)  # the last to be lent again

    def close(self) -> None:
        """Give the blocks back; nothing may be lent any more."""
        if self._range is not None:
            for lock in self._locks:
                os.close(lock)
            self._locks.clear()

    def _take_block(self) -> None:
        """Lock a block that nobody has, beginning anywhere."""
        assert self._range is not None
        first, last = self._range
        blocks = range((last - first + 1) // self._size)
        start = random.randrange(len(blocks))
        for block in (*blocks[start:], *blocks[:start]):
            begin = first + block * self._size
            lock = _try(self._folder / str(begin))
            if lock is not None:
                self._locks.append(lock)
                self._free.extend(range(begin, begin + self._size))
                return
        raise LostError(f"All user numbers from {first} to {last} are in use; make the range larger.")


def _try(path: Path) -> int | None:
    """The locked file, or None. It is never removed, so there is one lock for a block."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
