"""How a state looks: its word, its tone and its icon. A state is never shown by colour alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.errors import LOST_CODES
from formicary.runner.core.records import SyncState
from formicary.runner.core.states import State


@dataclass(frozen=True, slots=True)
class Status:
    """`tone` names the colours in the style sheet, `icon` the symbol in the page's sprite."""

    word: str
    tone: str
    icon: str
    lost: bool = False


#: Tone (ok, bad, run, wait, off) and the icon's name of every state.
_LOOKS: Final[Mapping[State, tuple[str, str]]] = {
    State.PENDING: ("wait", "pending"),
    State.READY: ("wait", "ready"),
    State.STARTED: ("run", "started"),
    State.EXECUTING: ("run", "executing"),
    State.PAUSED: ("wait", "paused"),
    State.MANUAL_APPROVAL_REQUIRED: ("wait", "approval"),
    State.COMPLETED: ("ok", "completed"),
    State.FAILED: ("bad", "failed"),
    State.SKIPPED: ("off", "skipped"),
    State.CANCELLED: ("off", "cancelled"),
}
_SYNC: Final[Mapping[SyncState, tuple[str, str]]] = {
    SyncState.SYNCED: ("ok", "completed"),
    SyncState.OUT_OF_SYNC: ("wait", "pending"),
    SyncState.INVALID: ("bad", "failed"),
    SyncState.ORPHANED: ("off", "cancelled"),
}
#: Worst first: what a repository's health takes from its jobs.
_WORST: Final = ("bad", "run", "wait", "ok", "off")


def word(state: State) -> str:
    """`MANUAL_APPROVAL_REQUIRED` reads `Manual approval required`."""
    return state.value.replace("_", " ").capitalize()


def status(state: State, error_code: str = "") -> Status:
    """How `state` looks; a failure with one of our own codes is marked as lost (D12)."""
    tone, icon = _LOOKS[state]
    return Status(word(state), tone, icon, state is State.FAILED and error_code in LOST_CODES)


def sync_status(state: SyncState) -> Status:
    tone, icon = _SYNC[state]
    return Status(state.value, tone, icon)


def worst(statuses: Iterable[Status]) -> Status | None:
    """The one that a reader must hear of first."""
    return min(statuses, key=lambda one: _WORST.index(one.tone), default=None)
