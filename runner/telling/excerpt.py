"""The lines of a log that say what went wrong: what the script marked as an error, else what looks like one, else the
last ones. Pure, but for `tail`, which reads the end of a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from formicary.runner.core.logframes import Frame, parse
from formicary.runner.publish.notice import MOST_EXCERPT
from formicary.runner.queen.keeping.logs import Logs

LOOKED_AT: Final = 1 << 20
"""Bytes from the end of a log."""
MOST_TRIED: Final = 50
"""Places where a frame may begin; whoever writes more false ones than these into his log gets no lines of it."""
LAST: Final = 20
BEFORE: Final = 2
AFTER: Final = 12
MARKS: Final = 10
MOST_LINE: Final = 300
_HEADER: Final = re.compile(rb"(?:\A|\n)(?=\d+\.\d{3} (?:cmd|out|sys) \d+\n)")
_MARK: Final = re.compile(r"::error(?: [^:\n]*)?::(?P<text>.*)")
_FAILURE: Final = re.compile(
    r"^Traceback \(most recent call last\)|^(?:-+ )?FAIL\b"
    r"|^(?:E  +|FAILED\b|ERROR\b|not ok\b|panic:|fatal:|make: \*\*\*)"
    r"|\b(?:[A-Za-z]*Error|[A-Za-z]*Exception)\b:?|\berror(?:\[\w+\])?:|\bAssertion failed\b|\bfailed\b.*\bassert",
    re.M,
)
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|\Z)|[ -/]*[0-~])", re.S)


def tail(logs: Logs, task_execution_id: str, most: int = LOOKED_AT) -> str:
    """What a task wrote, up to so many bytes from the end of its log; empty where there is no log."""
    size = logs.size(task_execution_id)
    data = logs.read(task_execution_id, max(size - most, 0), most)
    written = b"".join(frame.data for frame in _frames(data, whole=size <= most) if frame.stream == "out")
    return written.decode("utf-8", "replace")


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


def excerpt(written: str, most: int = MOST_EXCERPT) -> str:
    """The lines to show, at most `most` bytes of them, without escape sequences."""
    lines = [_clean(line) for line in _ESCAPES.sub("", written).replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    marks = [found["text"] for line in lines if (found := _MARK.match(line))]
    if marks:
        return _cut(marks[:MARKS], most)
    first = next((number for number, line in enumerate(lines) if _FAILURE.search(line)), None)
    if first is None:
        return _cut(lines[-LAST:], most)
    return _cut(lines[max(first - BEFORE, 0) : first + AFTER], most)


def _clean(line: str) -> str:
    """A line as a terminal would leave it: what follows the last carriage return, without control characters."""
    line = line.rstrip("\r").rpartition("\r")[2]
    line = "".join(char if char.isprintable() or char == "\t" else "" for char in line)
    return line if len(line) <= MOST_LINE else line[: MOST_LINE - 1] + "…"


def _cut(lines: list[str], most: int) -> str:
    """Whole lines, as many as there is room for."""
    kept: list[str] = []
    for line in lines:
        most -= len(line.encode()) + 1
        if most < 0:
            kept.append("…")
            break
        kept.append(line)
    return "\n".join(kept)
