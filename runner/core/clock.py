"""The clock on the wall, where it does not go on as time does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockSet:
    """The clock was set, or the machine slept: it shows `by` seconds more (or less) than have passed."""

    by: float
