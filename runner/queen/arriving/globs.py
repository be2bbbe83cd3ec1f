"""Globs as in .gitignore, matched in time that grows with the name and not with the cunning of the glob.

pathspec's own expressions take Python's engine for ever where a glob has many stars (`*a*a*a*…`), and a definition may
be a stranger's. So RE2 matches them; of lists that are too long for one of its sets, part by part.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import pathspec

log = logging.getLogger("formicary.queen")

WHOLE: Final = 100
"""Globs that are tried as one set; of more the last part that says anything of a name counts."""


class Globs:
    """The last glob that fits decides, as in .gitignore; `!` takes away."""

    def __init__(self, globs: Sequence[str]) -> None:
        self._specs = _specs(list(globs))

    def match(self, name: str) -> bool:
        found = (spec.check_file(name).include for spec in reversed(self._specs))
        return bool(next((include for include in found if include is not None), False))


def _specs(globs: list[str]) -> list[pathspec.GitIgnoreSpec]:
    if len(globs) > WHOLE:
        return [spec for start in range(0, len(globs), WHOLE) for spec in _specs(globs[start : start + WHOLE])]
    import re2

    try:
        return [pathspec.GitIgnoreSpec.from_lines(globs, backend="re2")]
    except (re2.error, ValueError):
        if len(globs) > 1:
            half = len(globs) // 2
            return _specs(globs[:half]) + _specs(globs[half:])
        log.warning("the glob `%.60s` is left out: it is too long, or means nothing", globs[0])
        return []


@lru_cache(maxsize=512)
def globs_of(globs: tuple[str, ...]) -> Globs:
    return Globs(globs)
