r"""A log as bytes: a sequence of frames, so that an ant's spool, the queen's file and an archived log are the same.

A frame is a header line `<time> <stream> <length>\n`, `length` bytes, and `\n`. Time is seconds since the epoch with
milliseconds; the stream is `cmd` (the command shown), `out` (what it wrote) or `sys` (our own words). The raw log is
the `out` bytes one after the other. `out` frames may break lines and characters anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

Stream = Literal["cmd", "out", "sys"]
STREAMS: Final = frozenset({b"cmd", b"out", b"sys"})
_MAX_HEADER: Final = 64


class Frame(NamedTuple):
    """One record of a log; `at` is seconds since the epoch, `end` the offset behind it in the framed bytes."""

    at: float
    stream: str
    data: bytes
    end: int


def header(at: float, stream: Stream, length: int) -> bytes:
    return b"%.3f %s %d\n" % (at, stream.encode(), length)


def frame(at: float, stream: Stream, data: bytes) -> bytes:
    """One whole frame."""
    return b"".join((header(at, stream, len(data)), data, b"\n"))


def parse(data: bytes | memoryview, offset: int = 0) -> Iterator[Frame]:
    """The whole frames in `data`, which begins at a frame's start and at `offset` of its log.

    A frame cut off at the end is not given; read again from the last `end`. Raises ValueError where no frame starts.
    """
    view, at = bytes(data), 0
    while True:
        newline = view.find(b"\n", at, at + _MAX_HEADER)
        if newline < 0:
            if len(view) - at >= _MAX_HEADER:
                raise ValueError(f"no log frame at offset {offset + at}")
            return
        time, stream, length = _header(view[at:newline], offset + at)
        end = newline + 1 + length
        if end + 1 > len(view):
            return
        yield Frame(time, stream, view[newline + 1 : end], offset + end + 1)
        at = end + 1


def _header(line: bytes, offset: int) -> tuple[float, str, int]:
    parts = line.split(b" ")
    if len(parts) != 3 or parts[1] not in STREAMS or not parts[2].isdigit():
        raise ValueError(f"no log frame at offset {offset}")
    return float(parts[0]), parts[1].decode(), int(parts[2])
