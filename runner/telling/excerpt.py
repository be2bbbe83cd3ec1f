"""The lines of a log that say what went wrong: what the script marked as an error, else what looks like one, else the
last ones. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from formicary.runner.publish.notice import MOST_EXCERPT, MOST_REPORT
from formicary.runner.queen.keeping.tail import plain

LAST: Final = 20
BEFORE: Final = 2
AFTER: Final = 12
MARKS: Final = 10
MOST_LINE: Final = 300
_MARK: Final = re.compile(r"::error(?: [^:\n]*)?::(?P<text>.*)")
_FAILURE: Final = re.compile(
    r"^Traceback \(most recent call last\)|^(?:-+ )?FAIL\b"
    r"|^(?:E  +|FAILED\b|ERROR\b|not ok\b|panic:|fatal:|make: \*\*\*)"
    r"|\b(?:[A-Za-z]*Error|[A-Za-z]*Exception)\b:?|\berror(?:\[\w+\])?:|\bAssertion failed\b|\bfailed\b.*\bassert",
    re.M,
)


def excerpt(written: str, most: int = MOST_EXCERPT) -> str:
    """The lines to show, at most `most` bytes of them, without escape sequences."""
    lines = [_clean(line) for line in plain(written).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    marks = [found["text"] for line in lines if (found := _MARK.match(line))]
    if marks:
        return _cut(marks[:MARKS], most)
    first = next((number for number, line in enumerate(lines) if _FAILURE.search(line)), None)
    if first is None:
        return _cut(lines[-LAST:], most)
    return _cut(lines[max(first - BEFORE, 0) : first + AFTER], most)


def report(written: str, most: int = MOST_REPORT) -> str:
    """The last lines that there is room for, without escape sequences."""
    lines = [_clean(line) for line in plain(written).rstrip().split("\n")]
    kept = _cut(lines[::-1], most).split("\n")[::-1]
    return "\n".join(kept).strip("\n")


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
