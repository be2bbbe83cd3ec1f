"""Bytes of a log that the queen has not taken yet: in memory while they are few, else in a file (D7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

IN_MEMORY: Final = 4 << 20


class Backlog:
    """A queue of bytes; its file is made when it is needed, and gone when it is empty."""

    def __init__(self, path: Path, in_memory: int = IN_MEMORY) -> None:
        self._path, self._in_memory = path, in_memory
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._read = self._written = 0

    def __len__(self) -> int:
        return len(self._memory) + self._written - self._read

    def append(self, data: bytes) -> None:
        """Raises OSError where the disk has no room."""
        if self._file is None and len(self._memory) + len(data) <= self._in_memory:
            self._memory += data
            return
        if self._file is None:
            self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b", buffering=0)
        self._file.seek(self._written)
        while data:
            count = self._file.write(data)
            self._written += count
            data = data[count:]

    def peek(self, size: int) -> bytes:
        """Up to `size` of the oldest bytes."""
        if self._memory or self._file is None:
            return bytes(self._memory[:size])
        self._file.seek(self._read)
        return self._file.read(min(size, self._written - self._read))

    def drop(self, size: int) -> None:
        """Forget the oldest bytes; not more than `peek` gave."""
        if self._memory:
            del self._memory[:size]
            return
        self._read += size
        if self._file is not None and self._read == self._written:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
        self._file = None
        self._read = self._written = 0
