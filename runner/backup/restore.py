"""A backup, checked whole, and put back into an empty data folder: all of it or nothing (T11, T19)."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from formicary.runner.artifacts import Digest
from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.backup import archive
from formicary.runner.backup.archive import Cached, Content, DamagedBackup, Manifest
from formicary.runner.backup.workplace import workplace_in
from formicary.runner.core.errors import Conflict, SetupError, WorldError
from formicary.runner.store import lock, snapshot
from formicary.runner.store.snapshot import Contents

MIB: Final = 1 << 20
RESERVE: Final = 64 * MIB
"""What must stay free on the disk that a backup is unpacked to."""
_STAGED: Final = ".formicary-restore-"


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that is whole."""

    manifest: Manifest
    contents: Contents


def verify(file: Path, say: Callable[[str], None]) -> Checked:
    """Check everything in a backup; its database lies in a temporary folder meanwhile. Raises DamagedBackup."""
    with tempfile.TemporaryDirectory(prefix="formicary-verify-") as folder, _explained(file):
        return _unpack(file, _Unpacked(Path(folder), say, whole=False))


def restore(file: Path, data: Path, say: Callable[[str], None]) -> Checked:
    """Make a data folder of a backup. Raises DamagedBackup, SetupError, Conflict where the folder is served or in use.

    The folder appears whole, by one rename; only where it is a mount point (which cannot be renamed) its files are
    moved in one by one, the database last.
    """
    _refuse(data)
    with _explained(file):
        inside = data.is_mount()
        if not inside:
            data.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        with workplace_in(data if inside else data.parent, f"{_STAGED}{data.name}-") as staged:
            checked = _unpack(file, _Unpacked(staged, say, whole=True))
            snapshot.begin_anew(staged, time.time())
            os.sync()
            _move(staged, data, inside=inside)
            return checked


def _refuse(data: Path) -> None:
    if data.is_symlink() or (data.exists() and not data.is_dir()):
        raise SetupError(f"{data} is no folder; name another one with --data.")
    if not data.is_dir():
        return
    if (data / lock.FILE_NAME).exists():
        lock.FolderLock(data).release()  # raises where it is served, and says by whom
    if any(entry.name != "lost+found" and not entry.name.startswith(_STAGED) for entry in data.iterdir()):
        raise Conflict(
            f"{data} is not empty, and nothing in it is overwritten; name an empty or new folder with --data."
        )


def _move(staged: Path, data: Path, *, inside: bool) -> None:
    if not inside:
        try:
            staged.rename(data)
        except OSError as error:
            raise Conflict(f"{data} was filled by somebody else meanwhile ({error.strerror}).") from error
    else:
        for entry in sorted(staged.iterdir(), key=lambda path: path.name == archive.DATABASE):
            entry.rename(data / entry.name)
    os.sync()


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """What goes wrong is said with the backup's name."""
    try:
        yield
    except DamagedBackup as error:
        raise DamagedBackup(f"{file} cannot be restored:\n{error}") from error
    except OSError as error:
        place = error.filename or file
        raise WorldError(f"The backup could not be read or unpacked ({place}: {error.strerror}).") from error


def _unpack(file: Path, unpacked: _Unpacked) -> Checked:
    with open(file, "rb") as source:
        manifest = archive.read(source, unpacked.take)
    return unpacked.checked(manifest)


@dataclass(slots=True)
class _Unpacked:
    """A backup that is being read into `folder`: all of it, or (`whole` = False) only its database."""

    folder: Path
    say: Callable[[str], None]
    whole: bool
    _caches: bytes = b"[]"
    _bytes: int = 0

    def take(self, content: Content) -> None:
        if content.name == archive.CACHES:
            self._caches = content.text()
        elif self.whole or content.name == archive.DATABASE:
            self._write(content)
        self._bytes += content.size
        self.say(f"{'restoring' if self.whole else 'checking'}, {self._bytes / MIB:.0f} MiB so far")

    def _write(self, content: Content) -> None:
        """The name is one of those that a backup may hold, so it leads nowhere else (T11)."""
        free = shutil.disk_usage(self.folder).free
        if content.size > free - RESERVE:
            raise WorldError(
                f"{content.name} has {content.size / MIB:.0f} MiB, and only {free / MIB:.0f} MiB are free for "
                f"{self.folder}; make room."
            )
        path = self.folder / content.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = 0o400 if archive.OBJECT.fullmatch(content.name) else 0o600
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            for block in content.blocks():
                file.write(block)

    def checked(self, manifest: Manifest) -> Checked:
        """Whether it all fits together, once every file is what the manifest says. Raises DamagedBackup."""
        if not (self.folder / archive.DATABASE).is_file():
            raise DamagedBackup("There is no database in it.")
        wrong = snapshot.examine(self.folder)
        if wrong:
            raise DamagedBackup("\n".join(wrong))
        contents = snapshot.contents(self.folder)
        caches = archive.CACHED.validate_json(self._caches)
        wrong = [*self._objects(manifest, contents, caches), *self._logs(manifest, contents)]
        if wrong:
            raise DamagedBackup("\n".join(wrong))
        if self.whole:
            self._name(caches)
        return Checked(manifest, contents)

    def _objects(self, manifest: Manifest, contents: Contents, caches: Sequence[Cached]) -> Iterator[str]:
        known = set(manifest.lost)
        for entry in manifest.files:
            found = archive.OBJECT.fullmatch(entry.name)
            if found and found[1] + found[2] not in known:
                known.add(found[1] + found[2])
                if found[1] + found[2] != entry.sha256:
                    yield f"{entry.name} does not hold the bytes that it is called by."
        if "artifacts" in manifest.parts:
            for digest in contents.objects:
                if digest not in known:
                    yield f"The bytes of {snapshot.namer(self.folder, digest)} are not there."
        for cache in caches:
            if cache.sha256 not in known:
                yield f"The bytes of cache {cache.name!r} are not there."

    @staticmethod
    def _logs(manifest: Manifest, contents: Contents) -> Iterator[str]:
        for entry in manifest.files:
            log = archive.LOG.fullmatch(entry.name)
            if log and log[2] not in contents.attempts:
                yield f"{entry.name} belongs to no task execution of its database."

    def _name(self, caches: Sequence[Cached]) -> None:
        if caches:
            names = DirectoryStore(self.folder / "artifacts").names
            for cache in caches:
                names.link(cache.name, Digest(cache.sha256, cache.size))
