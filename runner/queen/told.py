"""What is owed to the outside when a request changes its state: decided inside the change that does it, so that state
and effect are on disk together. An effect is asked each time and says what it wants to have told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.execution import Execution
from formicary.runner.core.records import JobRequest, Repository
from formicary.runner.core.states import State
from formicary.runner.store import Tx


class Owed(NamedTuple):
    """An entry of the outbox to be. The newest of a (kind, key) replaces older ones. `due_at`: not before then."""

    kind: str
    key: str
    payload: Mapping[str, Any] = {}
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A request has changed, in this transaction. `state` is what it is in from now on, and counts more than
    `request.state`, which may be of a moment ago. `definition` is the job as this request runs it, where that is
    known. `before` is the execution before this change: where only tasks have moved, its state is `state` already."""

    tx: Tx
    request: JobRequest
    state: State
    definition: JobDefinition | None = None
    execution: Execution | None = None
    before: Execution | None = None

    @property
    def moved(self) -> bool:
        """Whether the request itself has another state than before, not only one of its tasks."""
        return self.before is None or self.before.state is not self.state


Judged = Callable[[Repository, str], Iterable[Owed]]
"""What is owed of a commit whose definitions are invalid, or valid again; decided where an `Effect` is."""

Effect = Callable[[Moment], Iterable[Owed]]
"""Runs on the writer's thread: quick, reads by `moment.tx` only, no I/O. What it raises undoes the change."""


@dataclass(slots=True)
class Told:
    """All effects of this process."""

    effects: Sequence[Effect] = field(default_factory=list)
    judgements: Sequence[Judged] = ()

    def note(self, moment: Moment) -> None:
        """Owe what every effect wants to have told of this moment."""
        for effect in self.effects:
            for kind, key, payload, due_at in effect(moment):
                moment.tx.owe(kind, key, payload, due_at=due_at, organization_id=moment.request.organization_id)

    def judged(self, tx: Tx, repository: Repository, commit: str) -> None:
        """The definitions of this commit are invalid, or valid again."""
        for judgement in self.judgements:
            for kind, key, payload, due_at in judgement(repository, commit):
                tx.owe(kind, key, payload, due_at=due_at, organization_id=repository.organization_id)

    def created(self, tx: Tx, request: JobRequest, definition: JobDefinition | None) -> None:
        """A new request."""
        if self.effects:
            self.note(Moment(tx, request, request.state, definition))
