"""The bytes that commands wrote, by their own offsets: an index over framed logs that grows as they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from formicary.runner.queen.keeping.logs import Logs

_MARK_EVERY: Final = 1 << 20
_INDEXES: Final = 64
_CHUNK: Final = 256 << 10


@dataclass(slots=True)
class _Index:
    """Marks say at which framed offset a raw offset lies; both lists rise together. `raw` bytes lie before `framed`."""

    raw: int = 0
    framed: int = 0
    raw_marks: list[int] = field(default_factory=lambda: [0])
    framed_marks: list[int] = field(default_factory=lambda: [0])

    def extend(self, logs: Logs, task_execution_id: str) -> None:
        for frame in logs.frames(task_execution_id, self.framed):
            if frame.stream == "out":
                self.raw += len(frame.data)
            self.framed = frame.end
            if self.framed - self.framed_marks[-1] >= _MARK_EVERY:
                self.raw_marks.append(self.raw)
                self.framed_marks.append(self.framed)

    def before(self, raw: int) -> tuple[int, int]:
        """The last mark at or before this raw offset: (raw, framed)."""
        at = bisect_right(self.raw_marks, raw) - 1
        return self.raw_marks[at], self.framed_marks[at]


class RawLogs:
    """Blocking: call from a thread."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._indexes: OrderedDict[str, _Index] = OrderedDict()
        self._lock = Lock()

    def size(self, task_execution_id: str) -> int:
        """How many bytes the commands have written so far."""
        return self._index(task_execution_id).raw

    def read(self, task_execution_id: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `end` (or to where the log ends now), in pieces of a useful size."""
        at, framed = (0, 0) if start == 0 else self._index(task_execution_id).before(start)
        gathered = bytearray()
        for frame in self._logs.frames(task_execution_id, framed):
            if frame.stream != "out":
                continue
            gathered += frame.data[max(start - at, 0) : None if end is None else max(end - at, 0)]
            at += len(frame.data)
            if len(gathered) >= _CHUNK:
                yield bytes(gathered)
                gathered.clear()
            if end is not None and at >= end:
                break
        if gathered:
            yield bytes(gathered)

    def _index(self, task_execution_id: str) -> _Index:
        with self._lock:
            index = self._indexes.pop(task_execution_id, None) or _Index()
            index.extend(self._logs, task_execution_id)
            self._indexes[task_execution_id] = index
            if len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
            return index
