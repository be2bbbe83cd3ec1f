"""One queen a data folder: a lock that the kernel takes back when its process ends, however it ends.

The lock belongs to the open file: a child that was forked without exec holds it too, so fork such helpers first.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import SetupError

FILE_NAME: Final = "formicary.lock"


class FolderLock:
    """The right to write in a data folder; it names its process in the file. Raises SetupError where another has it."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise SetupError(
                f"The data folder {folder} is in use by another Formicary (process {owner}); stop that one first, or "
                f"give this one a folder of its own with --data."
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
