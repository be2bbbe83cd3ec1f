"""Reads the lines of a framed log: the last of a long one, and the new ones of a growing one, in bounded memory.

A cursor is (offset of a frame's start, number of lines before that frame, number of lines shown): whoever comes back
with it re-reads that frame and leaves out what was shown, so nothing is doubled or lost however frames break lines.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from formicary.runner.core.logframes import Frame, parse

MAX_LINES: Final = 2_000
MAX_BYTES: Final = 1 << 20
MAX_LINE: Final = 4_000
#: Marks are made at most once in so many lines, or bytes.
_STEP: Final = 64
_STRIDE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log; `number` counts from 1 over the whole log."""

    number: int
    at: float
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader stands (see above). As text: `offset-before-shown`."""

    offset: int = 0
    before: int = 0
    shown: int = 0

    def __str__(self) -> str:
        return f"{self.offset}-{self.before}-{self.shown}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `text` says, or the log's start where it says none."""
        parts = text.split("-")
        if len(parts) != 3 or not all(part.isdecimal() and len(part) < 16 for part in parts):
            return cls()
        return cls(*(int(part) for part in parts))


@dataclass(slots=True)
class Splitter:
    """Frames in, whole lines out. A change of stream ends a line; so does a frame of `cmd` and `sys`."""

    number: int = 0
    stream: str = "out"
    at: float = 0.0
    pending: bytearray = field(default_factory=bytearray)

    def feed(self, frame: Frame) -> Iterator[Line]:
        if self.pending and frame.stream != self.stream:
            yield from self.flush()
        if not self.pending:
            self.at, self.stream = frame.at, frame.stream
        *whole, rest = frame.data.split(b"\n")
        for part in whole:
            yield self._line(self.pending + part)
            self.pending.clear()
            self.at = frame.at
        self.pending += rest
        if frame.stream != "out":
            yield from self.flush()

    def flush(self) -> Iterator[Line]:
        """What was begun, as a line."""
        if self.pending:
            yield self._line(self.pending)
            self.pending.clear()

    def _line(self, data: bytes | bytearray) -> Line:
        self.number += 1
        text = data[: 4 * MAX_LINE].decode("utf-8", "replace")
        if len(text) > MAX_LINE or len(data) > 4 * MAX_LINE:
            text = text[:MAX_LINE] + f" … ({len(data)} bytes in this line; the raw log has all of it)"
        return Line(self.number, self.at, self.stream, text)


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of a log. `total` counts all its lines, `began` is the time of its first frame."""

    lines: tuple[Line, ...] = ()
    total: int = 0
    size: int = 0
    began: float | None = None
    cursor: Cursor = Cursor()
    damaged: str = ""

    @property
    def hidden(self) -> int:
        return self.lines[0].number - 1 if self.lines else 0


def read_tail(path: Path, *, ended: bool, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> Tail:
    """The last lines of the log at `path`; an unfinished last line is given once the attempt has `ended`."""
    try:
        found = path.stat()
        start = _start(path, found.st_size, found.st_mtime_ns, max_lines, max_bytes)
        with path.open("rb") as file, mmap.mmap(file.fileno(), found.st_size, access=mmap.ACCESS_READ) as data:
            return _lines_from(data, start, ended, max_lines)
    except (FileNotFoundError, ValueError):  # no log yet, or an empty one, which cannot be mapped
        return Tail()


@lru_cache(maxsize=512)
def _start(path: Path, size: int, _changed: int, max_lines: int, max_bytes: int) -> Cursor:
    """Where the end of a log begins; found once for a log that does not grow any more."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        return _checkpoint(data, max_lines, max_bytes)


def read_on(path: Path, cursor: Cursor, *, ended: bool, max_bytes: int = MAX_BYTES) -> tuple[list[Line], Cursor]:
    """The lines behind `cursor`, of about `max_bytes` (more where one frame is longer), and the cursor behind them."""
    data, whole = _read(path, cursor.offset, max_bytes)
    splitter = Splitter(number=cursor.before)
    lines, after, _ = _drain(parse(data, cursor.offset), splitter, cursor)
    if after.offset == cursor.offset and not whole:
        return read_on(path, cursor, ended=ended, max_bytes=max_bytes * 2)
    if ended and whole:
        lines += splitter.flush()
    fresh = [line for line in lines if line.number > cursor.shown]
    return fresh, Cursor(after.offset, after.before, max(cursor.shown, splitter.number))


def _read(path: Path, offset: int, most: int) -> tuple[bytes, bool]:
    """Bytes from `offset`, and whether the log ends with them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(most)
    except FileNotFoundError:
        return b"", True
    return data, len(data) < most


def began(path: Path) -> float:
    """The time of a log's first frame; 0 where there is none yet."""
    data, _ = _read(path, 0, 64)
    head = data.split(b" ", 1)[0]
    return float(head) if head and head.replace(b".", b"", 1).isdigit() else 0.0


def _drain(frames: Iterator[Frame], splitter: Splitter, cursor: Cursor) -> tuple[list[Line], Cursor, str]:
    """All lines of `frames`; the cursor to re-read from; what is wrong with the log, if something is."""
    lines: list[Line] = []
    offset, clean = cursor.offset, cursor
    try:
        for frame in frames:
            begun = bool(splitter.pending) and frame.stream == splitter.stream
            start, before = offset, splitter.number
            lines += splitter.feed(frame)
            offset = frame.end
            if not splitter.pending:
                clean = Cursor(offset, splitter.number)
            elif splitter.number > before or not begun:
                # the unfinished line begins in this frame; `before` counts the lines that are whole ahead of the frame
                clean = Cursor(start, before)
    except ValueError as error:
        return lines, clean, str(error)
    return lines, clean, ""


def _checkpoint(data: mmap.mmap, max_lines: int, max_bytes: int) -> Cursor:
    """A frame's start from which the wanted lines are still all to come. Reads headers, counts newlines."""
    marks: deque[tuple[int, int]] = deque([(0, 0)])
    offset = number = 0
    stream, open_line, step = b"out", False, min(_STEP, max_lines)
    size = len(data)
    while (newline := data.find(b"\n", offset, offset + 64)) >= 0:
        parts = data[offset:newline].split(b" ")
        if len(parts) != 3 or not parts[2].isdigit():
            break
        end = newline + 1 + int(parts[2])
        if end >= size:
            break
        if open_line and parts[1] != stream:
            number, open_line = number + 1, False
        if not open_line and (number - marks[-1][1] >= step or offset - marks[-1][0] >= _STRIDE):
            marks.append((offset, number))
        body = data[newline + 1 : end]
        number += body.count(b"\n")
        open_line, stream = _leaves_open(body, open_line, parts[1]), parts[1]
        if open_line and stream != b"out":
            number, open_line = number + 1, False
        offset = end + 1
        while len(marks) > 1 and (number - marks[1][1] >= max_lines or offset - marks[1][0] >= max_bytes):
            marks.popleft()
    return Cursor(*marks[0])


def _leaves_open(body: bytes, was_open: bool, stream: bytes) -> bool:
    if not body:
        return was_open and stream == b"out"
    return not body.endswith(b"\n")


def _lines_from(data: mmap.mmap, start: Cursor, ended: bool, max_lines: int) -> Tail:
    splitter = Splitter(number=start.before)
    lines, after, damaged = _drain(parse(data[start.offset :], start.offset), splitter, start)
    if ended:
        lines += splitter.flush()
    return Tail(
        lines=tuple(lines[-max_lines:]),
        total=splitter.number,
        size=len(data),
        began=float(data[: data.find(b" ")]) if lines else None,
        cursor=Cursor(after.offset, after.before, splitter.number),
        damaged=damaged,
    )
