"""The outbox worker: takes what is owed from the store, oldest first, and asks its publisher until it is done.

Failures back off with jitter; after `MOST_ATTEMPTS` an entry is a dead letter: kept, shown, and re-sendable.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import anyio

from formicary.runner.core.records import OutboxEntry
from formicary.runner.publish import Publisher

log = logging.getLogger("formicary.publish")

MOST_ATTEMPTS: Final = 10
LONGEST_DELAY: Final = 3600.0
BATCH: Final = 100
AGAIN: Final = 5.0


class Owed(Protocol):
    """What is owed, as a reader of the store tells it."""

    def outbox_due(self, now: float, limit: int = 100) -> list[OutboxEntry]: ...
    def outbox_next(self) -> float | None: ...


class Ledger(Protocol):
    """The store, as far as the outbox knows it."""

    def read(self) -> Owed: ...
    async def write(self, change: Callable[[Any], None]) -> None: ...


class Outbox:
    """`wake` it after a commit that owes something; it sleeps until then, or until a failed entry is due again."""

    def __init__(self, store: Ledger, publishers: Sequence[Publisher], clock: Callable[[], float]) -> None:
        self._store = store
        self._publishers = {publisher.kind: publisher for publisher in publishers}
        self._clock = clock
        self._wake = anyio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake = anyio.Event()
            try:
                if not await self._send_due():
                    await self._sleep()
            except Exception:  # the store could not be read or written
                log.exception("what is owed to the outside is told later")
                await anyio.sleep(AGAIN)

    async def _send_due(self) -> bool:
        entries = self._store.read().outbox_due(self._clock(), BATCH)
        for entry in entries:
            await self._send(entry)
        return bool(entries)

    async def _sleep(self) -> None:
        due = self._store.read().outbox_next()
        with anyio.move_on_after(max(due - self._clock(), 0.05) if due is not None else None):
            await self._wake.wait()

    async def _send(self, entry: OutboxEntry) -> None:
        publisher = self._publishers.get(entry.kind)
        try:
            if publisher is not None:
                await publisher.publish(entry.key, entry.payload)
        except Exception as error:  # whatever a publisher's library raises is a failed try, never the worker's end (D8)
            await self._defer(entry, error)
        else:
            await self._store.write(lambda tx: tx.settle(entry.id))

    async def _defer(self, entry: OutboxEntry, error: Exception) -> None:
        dead = entry.attempts + 1 >= MOST_ATTEMPTS
        delay = min(2.0**entry.attempts, LONGEST_DELAY) * (1 + random.random() / 2)
        log.warning("%s %s could not be published (%s)%s", entry.kind, entry.key, error, "; given up" if dead else "")
        due = self._clock() + delay
        await self._store.write(lambda tx: tx.defer(entry.id, due_at=due, error=str(error), dead=dead))
