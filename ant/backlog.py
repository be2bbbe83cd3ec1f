"""Bytes of a log that the queen has not taken yet: in memory while they are few, else in a file (D7)."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import BinaryIO, Final

IN_MEMORY: Final = 4 << 20


class Backlog:
    """A queue of bytes; its file is made when it is needed, and gone when it is empty."""

    def __init__(self, path: Path, in_memory: int = IN_MEMORY) -> None:
        self._path, self._in_memory = path, in_memory
        self._memory: deque[bytes] = deque()
        self._size = 0
        self._file: BinaryIO | None = None
        self._read = self._written = 0

    def __len__(self) -> int:
        return self._size + self._written - self._read

    def append(self, *parts: bytes) -> None:
        """Raises OSError where the disk has no room."""
        size = sum(map(len, parts))
        if self._file is None and self._size + size <= self._in_memory:
            self._memory.extend(parts)  # as they are: a copy of a long log costs as much as writing it
            self._size += size
            return
        if self._file is None:
            self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b", buffering=0)
        self._file.seek(self._written)
        data = b"".join(parts)
        while data:
            count = self._file.write(data)
            self._written += count
            data = data[count:]

    def peek(self, size: int) -> bytes:
        """The oldest bytes: about `size`, or as many as came together."""
        if self._memory:
            taken, parts = 0, []
            for part in self._memory:
                parts.append(part)
                taken += len(part)
                if taken >= size:
                    break
            return b"".join(parts)
        if self._file is None:
            return b""
        self._file.seek(self._read)
        return self._file.read(min(size, self._written - self._read))

    def drop(self, size: int) -> None:
        """Forget the oldest bytes; not more than `peek` gave."""
        if self._memory:
            self._size -= size
            while size:
                part = self._memory.popleft()
                if len(part) > size:
                    self._memory.appendleft(part[size:])
                size -= min(len(part), size)
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
