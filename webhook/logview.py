"""A log's frames as records of text. Frames may break characters; records never do."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from formicary.runner.core.logframes import Frame

_BATCH: Final = 500
_BATCH_BYTES: Final = 256 << 10


class LogRecord(NamedTuple):
    """`t` seconds since the epoch, `s` the stream (cmd, out, sys), `text` what it says."""

    t: float
    s: str
    text: str


class Batch(NamedTuple):
    """Some records, and the framed offset behind them, from which to go on."""

    end: int
    records: list[LogRecord]


def batches(frames: Iterable[Frame], *, whole: bool) -> Iterator[Batch]:
    """The frames as records, in batches that end where a character does.

    What is left of a character at the end is given (as U+FFFD) only where the log is `whole`; else it is kept back, so
    that whoever goes on from the last `end` loses and doubles nothing.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    records: list[LogRecord] = []
    clean, clean_end, size = 0, -1, 0
    last = None
    for frame in frames:
        last = frame
        text = decoder.decode(frame.data) if frame.stream == "out" else frame.data.decode("utf-8", "replace")
        records.append(LogRecord(frame.at, frame.stream, text))
        size += len(frame.data)
        if not decoder.getstate()[0]:
            clean, clean_end = len(records), frame.end
            if len(records) >= _BATCH or size >= _BATCH_BYTES:
                yield Batch(clean_end, records)
                records, clean, clean_end, size = [], 0, -1, 0
    if whole and last and records:
        if rest := decoder.decode(b"", final=True):
            records.append(LogRecord(last.at, "out", rest))
        yield Batch(last.end, records)
    elif clean:
        yield Batch(clean_end, records[:clean])
