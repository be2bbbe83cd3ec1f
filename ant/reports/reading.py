"""Finds a task's reports in its workspace and reads them. Blocking; nothing of the task runs meanwhile.

A report is never a reason to fail: what is missing, too large or broken is a warning, and the others are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from formicary.ant.artifacts import select
from formicary.ant.below import Below, Found, Outside
from formicary.ant.reports.events import Budget
from formicary.ant.reports.junit import Gathered
from formicary.ant.reports.lines import Lines
from formicary.ant.reports.unreadable import Unreadable
from formicary.runner.core.reports import ReportFiles, Reports

MOST_FILES: Final = 500
MOST_BYTES: Final = 64 << 20
"""Of all reports of a task together."""
MOST_WARNINGS: Final = 10
Warn = Callable[[str], None]


def read(
    below: Below, folder: str, wanted: ReportFiles, root: str, mask: Callable[[str], str], warn: Warn
) -> Reports | None:
    """What the files say; None where nothing could be read. `folder` is working_dir, `root` the workspace's path."""
    reader = _Reading(below, folder, warn)
    tests, lines = Gathered(mask), Lines(mask, root)
    told = reader.all("junit", wanted.junit, tests.read)
    measured = reader.all("coverage", wanted.coverage, lines.read)
    if not (told or measured or tests.counts or lines.files):
        return None
    return Reports(
        tests=tests.tests() if told or tests.counts else None,
        coverage=lines.coverage() if measured or lines.files else None,
    )


class _Reading:
    def __init__(self, below: Below, folder: str, warn: Warn) -> None:
        self._below, self._folder, self._warn = below, folder, warn
        self._budget = Budget()
        self._files, self._bytes, self._warned = MOST_FILES, MOST_BYTES, 0

    def all(self, kind: str, globs: tuple[str, ...], take: Callable[[BinaryIO, Budget], None]) -> int:
        """Read what the globs find; how many of them could be."""
        taken, seen = 0, set[str]()
        for glob in globs:
            found = [one for one in self._found(kind, glob) if one.path not in seen]
            seen.update(one.path for one in found)
            taken += sum(self._one(kind, one, take) for one in found)
        return taken

    def _found(self, kind: str, glob: str) -> Iterator[Found]:
        try:
            chosen = select(self._below, self._folder, glob)
        except (Outside, OSError) as error:
            self._say(f"reports: {kind}: {error}")
            return
        files = [one for one in chosen.found if one.is_file]
        if not files:
            self._say(f"reports: {kind}: {glob!r} matches nothing.")
        yield from files

    def _one(self, kind: str, one: Found, take: Callable[[BinaryIO, Budget], None]) -> bool:
        self._files -= 1
        self._bytes -= one.size
        if self._files < 0 or self._bytes < 0:
            self._say(f"reports: at most {MOST_FILES} files and {MOST_BYTES >> 20} MiB are read; the rest is left out.")
            return False
        try:
            with open(self._below.read(one.path), "rb") as file:
                take(file, self._budget)
        except Unreadable as error:
            self._say(f"reports: {kind}: {one.path[:200]} {error}.")
            return False
        except (Outside, OSError) as error:
            self._say(f"reports: {kind}: {error}")
            return False
        return True

    def _say(self, text: str) -> None:
        self._warned += 1
        if self._warned <= MOST_WARNINGS:
            self._warn(text)
        elif self._warned == MOST_WARNINGS + 1:
            self._warn("reports: there are more warnings like these.")
