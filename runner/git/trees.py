"""Walks trees of a commit without a checkout: definitions and changed files, with caps on depth and number (T12)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import islice
from typing import Final

from formicary.runner.core.errors import RepositoryUnavailable
from formicary.runner.git.model import Blob, decode_path
from formicary.runner.git.objects import Entry, ObjectReader

MAX_DEPTH: Final = 64
MAX_ENTRIES: Final = 100_000
SUFFIXES: Final = (b".yml", b".yaml")


def unsafe_name(name: bytes) -> bool:
    """A name that git itself would not check out: it could lead out of the tree or into `.git`."""
    return name in (b"", b".", b"..") or b"/" in name or b"\0" in name or name.lower() == b".git"


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


class Definitions:
    """Collects the definition files below one folder of one tree."""

    def __init__(self, reader: ObjectReader, max_bytes: int, max_files: int) -> None:
        self._reader = reader
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._entries = 0
        self.found: dict[str, Blob] = {}

    def collect(self, root: str, folder: str) -> dict[str, Blob]:
        """What is there; a folder that is absent holds nothing."""
        tree, walked = root, b""
        for part in filter(None, folder.encode().split(b"/")):
            entry = next((e for e in self._reader.tree(tree) if e.name == part), None)
            if entry is None:
                return {}
            walked = _join(walked, part)
            if not stat.S_ISDIR(entry.mode):
                self._refuse(walked, entry.sha, f"{_what(entry.mode)} stands where a folder with definitions belongs.")
                return self.found
            tree = entry.sha
        self._walk(tree, walked, 0)
        return self.found

    def _walk(self, tree: str, folder: bytes, depth: int) -> None:
        if depth >= MAX_DEPTH:
            self._refuse(folder, tree, f"Folders are nested more than {MAX_DEPTH} deep here; move the files up.")
            return
        for entry in self._reader.tree(tree):
            if not self._room_left(folder, tree):
                return
            path = _join(folder, entry.name)
            if unsafe_name(entry.name):
                self._refuse(path, entry.sha, "This name could lead outside the repository; rename it.")
            elif stat.S_ISDIR(entry.mode):
                self._walk(entry.sha, path, depth + 1)
            elif entry.name.endswith(SUFFIXES):
                self.found[decode_path(path)] = self._blob(path, entry)

    def _room_left(self, folder: bytes, tree: str) -> bool:
        self._entries += 1
        if len(self.found) >= self._max_files:
            self._refuse(folder, tree, f"There are more than {self._max_files} definitions; the rest is left out.")
            return False
        if self._entries > MAX_ENTRIES:
            self._refuse(folder, tree, f"There are more than {MAX_ENTRIES} files here; the rest is left out.")
            return False
        return True

    def _blob(self, path: bytes, entry: Entry) -> Blob:
        name = decode_path(path)
        if not stat.S_ISREG(entry.mode):
            return Blob(name, entry.sha, 0, None, f"{_what(entry.mode)} cannot be a definition; commit a plain file.")
        header = self._reader.header(entry.sha)
        if header is None:
            return Blob(name, entry.sha, 0, None, "Its content is missing from the repository; run `git fsck` there.")
        if header.peak > self._max_bytes:
            largest = max(header.size, header.peak)
            problem = f"It needs {largest} bytes; a definition may have {self._max_bytes}. Split it, or use `include`."
            return Blob(name, entry.sha, header.size, None, problem)
        return self._text(name, path, entry, header.size)

    def _text(self, name: str, path: bytes, entry: Entry, size: int) -> Blob:
        try:
            path.decode()
            return Blob(name, entry.sha, size, self._reader.read(entry.sha, "blob", self._max_bytes).decode())
        except UnicodeDecodeError:
            return Blob(name, entry.sha, size, None, "Its name or its text is not UTF-8; save it as UTF-8.")
        except RepositoryUnavailable as error:
            return Blob(name, entry.sha, size, None, str(error))

    def _refuse(self, path: bytes, sha: str, problem: str) -> None:
        self.found[decode_path(path)] = Blob(decode_path(path), sha, 0, None, problem)


def _what(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "A symbolic link"
    if stat.S_IFMT(mode) == 0o160000:
        return "A submodule"
    return "A plain file" if stat.S_ISREG(mode) else "An entry of unknown kind"


def changed_paths(reader: ObjectReader, before: str | None, after: str, limit: int) -> list[str]:
    """Paths whose content or mode differs between two trees, in git's order; a rename is two paths."""
    return [decode_path(path) for path in islice(Differences(reader).between(before, after, b"", 0), limit)]


class Differences:
    """Compares two trees; equal subtrees are not opened, and a tree that refers to itself over and over is left."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._trees_left = MAX_ENTRIES

    def between(self, before: str | None, after: str | None, folder: bytes, depth: int) -> Iterator[bytes]:
        self._trees_left -= 1
        if depth >= MAX_DEPTH or self._trees_left < 0:
            yield folder  # the folder stands for what is in it
            return
        old, new = self._entries(before), self._entries(after)
        for name in sorted(old.keys() | new.keys()):
            a, b = old.get(name), new.get(name)
            if a == b or unsafe_name(name):
                continue
            a_tree, b_tree = _tree_of(a), _tree_of(b)
            path = _join(folder, name)
            if (a and not a_tree) or (b and not b_tree):
                yield path
            if a_tree or b_tree:
                yield from self.between(a_tree, b_tree, path, depth + 1)

    def _entries(self, tree: str | None) -> dict[bytes, Entry]:
        return {entry.name: entry for entry in self._reader.tree(tree)} if tree else {}


def _tree_of(entry: Entry | None) -> str | None:
    return entry.sha if entry is not None and stat.S_ISDIR(entry.mode) else None
