"""When each attempt waited and ran, as percent of the execution's width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.site import times
from formicary.site.status import status
from formicary.site.views import Bar

_STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_TICKS: Final = 5


def span(execution: Execution, now: float | None) -> tuple[float, float]:
    """From the first thing that happened to the last; `now` is the end of what still runs."""
    moments = [moment for run in execution.tasks.values() for one in run.attempts for moment in _moments(one)]
    begin = min([*moments, execution.started_at or execution.created_at])
    if execution.ended_at is not None:
        moments.append(execution.ended_at)
    elif now is not None:
        moments.append(now)
    return begin, max([*moments, begin + 0.001])


def bars(execution: Execution, run: TaskRun, now: float | None) -> tuple[Bar, ...]:
    begin, end = span(execution, now)

    def place(moment: float) -> float:
        return round(min(max((moment - begin) / (end - begin) * 100, 0.0), 100.0), 2)

    return tuple(_bar(one, place, end) for one in run.attempts if _moments(one))


def ticks(execution: Execution | None, now: float | None) -> tuple[tuple[float, str], ...]:
    """(percent, time since the start) for the axis, in round steps."""
    if execution is None or not any(run.attempts for run in execution.tasks.values()):
        return ()
    begin, end = span(execution, now)
    step = next((step for step in _STEPS if (end - begin) / step <= _MOST_TICKS), (end - begin) / _MOST_TICKS)
    count = int((end - begin) / step)
    return tuple((round(index * step / (end - begin) * 100, 2), _tick(index * step)) for index in range(count + 1))


def _tick(seconds: float) -> str:
    return times.duration(seconds) if seconds else "0"


def _moments(one: Attempt) -> list[float]:
    every = (one.ready_at, one.started_at, one.executing_at, one.ended_at)
    return [moment for moment in every if moment is not None]


def _bar(one: Attempt, place: Callable[[float], float], end: float) -> Bar:
    ready = one.ready_at if one.ready_at is not None else one.started_at or end
    begun = one.started_at if one.started_at is not None else (one.ended_at or end)
    until = one.ended_at if one.ended_at is not None else end
    look = status(one.state, one.error_code)
    return Bar(look, place(ready), place(begun), place(until), f"Attempt {one.number}: {look.word}{_spent(one)}")


def _spent(one: Attempt) -> str:
    return f", {times.duration(one.ended_at - one.started_at)}" if one.ended_at and one.started_at else ""
