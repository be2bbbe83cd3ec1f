"""A content-addressed directory: `objects/ab/cdef…` for bytes, `names/…` for names. Temp file and rename, always."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from formicary.runner.artifacts import CHUNK, Digest, Named, NameTable, ObjectMissing
from formicary.runner.core.errors import WorldError

_MAX_SEGMENT: Final = 180
_SUFFIX: Final = ".name"


class DirectoryStore:
    """An ObjectStore in a folder. Objects are read-only and for this user alone."""

    def __init__(self, root: Path) -> None:
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        for folder in (root, self._objects, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._names = DirectoryNames(root / "names", self._incoming)

    @property
    def names(self) -> NameTable:
        return self._names

    def put(self, source: Path | BinaryIO, *, durable: bool = False) -> Digest:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                return self._take(stream, durable)
        return self._take(source, durable)

    def _take(self, stream: BinaryIO, durable: bool) -> Digest:
        with _incoming(self._incoming) as (temporary, file):
            digest = _pour(stream, file)
            path = self._path(digest.sha256)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if durable:
                os.fsync(file.fileno())
            temporary.chmod(0o400)
            temporary.rename(path)
            if durable:
                _sync_folders(path.parent, self._objects)
        return digest

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self._path(sha256).open("rb")
        except FileNotFoundError:
            raise ObjectMissing(f"Object {sha256} is not in the artifact store (any more).") from None

    def has(self, sha256: str) -> bool:
        return self._path(sha256).is_file()

    def delete(self, sha256: str, *, put_before: float | None = None) -> None:
        path = self._path(sha256)
        try:
            if put_before is None or path.stat().st_mtime < put_before:
                path.unlink()
        except FileNotFoundError:
            pass

    def presigned(self, sha256: str, seconds: float, filename: str) -> str | None:
        return None

    def check(self) -> None:
        with _incoming(self._incoming) as (temporary, file):
            file.write(b"formicary")
            file.flush()
            if temporary.read_bytes() != b"formicary":
                raise WorldError(f"{self._incoming} gives back other bytes than were written there.")

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ObjectMissing(f"{sha256!r} is not a sha256 digest in hex.")
        return self._objects / sha256[:2] / sha256[2:]


class DirectoryNames:
    """A NameTable: one small JSON file a name, found by the name's own path."""

    def __init__(self, root: Path, incoming: Path) -> None:
        self._root, self._incoming = root, incoming

    def link(self, name: str, digest: Digest) -> None:
        path = self._path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = {"name": name, "sha256": digest.sha256, "size": digest.size, "at": time.time()}
        with _incoming(self._incoming) as (temporary, file):
            file.write(json.dumps(record).encode())
            file.flush()
            temporary.rename(path)

    def resolve(self, name: str) -> Named | None:
        return _read_name(self._path(name))

    def list(self, prefix: str) -> Iterator[Named]:
        folder = self._root.joinpath(*(_segment(part) for part in prefix.split("/")[:-1]))
        for path in folder.rglob("*" + _SUFFIX):
            named = _read_name(path)
            if named is not None and named.name.startswith(prefix):
                yield named

    def unlink(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        *folders, last = (_segment(part) for part in name.split("/"))
        return self._root.joinpath(*folders, last + _SUFFIX)


@contextmanager
def _incoming(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file of this user's alone; gone afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _pour(source: BinaryIO, target: BinaryIO) -> Digest:
    seen, size = hashlib.sha256(), 0
    while block := source.read(CHUNK):
        seen.update(block)
        size += target.write(block)
    target.flush()
    return Digest(seen.hexdigest(), size)


def _sync_folders(*folders: Path) -> None:
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_name(path: Path) -> Named | None:
    """None where there is no such name, or what is written there is not one (a power cut may leave that)."""
    try:
        record = json.loads(path.read_bytes())
        return Named(record["name"], Digest(record["sha256"], record["size"]), record["at"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _segment(text: str) -> str:
    """One part of a name as a file name: nothing in it is special, no two parts give the same."""
    safe = quote(text, safe="").replace(".", "%2E") or "%"
    if len(safe) <= _MAX_SEGMENT:
        return safe
    return f"{safe[:100]}.{hashlib.sha256(text.encode()).hexdigest()}"
