"""Figures of a job's history: quantiles, success rate, and the bars that show them. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from formicary.runner.core.states import SUCCESS, TERMINAL, State

BAR_HEIGHT: Final = 40.0
_SHORTEST: Final = 5.0


def quantile(values: Sequence[float], part: float) -> float | None:
    """Linear between the two nearest ranks; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def success_rate(states: Sequence[State]) -> float | None:
    """Share of ended runs that count as success; cancelled ones say nothing about the job."""
    ended = [state for state in states if state in TERMINAL and state is not State.CANCELLED]
    return sum(state in SUCCESS for state in ended) / len(ended) if ended else None


def heights(values: Sequence[float | None]) -> list[float]:
    """Heights of bars from the shortest that can be seen to BAR_HEIGHT; without a value, the shortest."""
    top = max((value for value in values if value is not None), default=0.0)
    if top <= 0:
        return [_SHORTEST for _ in values]
    return [round(_SHORTEST + (BAR_HEIGHT - _SHORTEST) * (value or 0.0) / top, 1) for value in values]
