"""Logs of requests that ended long ago, in the object store. Where a log lay, a note says that it is there (D13).

An object begins with a line that names its log, so no two logs share one; the rest are the log's own bytes. Whoever
reads one gets a copy, checked by its digest, which stays on this machine for a while. Blocking.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from formicary.runner.artifacts import CHUNK, ObjectStore, copy
from formicary.runner.core.errors import FormicaryError

NOTE: Final = ".archived"
UNWANTED: Final = ".unwanted"
BROUGHT: Final = "brought"
MOST_BROUGHT: Final = 256 << 20
"""Bytes of copies that stay."""


class Shelf:
    """`folder` is that of the logs; `objects` hold nothing but logs."""

    def __init__(self, objects: ObjectStore, folder: Path, *, most_brought: int = MOST_BROUGHT) -> None:
        self._objects = objects
        self._folder = folder
        self._most = most_brought

    def put(self, path: Path) -> None:
        """Archive the log at `path`; it is gone from there afterwards. Raises WorldError, SetupError."""
        with path.open("rb") as log:
            digest = self._objects.put(cast(BinaryIO, _Named(_title(path), log)), durable=True)
        with _made(path.with_suffix(NOTE)) as note:
            note.write(json.dumps({"sha256": digest.sha256, "size": digest.size}).encode())
            note.flush()
            os.fsync(note.fileno())
        path.unlink()

    def bring(self, path: Path) -> Path | None:
        """A copy of the log that lay at `path`; None where there is no note of it. Raises WorldError, SetupError."""
        try:
            sha256 = json.loads(path.with_suffix(NOTE).read_bytes())["sha256"]
        except FileNotFoundError:
            return None
        brought = self._folder / BROUGHT / path.name
        try:
            os.utime(brought)
        except FileNotFoundError:
            self._fetch(sha256, _title(path), brought)
            self._make_room(brought)
        return brought

    def delete(self, path: Path) -> None:
        """Forget the log that lay at `path`. While the store is away, it is put down as unwanted."""
        (self._folder / BROUGHT / path.name).unlink(missing_ok=True)
        try:
            path.with_suffix(NOTE).rename(path.with_suffix(UNWANTED))
        except FileNotFoundError:
            return
        try:
            self._delete(path.with_suffix(UNWANTED))
        except FormicaryError:
            pass  # `delete_unwanted` tries again

    def delete_unwanted(self) -> None:
        """Delete what could not be deleted before. Raises WorldError, SetupError."""
        for note in self._folder.glob(f"*/*{UNWANTED}"):
            self._delete(note)

    def _delete(self, note: Path) -> None:
        self._objects.delete(json.loads(note.read_bytes())["sha256"])
        note.unlink(missing_ok=True)
        try:
            note.parent.rmdir()
        except OSError:
            pass  # other logs or notes are still there

    def _fetch(self, sha256: str, title: bytes, target: Path) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _made(target) as file:
            copy(self._objects, sha256, cast(BinaryIO, _Untitled(title, file)))

    def _make_room(self, newest: Path) -> None:
        found = [(one.stat(), one) for one in newest.parent.glob("*.log")]
        size = sum(stat.st_size for stat, _ in found)
        for stat, one in sorted(found, key=lambda pair: pair[0].st_mtime):
            if size <= self._most or one == newest:
                break
            one.unlink(missing_ok=True)
            size -= stat.st_size


class _Named:
    """A title, then a log, to be read once."""

    def __init__(self, title: bytes, log: BinaryIO) -> None:
        self._parts = [cast(BinaryIO, io.BytesIO(title)), log]

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        while self._parts:
            if data := self._parts[0].read(size if size >= 0 else CHUNK):
                return data
            del self._parts[0]
        return b""


class _Untitled:
    """Takes a log's object and writes the log."""

    def __init__(self, title: bytes, target: BinaryIO) -> None:
        self._left, self._target = len(title), target

    def write(self, data: bytes) -> int:
        title = min(self._left, len(data))
        self._left -= title
        self._target.write(data[title:])
        return len(data)


def _title(path: Path) -> bytes:
    return f"log of {path.stem}\n".encode()


@contextmanager
def _made(path: Path) -> Iterator[BinaryIO]:
    """A new file that is seen when it is whole."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
