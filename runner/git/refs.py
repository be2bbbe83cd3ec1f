"""Reads all refs of a repository in one pass, and tells cheaply whether any may have moved. Follows no symlink."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.refs import Ref, RefsContainer, check_ref_format

SYMBOLIC: Final = b"ref: "
MAX_SYMBOLIC: Final = 5
MAX_REF_DEPTH: Final = 32
YOUNG_NS: Final = 50_000_000
"""A folder that changed this recently may change again within the same tick of the file system's clock."""

UNSURE: Final = -1


class Stamp(NamedTuple):
    """What tells two states of a file apart; `looked_at` is set where the file is too young to stay as it is."""

    mtime: int
    size: int
    inode: int
    looked_at: int


GONE: Final = Stamp(0, 0, 0, 0)
NAMESPACES: Final = (b"refs/heads", b"refs/tags")


class RefReader:
    """The refs of one repository; `controldir` has HEAD, `commondir` (the same but for worktrees) has the refs."""

    def __init__(self, controldir: Path, commondir: Path, refs: RefsContainer, hex_length: int) -> None:
        self._controldir = os.fsencode(controldir)
        self._commondir = os.fsencode(commondir)
        self._refs = refs
        self._hex_length = hex_length
        self._reftable = (commondir / "reftable" / "tables.list").exists()
        self._folders: dict[bytes, tuple[int, list[bytes]]] = {}

    def all(self) -> tuple[dict[bytes, str], dict[bytes, str]]:
        """(name -> id for branches and tags, peeled ids where packed-refs has them). Broken refs are left out (D8)."""
        if self._reftable:
            found = {bytes(name): value for name, value in self._refs.as_dict().items()}
            return {n: v.decode() for n, v in found.items() if n.startswith((b"refs/heads/", b"refs/tags/"))}, {}
        # Loose refs first: `git pack-refs` writes the packed file before it removes loose ones, so none is missed.
        loose = dict(self._loose())
        packed, peeled = self._packed()
        merged = {**packed, **loose}
        ids = {name: self._resolve(value, merged) for name, value in merged.items()}
        return {n: v for n, v in ids.items() if v}, {n: v for n, v in peeled.items() if n not in loose}

    def head(self) -> str | None:
        """The ref that HEAD names, also when it does not exist yet; None if HEAD is detached."""
        target = self._refs.read_loose_ref(Ref(b"HEAD")) if self._reftable else self._read_head()
        if not target or not target.startswith(SYMBOLIC):
            return None
        return target[len(SYMBOLIC) :].strip().decode("utf-8", "replace") or None

    def fingerprint(self) -> str:
        """Changes whenever HEAD, a branch or a tag may have changed.

        Every ref is written by renaming a lock file, which changes its folder; so folders are looked at, not 5,000
        files. One that changed a moment ago is never believed: the next look differs, costs one reading, and settles.
        """
        now = time.time_ns()
        seen = [_stamp(self._controldir + b"/HEAD", now)]
        seen.append(_stamp(self._commondir + b"/packed-refs", now))
        if self._reftable:
            seen.append(_stamp(self._commondir + b"/reftable/tables.list", now))
        folders: dict[bytes, tuple[int, list[bytes]]] = {}
        for base in NAMESPACES:
            seen.extend(self._folder_stamps(self._commondir + b"/" + base, now, folders))
        self._folders = folders
        return hashlib.blake2b(repr(seen).encode(), digest_size=16).hexdigest()

    def _folder_stamps(self, top: bytes, now: int, folders: dict[bytes, tuple[int, list[bytes]]]) -> Iterator[Stamp]:
        waiting = [(top, 0)]
        while waiting:
            path, depth = waiting.pop()
            stamp = _stamp(path, now)
            yield stamp
            if stamp == GONE or depth > MAX_REF_DEPTH:
                continue
            mtime, below = self._folders.get(path, (UNSURE, []))
            if mtime != stamp.mtime or stamp.looked_at:
                below = [entry.path for entry in _scan(path) if entry.is_dir(follow_symlinks=False)]
            folders[path] = (UNSURE if stamp.looked_at else stamp.mtime, below)
            waiting.extend((folder, depth + 1) for folder in below)

    def _read_head(self) -> bytes | None:
        with open(self._controldir + b"/HEAD", "rb") as file:
            return file.read(4096)

    def _loose(self) -> Iterator[tuple[bytes, bytes]]:
        start = len(self._commondir) + 1
        waiting = [(self._commondir + b"/" + base, 0) for base in NAMESPACES]
        while waiting:
            path, depth = waiting.pop()
            for entry in _scan(path):
                if entry.is_dir(follow_symlinks=False):
                    if depth < MAX_REF_DEPTH:
                        waiting.append((entry.path, depth + 1))
                elif entry.is_file(follow_symlinks=False) and check_ref_format(Ref(entry.path[start:])):
                    value = _read_small(entry.path)
                    if value:
                        yield entry.path[start:], value

    def _packed(self) -> tuple[dict[bytes, bytes], dict[bytes, str]]:
        refs: dict[bytes, bytes] = {}
        peeled: dict[bytes, str] = {}
        try:
            lines = Path(os.fsdecode(self._commondir), "packed-refs").read_bytes().split(b"\n")
        except FileNotFoundError:
            return refs, peeled
        name = b""
        for line in lines:
            if line.startswith(b"^"):
                if name:
                    peeled[name] = line[1:].strip().decode("ascii", "replace")
                continue
            value, _, name = line.rstrip(b"\r").partition(b" ")
            if line.startswith(b"#") or not name.startswith((b"refs/heads/", b"refs/tags/")):
                name = b""
            elif check_ref_format(Ref(name)):
                refs[name] = value
        return refs, peeled

    def _resolve(self, value: bytes, refs: dict[bytes, bytes]) -> str | None:
        for _ in range(MAX_SYMBOLIC):
            if not value.startswith(SYMBOLIC):
                break
            value = refs.get(value[len(SYMBOLIC) :].strip(), b"")
        value = value.strip()
        if len(value) != self._hex_length or value.strip(b"0123456789abcdef"):
            return None
        return value.decode("ascii")


def _stamp(path: bytes, now: int) -> Stamp:
    try:
        stat = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return GONE
    return Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino, now if now - stat.st_mtime_ns < YOUNG_NS else 0)


def _scan(path: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_small(path: bytes) -> bytes:
    """A loose ref's line, by plain system calls: there may be thousands."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""  # deleted or packed a moment ago
    try:
        return os.read(descriptor, 4096).partition(b"\n")[0]
    finally:
        os.close(descriptor)
