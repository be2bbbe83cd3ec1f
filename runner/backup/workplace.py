"""A hidden folder for what is not finished: gone when its process has done, or found and removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_YOUNG: Final = 60.0
"""One that was made so lately (s) may not be locked yet."""


@contextmanager
def workplace_in(folder: Path, prefix: str) -> Iterator[Path]:
    """A folder below `folder`, 0700, locked while we live; those with this prefix whose process was killed go."""
    for old in folder.glob(f"{prefix}*"):
        with _locked(old) as ours:
            if ours and old.stat().st_mtime < time.time() - _YOUNG:
                shutil.rmtree(old, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        with _locked(made):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether it is ours meanwhile; one that is gone, or not ours to open, is not."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = True
    except BlockingIOError:
        ours = False
    try:
        yield ours
    finally:
        os.close(handle)
