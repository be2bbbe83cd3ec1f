"""The log files of attempts, append-only, one a task execution: `<logs>/<thousand>/<task execution id>.log` (D13).

Appends name their offset, so a chunk that comes twice or late changes nothing. Written through to the kernel, not
fsynced: a power cut may cost log, never state. Logs that were archived are read from a copy that is brought back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from formicary.runner.artifacts import ObjectStore
from formicary.runner.core.errors import NotFound
from formicary.runner.core.logframes import Frame, parse
from formicary.runner.queen.keeping.shelf import Shelf

_ID: Final = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")
_OPEN_FILES: Final = 64
_READ: Final = 1 << 20


def log_path(folder: Path, task_execution_id: str) -> Path:
    """Where a task execution's log lies: a thousand executions share a folder, for making folders costs more than
    making files. Raises NotFound for what is no such id."""
    if not _ID.fullmatch(task_execution_id):
        raise NotFound(f"`{task_execution_id}` is no task execution; it looks like 12-3")
    thousand = int(task_execution_id.partition("-")[0]) // 1000
    return folder / str(thousand) / f"{task_execution_id}.log"


class Logs:
    """`archive` is where logs go, in the end, and come back from; it holds nothing else."""

    def __init__(self, folder: Path, archive: ObjectStore | None = None) -> None:
        self.folder = folder
        self.shelf = Shelf(archive, folder) if archive is not None else None
        self._open: dict[str, tuple[int, int]] = {}  # id -> (file descriptor, size)

    def path(self, task_execution_id: str) -> Path:
        """Where the log of this task execution is. Raises NotFound for what is no such id."""
        return log_path(self.folder, task_execution_id)

    def find(self, task_execution_id: str) -> Path:
        """Where the log can be read, by whoever has a thread to wait in: an archived one is brought back first. There
        need be none. Raises NotFound, and WorldError or SetupError where the archive does not answer."""
        path = self.path(task_execution_id)
        if self.shelf is not None and not path.exists():
            return self.shelf.bring(path) or path
        return path

    def append(self, task_execution_id: str, offset: int, data: bytes) -> int:
        """Write what is new of `data`; returns the size now. A gap is not written: the writer goes on from the size."""
        descriptor, size = self._opened(task_execution_id)
        if offset <= size < offset + len(data):
            try:
                size += self._write(descriptor, memoryview(data)[size - offset :])
            except OSError:
                self.close(task_execution_id)  # a part may be there: the next append asks the file how long it is
                raise
            self._open[task_execution_id] = (descriptor, size)
        return size

    def close(self, task_execution_id: str) -> None:
        """The attempt has ended; its file may still be read."""
        opened = self._open.pop(task_execution_id, None)
        if opened:
            os.close(opened[0])

    def close_all(self) -> None:
        for task_execution_id in list(self._open):
            self.close(task_execution_id)

    def size(self, task_execution_id: str) -> int:
        """Bytes of the framed log; 0 where there is none."""
        opened = self._open.get(task_execution_id)
        if opened:
            return opened[1]
        try:
            return self.path(task_execution_id).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, task_execution_id: str, offset: int = 0, limit: int = _READ) -> bytes:
        """Up to `limit` framed bytes from `offset`; empty where the log ends (or there is none). Call `find` in a
        thread before, if it may have been archived."""
        try:
            with open(self.find(task_execution_id), "rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def frames(self, task_execution_id: str, offset: int = 0) -> Iterator[Frame]:
        """The frames from `offset` (a frame's start) to where the log ends now, read a megabyte at a time."""
        limit = _READ
        while data := self.read(task_execution_id, offset, limit):
            end = offset
            for frame in parse(data, offset):
                end = frame.end
                yield frame
            if end == offset:
                if len(data) < limit:
                    return
                limit *= 2
                continue
            offset, limit = end, _READ

    def written_before(self, moment: float) -> Iterator[Path]:
        """The files of logs that lie here and were not written since."""
        for path in self.folder.glob("[0-9]*/*.log"):
            if _ID.fullmatch(path.stem) and path.stat().st_mtime < moment:
                yield path

    def delete(self, task_execution_id: str) -> None:
        self.close(task_execution_id)
        path = self.path(task_execution_id)
        path.unlink(missing_ok=True)
        if self.shelf is not None:
            self.shelf.delete(path)
        try:
            path.parent.rmdir()
        except OSError:
            pass  # other attempts' logs are still there

    def _opened(self, task_execution_id: str) -> tuple[int, int]:
        opened = self._open.get(task_execution_id)
        if opened:
            return opened
        path = self.path(task_execution_id)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            for folder in (self.folder, path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if len(self._open) >= _OPEN_FILES:
            self.close(next(iter(self._open)))
        self._open[task_execution_id] = (descriptor, os.fstat(descriptor).st_size)
        return self._open[task_execution_id]

    @staticmethod
    def _write(descriptor: int, data: memoryview) -> int:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        return written
