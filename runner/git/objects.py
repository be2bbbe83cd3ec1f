"""Reads git objects with a cap on each: kind and size are known from the header before anything is unpacked (T12)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import ObjectID, RawObjectID, hex_to_sha, parse_tree
from dulwich.pack import Pack, PackFileDisappeared

from formicary.runner.core.errors import RepositoryUnavailable
from formicary.runner.git.model import Commit, decode, parse_commit

MAX_COMMIT: Final = 8 << 20
MAX_TREE: Final = 32 << 20
MAX_DELTA_CHAIN: Final = 4096
KINDS: Final = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
NUMBERS: Final = {kind: number for number, kind in KINDS.items()}
OFS_DELTA, REF_DELTA = 6, 7
HEADER_BYTES: Final = 256


class Header(NamedTuple):
    kind: str
    size: int
    peak: int
    """The largest thing that must be in memory to unpack it: itself, or a base of its delta."""


class Entry(NamedTuple):
    name: bytes
    mode: int
    sha: str


class ObjectReader:
    """Objects of one repository by hex id, its alternates included. Not for several threads at once."""

    def __init__(self, store: BaseObjectStore) -> None:
        self._store = store
        self._oid_length = store.object_format.oid_length
        self.hex_length = store.object_format.hex_length
        self._packs: list[Pack] = []

    def is_id(self, sha: str) -> bool:
        return len(sha) == self.hex_length and not sha.strip("0123456789abcdef")

    def header(self, sha: str) -> Header | None:
        """Kind and size, or None where there is no such object."""
        if not self.is_id(sha):
            return None
        raw = hex_to_sha(ObjectID(sha.encode()))
        return self._packed(raw, self._packs, 0) or self._loose(sha) or self._packed(raw, self._look_again(), 0)

    def read(self, sha: str, kind: str, cap: int) -> bytes:
        """The bytes of an object that must be of this kind and no larger than `cap`."""
        return self._read(sha, self.header(sha), kind, cap)

    def _read(self, sha: str, header: Header | None, kind: str, cap: int) -> bytes:
        if header is None:
            raise RepositoryUnavailable(f"The {kind} {sha} is missing from the repository; run `git fsck` there.")
        if header.kind != kind:
            raise RepositoryUnavailable(f"{sha} should be a {kind} but is a {header.kind}; run `git fsck` there.")
        if header.peak > cap:
            raise RepositoryUnavailable(f"The {kind} {sha} needs {header.peak} bytes; Formicary reads up to {cap}.")
        number, data = self._store.get_raw(ObjectID(sha.encode()))
        if number != NUMBERS[kind] or self._id_of(kind, data) != sha:
            raise RepositoryUnavailable(f"The {kind} {sha} is damaged; run `git fsck` in the repository.")
        return data

    def _id_of(self, kind: str, data: bytes) -> str:
        """dulwich does not compare what it read with its name."""
        digest = self._store.object_format.new_hash()
        digest.update(f"{kind} {len(data)}\0".encode())
        digest.update(data)
        return str(digest.hexdigest())

    def close(self) -> None:
        """Close the packs; dulwich opens again by itself those that it had given up meanwhile."""
        self._packs, packs = [], self._packs
        for pack in packs:
            pack.close()

    def commit(self, sha: str) -> Commit:
        return parse_commit(sha, self.read(sha, "commit", MAX_COMMIT))

    def commit_if_here(self, sha: str) -> Commit | None:
        """None where history ends here (shallow), or the id is of no commit."""
        header = self.header(sha)
        if header is None or header.kind != "commit":
            return None
        return parse_commit(sha, self._read(sha, header, "commit", MAX_COMMIT))

    def tree(self, sha: str) -> list[Entry]:
        data = self.read(sha, "tree", MAX_TREE)
        return [Entry(name, mode, decode(oid)) for name, mode, oid in parse_tree(data, self._oid_length)]

    def tag_target(self, sha: str) -> str:
        """What an annotated tag points at."""
        first = self.read(sha, "tag", MAX_COMMIT).partition(b"\n")[0]
        return decode(first.removeprefix(b"object "))

    def _stores(self) -> list[BaseObjectStore]:
        seen, waiting = [self._store], [self._store]
        while waiting and len(seen) < 32:
            for store in getattr(waiting.pop(), "alternates", ()):
                seen.append(store)
                waiting.append(store)
        return seen

    def _look_again(self) -> list[Pack]:
        before = self._packs
        self._packs = [pack for store in self._stores() for pack in store.packs]
        for pack in before:
            if not any(pack is other for other in self._packs):  # packs compare by opening their index
                pack.close()
        return self._packs

    def _packed(self, raw: RawObjectID, packs: list[Pack], chain: int) -> Header | None:
        for pack in packs:
            try:
                return self._in_pack(pack, pack.index.object_offset(raw), chain)
            except (KeyError, PackFileDisappeared, FileNotFoundError):
                continue  # not in this one, or repacked meanwhile: the caller looks again
        return None

    def _in_pack(self, pack: Pack, offset: int, chain: int) -> Header:
        peak = 0
        size: int | None = None
        with open(pack.data.path, "rb") as file:
            for depth in range(chain, MAX_DELTA_CHAIN):
                file.seek(offset)
                head = file.read(HEADER_BYTES)
                number, declared, at = _type_and_size(head)
                if number in KINDS:
                    return Header(KINDS[number], declared if size is None else size, max(peak, declared))
                base: Header | None = None
                if number == OFS_DELTA:
                    back, at = _offset(head, at)
                    if not 0 < back < offset:
                        break
                    offset -= back
                elif number == REF_DELTA:
                    name = RawObjectID(head[at : at + self._oid_length])
                    at += self._oid_length
                    base = self._packed(name, self._packs, depth + 1)
                else:
                    break
                source, result = _delta_sizes(head[at:])
                size = result if size is None else size
                peak = max(peak, source, result, declared)
                if base is not None:
                    return Header(base.kind, size, max(peak, base.peak))
                if number == REF_DELTA:
                    break
        raise RepositoryUnavailable("A pack of the repository is damaged; run `git fsck` there.")

    def _loose(self, sha: str) -> Header | None:
        for store in self._stores():
            if not isinstance(store, DiskObjectStore):
                continue
            try:
                with open(Path(store.path) / sha[:2] / sha[2:], "rb") as file:
                    head = zlib.decompressobj().decompress(file.read(HEADER_BYTES), 64)
            except FileNotFoundError:
                continue
            kind, _, size = head.partition(b"\0")[0].partition(b" ")
            if decode(kind) not in NUMBERS or not size.isdigit():
                raise RepositoryUnavailable(f"The object {sha} is damaged; run `git fsck` in the repository.")
            return Header(decode(kind), int(size), int(size))
        return None


def _varint(data: Iterator[int], value: int = 0, shift: int = 0) -> int:
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value
    raise RepositoryUnavailable("A pack of the repository ends in the middle of a number; run `git fsck` there.")


def _type_and_size(head: bytes) -> tuple[int, int, int]:
    if not head:
        raise RepositoryUnavailable("A pack of the repository is cut off; run `git fsck` there.")
    end = _end(head, 0)
    size = head[0] & 0x0F
    if end > 1:
        size = _varint(iter(head[1:end]), size, 4)
    return (head[0] >> 4) & 7, size, end


def _offset(head: bytes, at: int) -> tuple[int, int]:
    """The distance back to the base of an offset delta: git's own big-endian form, in which each byte adds one."""
    end = _end(head, at)
    value = -1
    for byte in head[at:end]:
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, end


def _end(head: bytes, at: int) -> int:
    while at < len(head) and head[at] & 0x80:
        at += 1
    return at + 1


def _delta_sizes(compressed: bytes) -> tuple[int, int]:
    data = iter(zlib.decompressobj().decompress(compressed, 32))
    return _varint(data), _varint(data)
