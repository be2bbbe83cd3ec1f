"""Objects and names in an S3 bucket: `objects/ab/cdef…` and `names/…`, below the address's prefix.

The digest of a stream is known only at its end, so it is read twice: a file where it lies, anything else from a spool
on disk, never from memory. The second reading is checked on its way: a key of `objects/` never gets bytes that it does
not name, and S3 shows an object when it is whole, not before. Every put is sent, also of bytes that are there: that
mends what is damaged and renews the time that `delete(put_before=…)` looks at. What S3 has confirmed is durable.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import quote

from formicary.runner.artifacts import CHUNK, Digest, Named, NameTable, ObjectMissing
from formicary.runner.artifacts.bucket import Bucket
from formicary.runner.core.errors import UserError, WorldError

LONGEST_KEY: Final = 1024
_MAX_SEGMENT: Final = 180
_SUFFIX: Final = ".name"


class S3Store:
    """An ObjectStore in a bucket. `scratch` is a folder for what has to lie on this machine for a moment."""

    def __init__(self, bucket: Bucket, scratch: Path, *, below: str = "") -> None:
        self.bucket = bucket
        self._prefix = f"{bucket.address.prefix}{below}objects/"
        self._scratch = scratch
        self._names = S3Names(bucket, f"{bucket.address.prefix}{below}names/")

    @property
    def names(self) -> NameTable:
        return self._names

    def put(self, source: Path | BinaryIO, *, durable: bool = False) -> Digest:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                return self._take(stream)
        if source.seekable():
            return self._take(source)
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._scratch) as spool:
            while block := source.read(CHUNK):
                spool.write(block)
            spool.seek(0)
            return self._take(cast(BinaryIO, spool))

    def _take(self, stream: BinaryIO) -> Digest:
        start = stream.tell()
        digest = _read_through(stream)
        stream.seek(start)
        exact = cast(BinaryIO, _Exactly(stream, digest))
        self.bucket.put(self._key(digest.sha256), exact, digest.size)
        return digest

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.bucket.open(self._key(sha256))
        except ObjectMissing:
            raise ObjectMissing(f"Object {sha256} is not in the artifact store (any more).") from None

    def has(self, sha256: str) -> bool:
        return self.bucket.stat(self._key(sha256)) is not None

    def delete(self, sha256: str, *, put_before: float | None = None) -> None:
        """S3 knows whole seconds, by its own clock."""
        key = self._key(sha256)
        if put_before is not None:
            found = self.bucket.stat(key)
            if found is None or found.at >= put_before:
                return
        self.bucket.delete(key)

    def presigned(self, sha256: str, seconds: float, filename: str) -> str | None:
        answer = {
            "content-disposition": f"attachment; filename*=utf-8''{quote(filename, safe='')}",
            "content-type": "application/octet-stream",
        }
        return self.bucket.presigned(self._key(sha256), seconds, answer)

    def check(self) -> None:
        self.bucket.check()

    def _key(self, sha256: str) -> str:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ObjectMissing(f"{sha256!r} is not a sha256 digest in hex.")
        return f"{self._prefix}{sha256[:2]}/{sha256[2:]}"


class S3Names:
    """A NameTable: one small JSON object a name, found by the name's own key."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix

    def link(self, name: str, digest: Digest) -> None:
        record = {"name": name, "sha256": digest.sha256, "size": digest.size, "at": time.time()}
        data = json.dumps(record).encode()
        self._bucket.put(self._key(name), io.BytesIO(data), len(data), "application/json")

    def resolve(self, name: str) -> Named | None:
        return self._read(self._key(name))

    def list(self, prefix: str) -> Iterator[Named]:
        folder = "".join(f"{_segment(part)}/" for part in prefix.split("/")[:-1])
        for kept in self._bucket.list(self._prefix + folder):
            named = self._read(kept.key) if kept.key.endswith(_SUFFIX) else None
            if named is not None and named.name.startswith(prefix):
                yield named

    def unlink(self, name: str) -> None:
        self._bucket.delete(self._key(name))

    def _read(self, key: str) -> Named | None:
        """None where there is no such name (any more), or what is written there is not one."""
        try:
            record = json.loads(self._bucket.read(key))
            return Named(record["name"], Digest(record["sha256"], record["size"]), record["at"])
        except (ObjectMissing, ValueError, KeyError, TypeError):
            return None

    def _key(self, name: str) -> str:
        key = self._prefix + "/".join(_segment(part) for part in name.split("/")) + _SUFFIX
        if len(key) > LONGEST_KEY:
            raise UserError(f"the name {name[:60]}… is too long for a bucket; give it fewer parts")
        return key


class _Exactly:
    """Reads a stream that has to be what it was a moment ago. Raises WorldError at its end, or before, where not."""

    def __init__(self, stream: BinaryIO, wanted: Digest) -> None:
        self._stream, self._wanted = stream, wanted
        self._seen: Any = hashlib.sha256()
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._seen.update(data)
        self._size += len(data)
        done = self._size >= self._wanted.size
        if (done and self._seen.hexdigest() != self._wanted.sha256) or (not done and not data):
            raise WorldError("What was to be kept was changed while it was read; it is tried again.")
        return data


def _read_through(stream: BinaryIO) -> Digest:
    seen, size = hashlib.sha256(), 0
    while block := stream.read(CHUNK):
        seen.update(block)
        size += len(block)
    return Digest(seen.hexdigest(), size)


def _segment(text: str) -> str:
    """One part of a name as a part of a key: no server finds anything special in it, and no two parts give the same."""
    safe = quote(text, safe="").replace(".", "%2E").replace("%", "=") or "="
    if len(safe) <= _MAX_SEGMENT:
        return safe
    return f"{safe[:100]}.{hashlib.sha256(text.encode()).hexdigest()}"
