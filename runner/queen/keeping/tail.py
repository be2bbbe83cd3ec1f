"""The end of a log: what a task wrote last, without the escape sequences of terminals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from formicary.runner.core.logframes import Frame, parse
from formicary.runner.queen.keeping.logs import Logs

LOOKED_AT: Final = 1 << 20
"""Bytes from the end of a log."""
MOST_TRIED: Final = 50
"""Places where a frame may begin; whoever writes more false ones than these into his log gets no lines of it."""
_HEADER: Final = re.compile(rb"(?:\A|\n)(?=\d+\.\d{3} (?:cmd|out|sys) \d+\n)")
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|\Z)|[ -/]*[0-~])", re.S)


def tail(logs: Logs, task_execution_id: str, most: int = LOOKED_AT) -> str:
    """What a task wrote, up to so many bytes from the end of its log; empty where there is no log."""
    size = logs.size(task_execution_id)
    data = logs.read(task_execution_id, max(size - most, 0), most)
    written = b"".join(frame.data for frame in _frames(data, whole=size <= most) if frame.stream == "out")
    return written.decode("utf-8", "replace")


def plain(text: str) -> str:
    """Without escape sequences, with one kind of line end."""
    return _ESCAPES.sub("", text).replace("\r\n", "\n")


def _frames(data: bytes, *, whole: bool) -> Iterator[Frame]:
    """The frames of bytes that may begin within one. What looks like a header and is none does not lead to the end."""
    if whole:
        yield from parse(data)
        return
    for found in islice(_HEADER.finditer(data), MOST_TRIED):
        try:
            frames = list(parse(memoryview(data)[found.end() :], found.end()))
        except ValueError:
            continue
        if frames and frames[-1].end == len(data):
            yield from frames
            return
