"""What is told to the outside: the outbox worker and its `Publisher` protocol. Carried out after the commit, repeated
until confirmed, so everything published twice must be harmless (D10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Publisher(Protocol):
    """One kind of effect. `kind` is the outbox entries' that it takes."""

    kind: str

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        """Make it so. Raises WorldError to be asked again later; any other error counts as a failed try too."""
        ...
