"""Versions of plugins: `1.2`, `1.0.1`, and pre-releases of these, `1.0-dev`, `1.0-rc1`; and which of several is meant.

`1.2` and `1.2.0` are the same. Libraries for semantic versions want three parts, and those for Python's read other
words than `dev` and `rc`, so the few lines are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

PATTERN: Final = r"(?:[0-9]{1,9})\.(?:[0-9]{1,9})(?:\.[0-9]{1,9})?(?:-?(?:dev|rc)-?[0-9]{0,9})?"
"""What a version looks like, for a schema."""
_LOOK: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:-?(dev|rc)-?([0-9]{0,9}))?")
_STAGES: Final = {"dev": 0, "rc": 1, None: 2}
LOOKS: Final = "`1.2` or `1.0.1`, for a pre-release `1.0-dev` or `1.0-rc1`"
T = TypeVar("T")


class SemVersion(NamedTuple):
    """In the order in which they come: `dev` before `rc`, and both before the release."""

    major: int
    minor: int
    patch: int
    stage: int
    number: int

    @property
    def released(self) -> bool:
        return self.stage == _STAGES[None]

    @property
    def plain(self) -> str:
        """The one way to write it: 1.2.0, 1.0.0-rc1."""
        stage = {number: word for word, number in _STAGES.items()}[self.stage]
        return f"{self.major}.{self.minor}.{self.patch}" + (f"-{stage}{self.number or ''}" if stage else "")


def read_version(text: str) -> SemVersion | None:
    """None where it is none."""
    found = _LOOK.fullmatch(text.strip())
    if found is None:
        return None
    major, minor, patch, stage, number = found.groups()
    return SemVersion(int(major), int(minor), int(patch or 0), _STAGES[stage], int(number or 0))


def is_wanted(text: str) -> bool:
    """Whether it says which version is wanted: one, or with `^` the newest that it leads to."""
    version = read_version(text.strip().removeprefix("^"))
    return version is not None and (version.released or not text.strip().startswith("^"))


def suits(wanted: str, version: SemVersion) -> bool:
    """Whether this one is wanted. `^1.2` wants releases from 1.2 on and before 2.0; `^0.2` those before 0.3; "" any."""
    wanted = wanted.strip()
    least = read_version(wanted.removeprefix("^"))
    if least is None:
        return not wanted and version.released
    if not wanted.startswith("^"):
        return version == least
    same = version[:1] == least[:1] if least.major else version[:2] == least[:2]
    return same and version.released and version >= least


def newest(wanted: str, known: Iterable[tuple[str, T]]) -> T | None:
    """What belongs to the newest of these versions that is wanted; without any wish, to the newest release."""
    read = ((read_version(text), what) for text, what in known)
    fitting = [(version, what) for version, what in read if version is not None and suits(wanted, version)]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None
