"""The outbox worker: takes what is owed from the store and asks its publishers until it is done (D10).

An entry that fails is tried again after 1, 2, 4 … seconds and at last every hour, `MOST_TRIES` times in all, which is
about a day; then it is a dead letter: kept, shown, and re-sendable. What can never work (`Undeliverable`) is one at
once. Where the other side says when to come back (`ToldToWait`), the whole lane waits and no try is counted.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio

from formicary.runner.core.errors import Locked, ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import OutboxEntry
from formicary.runner.publish import Laned, Publisher
from formicary.runner.publish.lanes import IN_FLIGHT, Lanes, Waiting

log = logging.getLogger("formicary.publish")

TRY: Final = 60.0
"""Seconds that one try may take."""
MOST_TRIES: Final = 35
LONGEST_DELAY: Final = 3600.0
LONGEST_PAUSE: Final = 30.0
"""Between two tries of a lane whose destination does not answer."""
LONGEST_WAIT: Final = 3600.0
"""However late the other side tells us to come back."""
BATCH: Final = 1000
AGAIN: Final = 5.0
MOST_SAID: Final = 1000
"""Characters of an error that are kept."""


class Owed(Protocol):
    """What is owed, as a reader of the store tells it."""

    def outbox_since(self, after: int, limit: int = 1000) -> list[OutboxEntry]: ...
    def outbox_entry(self, entry_id: int) -> OutboxEntry | None: ...


class Ledger(Protocol):
    """The store, as far as the outbox knows it."""

    def read(self) -> Owed: ...
    async def write(self, change: Callable[[Any], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try failed. `at_fault`: the destination, so that its lane slows down; `wait`: it said for how long."""

    error: str
    at_fault: bool = False
    for_good: bool = False
    wait: float | None = None


class Outbox:
    """`wake` it after a commit that owes something; it sleeps until then, or until something is due."""

    def __init__(self, store: Ledger, publishers: Sequence[Publisher], clock: Callable[[], float]) -> None:
        self._store = store
        self._publishers = {publisher.kind: publisher for publisher in publishers}
        self._clock = clock
        self._wake = anyio.Event()
        self._lanes = Lanes()
        self._newest = 0

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Send until the scope is left. What was on its way then is sent again after the next start."""
        async with anyio.create_task_group() as group:
            while True:
                self._wake = anyio.Event()
                try:
                    self._gather()
                except Exception:  # the store could not be read
                    log.exception("what is owed to the outside is told later")
                    await anyio.sleep(AGAIN)
                    continue
                for taken in self._lanes.take(self._clock()):
                    group.start_soon(self._send, taken, name=f"send {taken.place[1]} {taken.entry_id}")
                await self._sleep()

    def _gather(self) -> None:
        """Put what is newly owed into its lanes."""
        reader, more = self._store.read(), True
        while more:
            entries = reader.outbox_since(self._newest, BATCH)
            for entry in entries:
                lane, room = self._lane(entry)
                self._lanes.add(entry, lane, room)
                self._newest = entry.id
            more = len(entries) == BATCH

    def _lane(self, entry: OutboxEntry) -> tuple[str, int]:
        publisher = self._publishers.get(entry.kind)
        if not isinstance(publisher, Laned):
            return entry.kind, 1
        try:
            return f"{entry.kind} {publisher.lane(entry)}", IN_FLIGHT
        except Exception as error:  # an entry that nobody understands fails by itself when it is sent (D8)
            log.warning("%s %s has no lane (%s)", entry.kind, entry.key, error)
            return entry.kind, 1

    async def _sleep(self) -> None:
        due = self._lanes.next()
        with anyio.move_on_after(max(due - self._clock(), 0.0) if due is not None else None):
            await self._wake.wait()

    async def _send(self, taken: Waiting) -> None:
        try:
            entry = self._store.read().outbox_entry(taken.entry_id)
            if entry is None or entry.dead:
                self._lanes.settled(taken)
            else:
                await self._conclude(taken, entry, await self._try(entry))
        except Exception:  # the store could not be read or written
            log.exception("what became of %s %s is told again", *taken.place[1:])
            self._lanes.put_off(taken, self._clock() + AGAIN)
        finally:
            self._lanes.land(taken)
            self.wake()

    async def _try(self, entry: OutboxEntry) -> Failure | None:
        publisher = self._publishers.get(entry.kind)
        if publisher is None:  # its sort of telling was turned off
            return None
        try:
            with anyio.fail_after(TRY):
                await publisher.publish(entry.key, entry.payload)
        except Undeliverable as error:
            return Failure(str(error), for_good=True)
        except ToldToWait as error:
            return Failure(str(error), wait=min(error.retry_after, LONGEST_WAIT))
        except Locked as error:  # no fault of the destination
            return Failure(str(error))
        except TimeoutError as error:
            return Failure(str(error) or f"it took longer than {TRY:g} s", at_fault=True)
        except (WorldError, OSError) as error:
            return Failure(str(error), at_fault=True)
        except Exception as error:  # whatever a publisher's library raises is a failed try, never the worker's end (D8)
            return Failure(f"{type(error).__name__}: {error}")
        return None

    async def _conclude(self, taken: Waiting, entry: OutboxEntry, failure: Failure | None) -> None:
        """Note on disk and in the lanes what became of a try."""
        if failure is None:
            self._lanes.reached(taken)
            await self._store.write(lambda tx: tx.settle(entry.id))
            self._lanes.settled(taken)
            return
        due_at = self._again_at(taken, entry, failure)
        tried = failure.wait is None
        dead = failure.for_good or (tried and entry.attempts + 1 >= MOST_TRIES)
        log.warning(
            "%s %s could not be published (%s)%s", entry.kind, entry.key, failure.error, "; given up" if dead else ""
        )
        await self._store.write(
            lambda tx: tx.defer(entry.id, due_at=due_at, error=failure.error[:MOST_SAID], dead=dead, tried=tried)
        )
        if dead:
            self._lanes.settled(taken)
        else:
            self._lanes.put_off(taken, due_at)

    def _again_at(self, taken: Waiting, entry: OutboxEntry, failure: Failure) -> float:
        """When this entry may be tried again; its lane slows down where the destination is at fault."""
        now = self._clock()
        if failure.at_fault or failure.wait is not None:
            pause = min(2.0 ** min(self._lanes.missed(taken) - 1, 10), LONGEST_PAUSE)
            if failure.wait is not None:
                pause = max(failure.wait, pause)  # whoever says "at once" again and again is not asked all the time
                self._lanes.pause(taken, now + pause)
                return now + pause
            self._lanes.pause(taken, now + pause * _jitter())
        elif failure.for_good:
            self._lanes.reached(taken)
        return now + min(2.0 ** min(entry.attempts, 20), LONGEST_DELAY) * _jitter()


def _jitter() -> float:
    return 1 + random.random() / 2
