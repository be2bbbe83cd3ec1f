"""Why an execution is where it is, in one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable

from formicary.runner.core.execution import Execution
from formicary.runner.core.states import LEASED, State


def why(execution: Execution, held_up: Callable[[str], str] = lambda _: "") -> str:
    """Of one that has begun and not ended. `held_up`: why an attempt waits, where it is not for a free hand."""
    if execution.cancelled:
        return f"it is being cancelled: {execution.cancel_reason}"
    if execution.resting_since is not None and execution.rest_reason:
        return f"{execution.rest_reason} {_rests(execution)}"
    asked = [run.name for run in execution.tasks.values() if run.state is State.MANUAL_APPROVAL_REQUIRED]
    busy = [run.name for run in execution.tasks.values() if run.state in LEASED]
    ready = [run for run in execution.tasks.values() if run.state is State.READY]
    if busy:
        return f"it runs {', '.join(f'`{name}`' for name in busy)}"
    for run in ready:
        if reason := held_up(run.attempts[-1].id):
            return f"`{run.name}` waits: {reason}"
    if ready:
        return f"`{ready[0].name}` waits for a free hand of an ant that can run it"
    if asked:
        return f"it waits for an approval of {', '.join(f'`{name}`' for name in asked)}"
    return "it waits to be tried again"


def _rests(execution: Execution) -> str:
    if execution.retry_at is None:
        return "It goes on when somebody resumes it."
    return f"It goes on at {time.strftime('%H:%M:%S', time.gmtime(execution.retry_at))} UTC."
