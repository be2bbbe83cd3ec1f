"""Where in some bytes one of many forms may begin, at a cost that hardly depends on how many there are. Pure.

Few forms are looked for by a regular expression of their first bytes. Many would make it slow (measured: 400 forms,
1.5 MB/s); so the bytes are read as numbers of four bytes each. Whatever is at least seven bytes long has one of these
numbers whole within it, at one of four distances from where it begins, wherever it stands.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Final

HEAD: Final = 4
"""Bytes of a form that a candidate is known to have; no form is shorter."""
_ENOUGH: Final = 2 * HEAD - 1
_FEW: Final = 12
"""So many heads a regular expression finds quicker."""


class Finder:
    """Finds places where `forms` may begin; `always` are heads of what is longer than what is known of it."""

    def __init__(self, forms: Iterable[bytes], always: Iterable[bytes] = ()) -> None:
        forms = frozenset(forms)
        self.heads = {form[:HEAD] for form in forms} | set(always)
        long = frozenset(form for form in forms if len(form) >= _ENOUGH) if len(self.heads) > _FEW else frozenset()
        short = {form[:HEAD] for form in forms - long} | set(always)
        self._short = re.compile(b"|".join(map(re.escape, sorted(short)))) if short else None
        self._blocks: dict[int, set[int]] = {}
        for form in long:
            for away in range(HEAD):
                self._blocks.setdefault(_number(form[away : away + HEAD]), set()).add(away)

    def starts(self, data: bytes, cut: int) -> Iterator[int]:
        """Places before `cut`, rising, each at least once where a form stands."""
        if not self._blocks:
            return self._by_head(data, cut)
        found = set(self._by_head(data, cut)) | set(self._by_block(data, cut))
        return iter(sorted(found))

    def _by_head(self, data: bytes, cut: int) -> Iterator[int]:
        if self._short is None:
            return
        at = 0
        while (match := self._short.search(data, at)) and (start := match.start()) < cut:
            yield start
            at = start + 1

    def _by_block(self, data: bytes, cut: int) -> Iterator[int]:
        whole = len(data) // HEAD * HEAD
        with memoryview(data) as view, view[:whole] as part, part.cast("I") as numbers:
            blocks = self._blocks
            if blocks.keys().isdisjoint(numbers):
                return
            hits = [(index, blocks[number]) for index, number in enumerate(numbers) if number in blocks]
        for index, distances in hits:
            for away in distances:
                if 0 <= (start := HEAD * index - away) < cut:
                    yield start

    def first(self, data: bytes, at: int) -> int:
        """The first place from `at` on where a head stands; -1 if there is none."""
        if not self._blocks:
            match = self._short.search(data, at) if self._short else None
            return match.start() if match else -1
        heads = self.heads
        return next((place for place in range(at, len(data) - HEAD + 1) if data[place : place + HEAD] in heads), -1)


def _number(block: bytes) -> int:
    return int.from_bytes(block, sys.byteorder)
