"""Files as a tar, made while it is read: regular files and folders only, the same bytes for the same files."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, cast

from formicary.ant.below import Below, Found
from formicary.runner.core.errors import WorldError

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20


def stream(below: Below, found: Iterable[Found], comment: str = "") -> BinaryIO:
    """A stream to read the tar from, once and forwards. With another comment the same files are another object."""
    return cast(BinaryIO, _Reader(_tar(below, found, comment)))  # what a put needs of a file


class _Reader:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, bytearray()

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        taken = bytes(self._rest if size < 0 else self._rest[:size])
        del self._rest[: len(taken)]
        return taken


def _tar(below: Below, found: Iterable[Found], comment: str) -> Iterator[bytes]:
    if comment:
        yield tarfile.TarInfo.create_pax_global_header({"comment": comment})
    for one in found:
        if one.is_folder:
            yield _header(one, 0)
            continue
        handle = below.read(one.path)
        with open(handle, "rb", buffering=0) as file:
            size = os.fstat(handle).st_size
            yield _header(one, size)
            yield from _content(file, size, one.path)
    yield bytes(2 * _BLOCK)


def _content(file: BinaryIO, size: int, path: str) -> Iterator[bytes]:
    left = size
    while left:
        data = file.read(min(left, _CHUNK))
        if not data:
            raise WorldError(f"{path} became shorter while it was kept; something still writes to it.")
        left -= len(data)
        yield data
    yield bytes(-size % _BLOCK)


def _header(one: Found, size: int) -> bytes:
    info = tarfile.TarInfo(one.path)
    info.size = size
    info.type = tarfile.DIRTYPE if one.is_folder else tarfile.REGTYPE
    info.mode = 0o755 if one.is_folder or one.mode & 0o111 else 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
