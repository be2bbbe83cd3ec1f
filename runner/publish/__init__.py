"""What is told to the outside: the outbox worker and its `Publisher` protocol. Carried out after the commit, repeated
until confirmed, so everything published twice must be harmless (D10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, runtime_checkable

from formicary.runner.core.records import OutboxEntry

Credential = Callable[[int, str], str | None]
"""(repository id, name such as `token`) → the secret text, None where nobody gave one. May read a file: call it in a
thread. Raises SetupError where it was given and cannot be read."""

MOST_PULLS: Final = 500
"""Open pull requests of a repository that its forge is asked for; where there are fewer, these are all."""


class Publisher(Protocol):
    """One kind of effect. `kind` is the outbox entries' that it takes."""

    kind: str

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        """Make it so, and return when it is. Never called twice at a time with the same key; ends when its scope is
        cancelled, which happens after `outbox.TRY` seconds.

        Raises ToldToWait (the whole lane pauses), Undeliverable (a dead letter at once), WorldError (asked again
        later); any other error counts as a failed try too.
        """
        ...


@runtime_checkable
class Laned(Protocol):
    """A publisher with several destinations, so that one of them that is slow or dead holds up no other."""

    def lane(self, entry: OutboxEntry) -> str:
        """The destination's name: the same for all that would wait for each other anyway. Quick, on the loop."""
        ...
