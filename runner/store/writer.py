"""The one writer: changes queue up for its thread, which commits what has gathered in one go (group commit).

    write() ──▶ queue ──▶ BEGIN · SAVEPOINT a · SAVEPOINT b · … · COMMIT (one sync) ──▶ futures resolved on their loops

A change that raises is rolled back alone. A commit that fails (a full disk) fails its whole batch with WorldError, and
the writer goes on with the next. A future is resolved only when its change is on disk. A change that was handed over is
carried out even if whoever waited for it is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, TypeVar

from formicary.runner.core.errors import FormicaryError, LostError, WorldError
from formicary.runner.store.cache import Memory, Overlay
from formicary.runner.store.sql import SQL
from formicary.runner.store.tx import SqliteTx

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: More than this in one commit would make the first of them wait too long.
MAX_BATCH: Final = 256
#: So many new requests go into the full-text index at once: a tenth of the work that they are one by one.
INDEX_AT_ONCE: Final = 200


@dataclass(slots=True, eq=False)
class _Job:
    """A change, or work of maintenance that runs outside a transaction, and who waits for it."""

    work: Callable[[Any], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    maintenance: bool = False
    result: Any = None
    error: BaseException | None = None

    def resolve(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class _TransactionGone(Exception):
    """SQLite gave up the whole transaction, not only the statement."""


class Writer:
    """The writer's thread. Only its thread touches the connection once it runs."""

    def __init__(
        self, connection: sqlite3.Connection, memory: Memory, *, epoch: int, clock: Callable[[], float]
    ) -> None:
        self.commits = 0
        self.when_owed: Callable[[], None] = _nothing
        """Called on the writers' loop, after a commit that owes something to the outside."""
        self._owed = False
        self._connection = connection
        self._memory = memory
        self._epoch = epoch
        self._clock = clock
        self._searched: int
        (self._searched,) = connection.execute(SQL["searched"]).fetchone()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._handing_over = Lock()
        self._thread = Thread(target=self._run, name="store writer", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[SqliteTx], T]) -> T:
        """The change's result, once it is on disk."""
        result: T = await self._hand_over(change)
        return result

    async def maintain(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on the writer's connection, between two transactions."""
        result: T = await self._hand_over(work, maintenance=True)
        return result

    def _hand_over(self, work: Callable[[Any], Any], *, maintenance: bool = False) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future(), maintenance)
        with self._handing_over:
            if self._closed:
                raise LostError("The store is closed; nothing can be written any more.")
            self._queue.put(job)
        return job.future

    def close(self) -> None:
        """Carry out what was handed over, then close the connection."""
        with self._handing_over:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    # On the writer's thread

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._gather()
            changes = [job for job in batch if not job.maintenance]
            if changes:
                self._carry_out(changes)
            for job in batch:
                if job.maintenance:
                    self._maintain(job)
            owed, self._owed = self._owed, False
            _resolve(batch, self.when_owed if owed else _nothing)
            del batch, changes
        self._connection.close()

    def _gather(self) -> tuple[list[_Job], bool]:
        """What waits now, at least one; False once nothing more will come."""
        batch: list[_Job] = []
        job = self._queue.get()
        try:
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH:
                    return batch, True
                job = self._queue.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _carry_out(self, batch: list[_Job]) -> None:
        overlay = Overlay()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._refuse_old_epoch()
            for job in batch:
                self._try(job, overlay)
            searched = self._index(overlay.newest_request)
            self._connection.execute("COMMIT")
        except Exception as error:
            self._give_up(batch, error)
        else:
            self.commits += 1
            self._searched = searched
            self._owed = overlay.owed
            overlay.commit(self._memory)

    def _refuse_old_epoch(self) -> None:
        (epoch,) = self._connection.execute(SQL["epoch"]).fetchone()
        if epoch != self._epoch:
            raise LostError(
                f"A newer queen has taken over this data folder (its epoch is {epoch}, this one's {self._epoch}); "
                "stop this one."
            )

    def _index(self, newest: int) -> int:
        """Fill the full-text index when enough new requests have gathered; the last request in it. A search that does
        not work must not stop the queen."""
        if newest - self._searched < INDEX_AT_ONCE:
            return self._searched
        execute = self._connection.execute
        execute("SAVEPOINT searching")
        try:
            execute(SQL["index_requests"], {"newest": newest})
            execute(SQL["set_searched"], {"newest": newest})
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                raise
            execute("ROLLBACK TO searching")
            logger.warning("requests cannot be put into the search index, it is tried again later: %s", error)
        execute("RELEASE searching")
        return newest

    def _try(self, job: _Job, overlay: Overlay) -> None:
        """Run one change in a savepoint; its error is kept for whoever waits."""
        execute = self._connection.execute
        tx = SqliteTx(self._connection, self._memory, overlay, self._clock())
        execute("SAVEPOINT change")
        try:
            job.result = job.work(tx)
        except BaseException as error:
            job.error = _presentable(error)
            if not self._connection.in_transaction:
                raise _TransactionGone(str(error)) from error
            execute("ROLLBACK TO change")
        else:
            overlay.absorb(tx.learnt)
        finally:
            tx.end()
        execute("RELEASE change")

    def _give_up(self, batch: list[_Job], error: Exception) -> None:
        """Nothing of the batch is on disk. A change that raised by itself keeps its own error."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as worse:
            logger.error("a transaction could not be rolled back: %s", worse)
        world = isinstance(error, (sqlite3.Error, _TransactionGone))
        shared = _world(error) if world else _presentable(error)
        for job in batch:
            job.result = None
            job.error = job.error or shared

    def _maintain(self, job: _Job) -> None:
        try:
            job.result = job.work(self._connection)
        except BaseException as error:
            job.error = _presentable(error)


def _nothing() -> None:
    """Nobody wants to know."""


def _resolve(batch: list[_Job], then: Callable[[], None]) -> None:
    """Tell those who wait, with one wake-up a loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in batch:
        loops.setdefault(job.loop, []).append(job)
    for loop, jobs in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_all, jobs, then)
        except RuntimeError:
            continue  # this loop was closed: nobody waits there any more


def _resolve_all(jobs: list[_Job], then: Callable[[], None]) -> None:
    for job in jobs:
        job.resolve()
    then()


def _presentable(error: BaseException) -> BaseException:
    """The error as `write` raises it: SQLite's become ours, and what no future can carry is wrapped."""
    if isinstance(error, sqlite3.IntegrityError):
        wrapped: FormicaryError = LostError(f"The store refused a change that contradicts what it holds: {error}.")
    elif isinstance(error, sqlite3.OperationalError):
        return _world(error)
    elif isinstance(error, (sqlite3.Error, StopIteration)):
        wrapped = LostError(f"A change of the store failed: {error!r}.")
    else:
        return error
    wrapped.__cause__ = error
    return wrapped


def _world(error: BaseException) -> WorldError:
    made = WorldError(
        f"The database could not be written ({error}); see that the disk has room and works. It will be tried again."
    )
    made.__cause__ = error
    return made
