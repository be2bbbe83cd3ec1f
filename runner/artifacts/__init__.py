"""Bytes by their digest, and names for them. Blocking: call from a thread. What is read is checked against its digest.

A put is seen by nobody until it is whole. `durable` puts survive a power cut: artifacts that a result refers to are
(the result is on disk for good, so its bytes must be), caches are not (a damaged one is a miss).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from formicary.runner.core.errors import NotFound, WorldError

CHUNK: Final = 1 << 20


class Digest(NamedTuple):
    """What bytes are called: their sha256 in hex, and how many there are."""

    sha256: str
    size: int


class Named(NamedTuple):
    """A name and what it stands for; `at` is when it was given, in seconds since the epoch."""

    name: str
    digest: Digest
    at: float


class ObjectMissing(NotFound):
    """This object is not in the store (any more)."""


class ObjectDamaged(WorldError):
    """The bytes of this object are not those that its digest names."""


class NameTable(Protocol):
    """Names with `/` in them, each standing for one object; the last `link` wins."""

    def link(self, name: str, digest: Digest) -> None: ...
    def resolve(self, name: str) -> Named | None: ...
    def list(self, prefix: str) -> Iterator[Named]:
        """All names that begin with `prefix`, in no order."""
        ...

    def unlink(self, name: str) -> None:
        """Forget the name; it need not exist."""
        ...


class ObjectStore(Protocol):
    """Where artifacts and caches lie. Safe for several processes at once."""

    @property
    def names(self) -> NameTable: ...
    def put(self, source: Path | BinaryIO, *, durable: bool = False) -> Digest: ...
    def open(self, sha256: str) -> BinaryIO:
        """The bytes, unchecked. Raises ObjectMissing."""
        ...

    def has(self, sha256: str) -> bool: ...
    def delete(self, sha256: str, *, put_before: float | None = None) -> None:
        """Remove it; it need not exist. With `put_before` (epoch seconds) one that was put later stays: somebody has
        made it again meanwhile and counts on it."""
        ...

    def presigned(self, sha256: str, seconds: float, filename: str) -> str | None:
        """A URL that anybody may download it from for so long, as an attachment; None where the store has none."""
        ...

    def check(self) -> None:
        """Put, read and delete something. Raises SetupError, WorldError, OSError."""
        ...


def copy(store: ObjectStore, sha256: str, target: BinaryIO) -> int:
    """Write the object into `target` and check it; returns its size. Raises ObjectMissing, ObjectDamaged."""
    seen, size = hashlib.sha256(), 0
    with store.open(sha256) as source:
        while block := source.read(CHUNK):
            seen.update(block)
            size += target.write(block)
    if seen.hexdigest() != sha256:
        raise ObjectDamaged(f"Object {sha256} is damaged in the artifact store; run the task that made it again.")
    return size
