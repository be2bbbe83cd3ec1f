"""The text of a file before anything is read into it: what it may hold, its documents, and its lines and columns."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from formicary.runner.core.language.limits import (
    MAX_DOCUMENTS,
    MAX_SOURCE,
    RESERVED_FIRST,
    RESERVED_LAST,
    Fault,
)

_FORBIDDEN: Final = re.compile(
    f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\ufeff{RESERVED_FIRST}-{RESERVED_LAST}]"
)
# A document marker at the start of a line ends even a block text, so that cutting the raw text here is exact.
_MARKER: Final = re.compile(r"^(?:---|\.\.\.)(?=[ \t\n]|\Z)", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """One YAML document of a file: its text, and where in the file that begins."""

    text: str
    offset: int


@dataclass(frozen=True)
class Lines:
    """Finds line and column (from 1) of an offset."""

    text: str

    @cached_property
    def starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def place(self, offset: int) -> tuple[int, int]:
        offset = min(max(offset, 0), len(self.text))
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def source(self, line: int) -> str:
        start = self.starts[line - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end]


def normal(text: str) -> str:
    """One kind of line end, and no byte order mark at the start."""
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def check(text: str) -> None:
    """Refuse what is too long or holds what no file should hold. Raises Fault."""
    if len(text) > MAX_SOURCE or len(text.encode(errors="replace")) > MAX_SOURCE:
        raise Fault(-1, "The file is longer than 256 KiB", "split it into several files of .formicary")
    if found := _FORBIDDEN.search(text):
        raise Fault(found.start(), _forbidden(found[0]), "save the file as UTF-8 text without control characters")


def _forbidden(char: str) -> str:
    code = f"U+{ord(char):04X}"
    if "\ud800" <= char <= "\udfff":
        return f"The file is not valid UTF-8 (half a character, {code})"
    if RESERVED_FIRST <= char <= RESERVED_LAST:
        return f"The character {code} is reserved"
    return f"The file holds the control character {code}"


def documents(text: str) -> list[Document]:
    """The documents that say something. Raises Fault if there are too many."""
    found = []
    for start, end in _pieces(text):
        piece = text[start:end]
        if _nothing(piece):
            continue
        found.append(Document(piece, start))
        if len(found) > MAX_DOCUMENTS:
            raise Fault(start, f"The file holds more than {MAX_DOCUMENTS} documents", "split it into several files")
    return found


def _pieces(text: str) -> list[tuple[int, int]]:
    starts, ends = [0], []
    for marker in _MARKER.finditer(text):
        ends.append(marker.start())
        starts.append(marker.start() if marker[0] == "---" else marker.end())
    return list(zip(starts, [*ends, len(text)], strict=True))


def _nothing(piece: str) -> bool:
    lines = piece.removeprefix("---").split("\n")
    return all(not line.strip() or line.lstrip().startswith("#") or line.startswith("%") for line in lines)
