"""The site in an S3 bucket, for a web server or a CDN in front of it: types, cache headers, nothing stale."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from formicary.runner.artifacts.bucket import Bucket
from formicary.site.mirror import OWNED, Check, in_order

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
_ASK: Final = "no-cache"
"""May be kept, but is asked for each time."""
_STATIC: Final = "public, max-age=300"


class BucketTarget:
    """A `Target`. What is in the bucket is listed once, and again after trouble."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._prefix = bucket.address.prefix
        self._there: dict[str, str] | None = None
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def send(self, files: Mapping[str, Path], check: Check) -> None:
        there, self._there = self._there, None
        if there is None:
            there = self._listed()
        for path in sorted(files, key=there.__contains__):  # new ones first: nothing that is there links to them yet
            check()
            md5 = self._md5(files[path])
            if there.get(path) != md5:
                self._put(path, files[path])
                there[path] = md5
        for path in reversed(in_order(there.keys() - files.keys())):
            check()
            self._bucket.delete(self._prefix + path)
            del there[path]
        self._there = there

    def _listed(self) -> dict[str, str]:
        found = {}
        for name in sorted(OWNED):
            for kept in self._bucket.list(self._prefix + name):
                path = kept.key.removeprefix(self._prefix)
                if path.partition("/")[0] == name:
                    found[path] = kept.etag
        return found

    def _put(self, path: str, file: Path) -> None:
        media = _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")
        with file.open("rb") as source:
            cache = _STATIC if path.startswith("static/") else _ASK
            self._bucket.put(self._prefix + path, source, file.stat().st_size, media, cache, whole=True)

    def _md5(self, file: Path) -> str:
        """What S3 calls an object that was put in one piece."""
        found = file.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            known = self._known[file] = (stamp, hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest())
        return known[1]
