"""How a page shows the combinations of a matrix: behind their task, not more of them than a reader can look through."""

from __future__ import annotations

from collections import Counter
from typing import Final

from formicary.runner.core.deciding.combinations import in_order
from formicary.runner.core.execution import Execution, TaskRun
from formicary.runner.core.states import ACTIVE, State

MOST_SHOWN: Final = 100
"""Combinations of one matrix. Those that failed come first, then those that run."""


def shown(execution: Execution) -> list[TaskRun]:
    """Tasks in the order they began, those that have not in the file's; a matrix task's combinations behind it."""
    runs = execution.tasks.values()
    members: dict[str, list[TaskRun]] = {}
    for run in runs:
        if run.matrix_of:
            members.setdefault(run.matrix_of, []).append(run)
    began = {name: min(map(_began, ones)) for name, ones in members.items()}
    kept = {name: set(_chosen(ones)) for name, ones in members.items() if len(ones) > MOST_SHOWN}
    order = sorted(in_order(runs), key=lambda run: began.get(run.matrix_of or run.name, _began(run)))
    return [run for run in in_order(order) if run.matrix_of not in kept or run.name in kept[run.matrix_of]]


def _began(run: TaskRun) -> float:
    first = run.attempts[0].ready_at if run.attempts else None
    return first if first is not None else float("inf")


def _chosen(members: list[TaskRun]) -> list[str]:
    return [run.name for run in sorted(members, key=_interest)[:MOST_SHOWN]]


def _interest(run: TaskRun) -> int:
    return 0 if run.state is State.FAILED else 1 if run.state in ACTIVE else 2


def count(execution: Execution, run: TaskRun) -> str:
    """ "12 of 3000, 2 failed": how many have ended; empty for what is no matrix task."""
    whole = run.combinations
    if whole is None:
        return ""
    states = Counter(one.state for one in execution.tasks.values() if one.matrix_of == run.name)
    bad = [f"{states[state]} {state.lower()}" for state in (State.FAILED, State.CANCELLED) if states[state]]
    done = f"{whole.size - whole.left} of {whole.size}" if whole.left else f"{whole.size}"
    more = f"{MOST_SHOWN} are shown" if whole.size > MOST_SHOWN else ""
    return ", ".join(filter(None, (done, *bad, more)))
