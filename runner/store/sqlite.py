"""The SQLite store: one file, one writer's thread, a reading connection a thread.

open_store(folder)   serves the folder; only one process may
open_reader(folder)  looks at it, beside a running one or alone
"""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from formicary.runner.core.errors import LostError, NotFound, SetupError, WorldError
from formicary.runner.store import Store, maintenance
from formicary.runner.store.along import current
from formicary.runner.store.cache import Memory
from formicary.runner.store.connect import FILE_NAME, open_query_only, open_writer, prepare_folder
from formicary.runner.store.lock import FolderLock
from formicary.runner.store.reader import SqliteReader
from formicary.runner.store.schema import migrate, refuse_newer, version_of
from formicary.runner.store.seal import Key
from formicary.runner.store.sql import SQL
from formicary.runner.store.tx import SqliteTx
from formicary.runner.store.writer import Writer

T = TypeVar("T")


class SqliteStore:
    """The `Store` of one data folder."""

    def __init__(self, folder: Path, clock: Callable[[], float], key: Key | None) -> None:
        self._folder = folder
        self._memory = Memory(key)
        self._readers = threading.local()
        self._open_readers: weakref.WeakSet[ClosingReader] = weakref.WeakSet()
        self._closed = False
        prepare_folder(folder)
        self._lock = FolderLock(folder)
        try:
            self.epoch, connection = _take_over(folder)
        except BaseException:
            self._lock.release()
            raise
        self._writer = Writer(connection, self._memory, epoch=self.epoch, clock=clock)

    @property
    def commits(self) -> int:
        """How many transactions were committed since the store was opened."""
        return self._writer.commits

    def when_owed(self, call: Callable[[], None]) -> None:
        self._writer.when_owed = call

    async def write(self, change: Callable[[SqliteTx], T]) -> T:
        beside = current()
        if beside is None:
            return await self._writer.write(change)
        result = await self._writer.write(beside.with_change(change))
        beside.written = True
        return result

    def read(self) -> SqliteReader:
        reader: ClosingReader | None = getattr(self._readers, "reader", None)
        if reader is None:
            if self._closed:
                raise LostError("The store is closed; nothing can be read any more.")
            reader = ClosingReader(self._folder, self._memory)
            self._readers.reader = reader
            self._open_readers.add(reader)
        return reader

    async def optimize(self) -> None:
        """Refresh what the query planner knows and fold the write-ahead log back; for quiet times."""
        await self._writer.maintain(maintenance.optimize)

    async def vacuum(self) -> None:
        """Give free pages back to the disk; it writes the whole file anew, and writes wait meanwhile."""
        await self._writer.maintain(maintenance.vacuum)

    def close(self) -> None:
        self._closed = True
        self._readers = threading.local()
        for reader in list(self._open_readers):
            reader.close()
        self._writer.close()
        self._lock.release()


class ClosingReader(SqliteReader):
    """A reader with a connection of its own, closed with it: by hand, or when its thread is gone."""

    def __init__(self, folder: Path, memory: Memory) -> None:
        connection = open_query_only(folder)
        super().__init__(connection, memory)
        self._connection = connection
        self._execute = self._run_guarded
        self.close = weakref.finalize(self, connection.close)

    def _run_guarded(self, *statement: Any) -> sqlite3.Cursor:
        """Run a statement; SQLite's errors become ours."""
        try:
            return self._connection.execute(*statement)
        except OverflowError as error:
            raise NotFound("There is nothing with so large a number.") from error
        except sqlite3.ProgrammingError as error:
            raise LostError(f"A store was read that is closed ({error}).") from error
        except sqlite3.DatabaseError as error:
            raise WorldError(f"The database could not be read ({error}); `formicary doctor` says more.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_store(folder: Path, *, clock: Callable[[], float] = time.time, key: Key | None = None) -> Store:
    """Serve a data folder: make it or bring it up to date, and take over from the queen before. With a `key`, values of
    secret parameters are sealed while they are there.

    Raises SetupError where another process serves it, a newer program wrote it, or it cannot be used.
    """
    return SqliteStore(folder, clock, key)


def open_reader(folder: Path) -> ClosingReader:
    """Look at a data folder without serving it, beside a running Formicary or alone. Close it after use.

    Raises SetupError where there is nothing to read, or a newer program wrote it.
    """
    if not (folder / FILE_NAME).is_file():
        raise SetupError(f"There is no Formicary data in {folder}; start `formicary serve`, or name it with --data.")
    try:
        connection = open_query_only(folder)
        try:
            refuse_newer(connection, folder)
            empty = version_of(connection) == 0
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SetupError(f"The data in {folder} cannot be read ({error}); `formicary doctor` says more.") from error
    if empty:
        raise SetupError(f"The data in {folder} is empty; start `formicary serve` once, then try again.")
    return ClosingReader(folder, Memory())


def _take_over(folder: Path) -> tuple[int, sqlite3.Connection]:
    """The new epoch and the writer's connection."""
    try:
        connection = open_writer(folder)
        try:
            migrate(connection, folder)
            (epoch,) = connection.execute(SQL["raise_epoch"]).fetchone()
        except BaseException:
            connection.close()
            raise
        return int(epoch), connection
    except sqlite3.Error as error:
        raise SetupError(f"The data in {folder} cannot be opened ({error}); run `formicary doctor`.") from error
