"""Which lines ran: Cobertura XML and LCOV, of all files of a task together. A line that any of them saw run did.

Both are little more than lists of lines. No library that is kept reads LCOV, and those for Cobertura hold the whole
tree, and look a file up in it once more for every file: nothing for bytes that a stranger may have written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from formicary.ant.reports.events import Budget, elements, local
from formicary.ant.reports.unreadable import Unreadable
from formicary.runner.core.reports import Coverage, FileLines

MOST_FILES: Final = 2000
"""Files that are kept one by one; the figures are of all."""
MOST_SEEN: Final = 100_000
MOST_LINES: Final = 1_000_000
"""Of all files of a task together."""
MOST_PATH: Final = 300
_BEGINNING: Final = 4096


@dataclass(slots=True)
class Lines:
    """`mask` takes secrets out of a path; `root` is the workspace, which paths are told from."""

    mask: Callable[[str], str]
    root: str = ""
    files: dict[str, dict[int, bool]] = field(default_factory=dict)
    counted: int = 0

    def read(self, file: BinaryIO, budget: Budget) -> None:
        """Raises Unreadable; what was read before is kept."""
        beginning = file.read(_BEGINNING)
        file.seek(0)
        if beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
            self._cobertura(file, budget)
        else:
            self._lcov(file, budget)

    def _cobertura(self, file: BinaryIO, budget: Budget) -> None:
        lines: dict[int, bool] = {}
        for begins, element, depth in elements(file, budget, lambda tag: False):
            if not begins:
                continue
            tag, said = local(element.tag), element.attrib
            if not depth and (tag != "coverage" or "generated" in said):  # Clover's begins so, and has a date
                raise Unreadable(f"is neither Cobertura nor LCOV: it begins with <{tag[:40]}>")
            if tag == "class":
                lines = self._of(said.get("filename", ""))
            elif tag == "line":
                self._ran(lines, said.get("number", ""), said.get("hits", ""))

    def _lcov(self, file: BinaryIO, budget: Budget) -> None:
        lines: dict[int, bool] | None = None
        begun = False
        for raw in file:
            budget.spend()
            record, _, said = raw.decode("utf-8", "replace").strip().partition(":")
            if record == "SF":
                lines, begun = self._of(said), True
            elif record == "DA" and lines is not None:
                number, _, hits = said.partition(",")
                self._ran(lines, number, hits.partition(",")[0])
            elif record == "end_of_record":
                lines = None
        if not begun:
            raise Unreadable("is neither Cobertura nor LCOV: no line of it begins with SF:")

    def _of(self, path: str) -> dict[int, bool]:
        if len(self.files) >= MOST_SEEN:
            raise Unreadable(f"has too many files; of all reports of a task {MOST_SEEN} are read")
        inside = path.removeprefix(self.root + "/") if self.root else path
        return self.files.setdefault(inside.removeprefix("./")[: 16 * MOST_PATH], {})

    def _ran(self, lines: dict[int, bool], number: str, hits: str) -> None:
        if not number.isdecimal() or len(number) > 9:
            return
        line = int(number)
        if line not in lines:
            self.counted += 1
            if self.counted > MOST_LINES:
                raise Unreadable(f"has too many lines; of all reports of a task {MOST_LINES} are read")
        lines[line] = lines.get(line, False) or _positive(hits)

    def coverage(self) -> Coverage:
        found = [
            FileLines(path=self._told(path), covered=sum(lines.values()), valid=len(lines))
            for path, lines in self.files.items()
            if lines
        ]
        found.sort(key=lambda one: (one.covered - one.valid, one.path))
        return Coverage(
            covered=sum(one.covered for one in found),
            valid=sum(one.valid for one in found),
            files=tuple(found[:MOST_FILES]),
        )

    def _told(self, path: str) -> str:
        line = " ".join(self.mask(path).split()) or "(no name)"
        return line if len(line) <= MOST_PATH else "…" + line[1 - MOST_PATH :]


def _positive(hits: str) -> bool:
    """Whether a count of runs says that there was one; gcov writes some as `1e+06`, and some below 0 by mistake."""
    try:
        return float(hits) > 0
    except ValueError:
        return False
