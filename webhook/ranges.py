"""Range requests over bytes of known size: one range, as every client asks; several are answered with the whole."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


class Span(NamedTuple):
    """The bytes from `start` to before `end`, of `size`."""

    start: int
    end: int
    size: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}",
            "Content-Length": str(self.end - self.start),
        }


def is_one_range(header: str | None) -> bool:
    """Whether the header asks for one range of bytes; what is no such thing is as if it were not there."""
    return header is not None and _parts(header) is not None


def span_of(header: str, size: int) -> Span:
    """What `header` (one range) asks for of `size` bytes. 416 where there is nothing of it."""
    first, last = _parts(header) or ("0", "")
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(size - int(last), 0), size
    if start >= end:
        raise HTTPException(416, f"There are {size} bytes.", {"Content-Range": f"bytes */{size}"})
    return Span(start, end, size)


def _parts(header: str) -> tuple[str, str] | None:
    found = _RANGE.fullmatch(header)
    if not found or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    return None if first and last and int(last) < int(first) else (first, last)
