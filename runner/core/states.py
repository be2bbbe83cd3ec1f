"""Every state of a job and of a task, and the one table of the transitions that may happen.

Rule 1: everything that says which state may follow which lives in this file. Nothing else sets a state: it asks
`move`, and what the table does not hold is impossible, not logged. Commands (restart, cancel) are events and not
states; groups of states are the frozensets below and not members.

What the tables cannot say: an execution never leaves a terminal state (a restart by a person makes a new one), while a
task may, when its attempt is repeated. The docs' diagram is made from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from formicary.runner.core.errors import ImpossibleTransition


class State(StrEnum):
    #: job: asked for, waits to be admitted; task: waits for what it needs, or for its retry
    PENDING = "PENDING"
    #: job: admitted; task: offered to the ants
    READY = "READY"
    #: claimed by an ant, which prepares its workspace
    STARTED = "STARTED"
    #: its script runs
    EXECUTING = "EXECUTING"
    #: waits for its pause to end, or for resume
    PAUSED = "PAUSED"
    #: waits for a person
    MANUAL_APPROVAL_REQUIRED = "MANUAL_APPROVAL_REQUIRED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"

    #: the same number as Enum's, which is looked up by name each time: states are asked for in sets all the time
    __hash__ = str.__hash__


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.SKIPPED, State.CANCELLED})
#: holds a hand of an ant, or is about to
ACTIVE: Final = frozenset({State.READY, State.STARTED, State.EXECUTING})
#: an ant holds its lease
LEASED: Final = frozenset({State.STARTED, State.EXECUTING})
WAITING: Final = frozenset({State.PENDING, State.PAUSED, State.MANUAL_APPROVAL_REQUIRED})
#: what a commit status or an exit code calls a success
SUCCESS: Final = frozenset({State.COMPLETED, State.SKIPPED})

_S = State

#: Of requests and executions alike. READY → FAILED: the plan cannot be rendered, or nothing in it can run.
JOB_TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    _S.PENDING: frozenset({_S.READY, _S.SKIPPED, _S.FAILED, _S.CANCELLED, _S.PAUSED, _S.MANUAL_APPROVAL_REQUIRED}),
    _S.READY: frozenset(
        {_S.STARTED, _S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED, _S.PENDING, _S.PAUSED}
        | {_S.MANUAL_APPROVAL_REQUIRED}
    ),
    _S.STARTED: frozenset(
        {_S.EXECUTING, _S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED, _S.PENDING, _S.PAUSED}
        | {_S.MANUAL_APPROVAL_REQUIRED}
    ),
    _S.EXECUTING: frozenset(
        {_S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED, _S.PENDING, _S.PAUSED, _S.MANUAL_APPROVAL_REQUIRED}
    ),
    _S.PAUSED: frozenset({_S.PENDING, _S.READY, _S.CANCELLED, _S.FAILED}),
    _S.MANUAL_APPROVAL_REQUIRED: frozenset({_S.PENDING, _S.READY, _S.EXECUTING, _S.PAUSED, _S.FAILED, _S.CANCELLED}),
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.SKIPPED: frozenset(),
    _S.CANCELLED: frozenset(),
}

#: READY → PENDING: the offer was not taken up; STARTED/EXECUTING → PENDING: the attempt failed or was lost and is
#: repeated; FAILED → PENDING: the whole job is tried again; STARTED → SKIPPED: its `except` held when it was rendered;
#: READY → FAILED, COMPLETED: it could not be rendered, and what its outcome says of that; MANUAL_APPROVAL_REQUIRED →
#: PENDING, SKIPPED: nobody is asked any more, for now or at all; CANCELLED → PENDING: its matrix stopped it
#: (fail_fast), and the whole job is tried again. A matrix task is in the state that the foremost of its combinations
#: has come to, and in that of the worst when all have ended.
TASK_TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    _S.PENDING: frozenset({_S.READY, _S.SKIPPED, _S.CANCELLED, _S.FAILED, _S.MANUAL_APPROVAL_REQUIRED}),
    _S.READY: frozenset({_S.STARTED, _S.PENDING, _S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED}),
    _S.STARTED: frozenset({_S.EXECUTING, _S.PENDING, _S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED}),
    _S.EXECUTING: frozenset({_S.PENDING, _S.COMPLETED, _S.FAILED, _S.CANCELLED}),
    _S.PAUSED: frozenset({_S.PENDING, _S.CANCELLED}),
    _S.MANUAL_APPROVAL_REQUIRED: frozenset({_S.PENDING, _S.COMPLETED, _S.FAILED, _S.SKIPPED, _S.CANCELLED}),
    _S.COMPLETED: frozenset({_S.PENDING}),
    _S.FAILED: frozenset({_S.PENDING}),
    _S.SKIPPED: frozenset({_S.PENDING}),
    _S.CANCELLED: frozenset({_S.PENDING}),
}


def move(table: Mapping[State, frozenset[State]], now: State, then: State) -> State:
    """Return `then` if the table allows it after `now`; staying is always allowed.

    Raises ImpossibleTransition.
    """
    if now is then or then in table[now]:
        return then
    raise ImpossibleTransition(f"{now} cannot become {then}")
