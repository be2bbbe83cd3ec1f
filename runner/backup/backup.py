"""A backup, made beside whoever serves: the database of one moment, then the logs and bytes that it names (T19).

Logs only grow, so what is copied of them later holds all that the moment knew; of a task that ran then, what is cut is
cut at a frame. Bytes never change. What expired meanwhile is taken out of the copy. No key, token or hook's secret is
in it: only what is listed here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from formicary.runner.artifacts import ObjectMissing
from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.backup import archive
from formicary.runner.backup.archive import ArchiveWriter, Cached, Entry, Head, Manifest
from formicary.runner.backup.workplace import workplace_in
from formicary.runner.core.errors import SetupError, WorldError
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.shelf import NOTE
from formicary.runner.store import snapshot
from formicary.runner.store.snapshot import Contents

MIB: Final = 1 << 20
PARTS: Final = ("logs", "artifacts", "caches")
SYNC_EVERY: Final = 32 * MIB
"""A large flush at the end would hold up the server's own small ones, on the same disk."""
_WORKPLACE: Final = ".formicary-backup-"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made; `size` in bytes of the file."""

    path: Path
    size: int
    manifest: Manifest
    requests: int


def back_up(data: Path, target: Path, parts: Iterable[str], say: Callable[[str], None]) -> Backup:
    """Write a backup of the data folder to the file `target`, which is not there before it is whole and on disk.

    `parts`: which of PARTS are in it. `say` is told how far it is. Raises SetupError, WorldError.
    """
    _refuse(data, target)
    try:
        with workplace_in(target.parent, _WORKPLACE) as workplace:
            copied = _Copied(data, workplace, tuple(part for part in PARTS if part in parts), say)
            unfinished = workplace / "backup.tar.gz"
            manifest = copied.write_to(unfinished)
            unfinished.rename(target)
            _sync(target.parent)
            return Backup(
                target,
                target.stat().st_size,
                manifest,
                copied.contents.requests,
            )
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise WorldError(
            f"The backup could not be made ({place}{error.strerror}); nothing is left of it. Is there room in "
            f"{target.parent}?"
        ) from error


def _refuse(data: Path, target: Path) -> None:
    if target.exists():
        raise SetupError(f"{target} is there already; name another file, or a folder: each backup gets a name there.")
    if target.parent.resolve().is_relative_to(data.resolve()):
        raise SetupError(f"{target} lies in the data folder, and would be lost with it; name another place with --to.")
    if not target.parent.is_dir():
        raise SetupError(f"There is no folder {target.parent}; make it first.")


@dataclass(slots=True)
class _Copied:
    """One backup under way."""

    data: Path
    workplace: Path
    parts: tuple[str, ...]
    say: Callable[[str], None]
    contents: Contents = field(init=False)
    lost: dict[str, str] = field(default_factory=dict)
    _lengths: dict[str, int] = field(default_factory=dict)
    _bytes: int = 0
    _synced: int = 0
    _file: int = -1

    def write_to(self, path: Path) -> Manifest:
        created_at = time.time()
        snapshot.copy(self.data, self.workplace, self._pages)
        self.contents = snapshot.contents(self.workplace)
        logs = Logs(self.data / "logs")
        self._measure(logs)
        head = Head(
            format=archive.FORMAT,
            program=version("formicary"),
            schema_version=self.contents.schema_version,
            created_at=created_at,
            parts=self.parts,
        )
        with open(path, "xb", opener=_private) as file:
            self._file = file.fileno()
            with closing(ArchiveWriter(file)) as writer:
                writer.add_text(archive.HEAD, head.model_dump_json())
                self._copy_all(writer, logs)
                manifest = Manifest(**head.model_dump(), files=tuple(writer.files), lost=self.lost)
                writer.add_text(archive.MANIFEST, manifest.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        return manifest

    def _copy_all(self, writer: ArchiveWriter, logs: Logs) -> None:
        if "logs" in self.parts:
            for attempt in self.contents.attempts:
                self._log(writer, logs, attempt)
        if "artifacts" in self.parts:
            self._artifacts(writer)
        if "caches" in self.parts:
            self._caches(writer)
        with open(self.workplace / archive.DATABASE, "rb") as database:
            self._said(writer.add(archive.DATABASE, database, os.fstat(database.fileno()).st_size))

    def _measure(self, logs: Logs) -> None:
        """How long the logs of what runs are now, in whole frames."""
        for attempt, live in self.contents.attempts.items():
            if live:
                try:
                    self._lengths[attempt] = max((frame.end for frame in logs.frames(attempt)), default=0)
                except ValueError:
                    continue  # it is no log; then all of it is kept as it is

    def _log(self, writer: ArchiveWriter, logs: Logs, attempt: str) -> None:
        path = logs.path(attempt)
        for one in (path.with_suffix(NOTE), path):  # of a log that is archived, where it is
            try:
                with open(one, "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    size = min(size, self._lengths.get(attempt, size))
                    self._said(writer.add(one.relative_to(self.data).as_posix(), file, size))
            except FileNotFoundError:
                pass  # it has written nothing, or is too old and went meanwhile

    def _artifacts(self, writer: ArchiveWriter) -> None:
        objects = DirectoryStore(self.data / "artifacts")
        unsound = [digest for digest in self.contents.objects if not self._object(writer, objects, digest)]
        named = snapshot.still_named(self.data, unsound)
        inside = {entry.name for entry in writer.files}  # what is damaged was seen to be when it was inside
        said = [digest for digest in unsound if digest in named or object_name(digest) in inside]
        self.lost |= {digest: snapshot.namer(self.workplace, digest) for digest in said}
        snapshot.forget(self.workplace, [digest for digest in unsound if digest not in named])

    def _object(self, writer: ArchiveWriter, objects: DirectoryStore, digest: str) -> bool:
        """Copy it; False where it is not there or not what it is called."""
        try:
            with objects.open(digest) as source:
                entry = writer.add(object_name(digest), source, os.fstat(source.fileno()).st_size)
        except ObjectMissing:
            return False
        self._said(entry)
        return entry.sha256 == digest

    def _caches(self, writer: ArchiveWriter) -> None:
        objects = DirectoryStore(self.data / "artifacts")
        known = {entry.name for entry in writer.files}
        kept = []
        for named in objects.names.list("cache/"):
            digest = named.digest.sha256
            name = object_name(digest)
            if name not in known and not self._object(writer, objects, digest):
                self.lost[digest] = f"cache {named.name!r}"
                continue
            known.add(name)
            kept.append(Cached(name=named.name, sha256=digest, size=named.digest.size))
        writer.add_text(archive.CACHES, archive.CACHED.dump_json(tuple(kept)).decode())

    def _pages(self, done: int, pages: int) -> None:
        self.say(f"copying the database, {100 * done // max(pages, 1)} %")

    def _said(self, entry: Entry) -> None:
        self._bytes += entry.size
        if self._bytes > self._synced + SYNC_EVERY:
            self._synced = self._bytes
            os.fdatasync(self._file)
        self.say(f"backing up, {self._bytes / MIB:.0f} MiB so far")


def object_name(digest: str) -> str:
    """Where these bytes lie in a backup."""
    return f"artifacts/objects/{digest[:2]}/{digest[2:]}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
