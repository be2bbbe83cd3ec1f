"""How Formicary opens its database file: durable, with foreign keys, readable by its owner alone."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import SetupError
from formicary.runner.store.lists import begins_words

FILE_NAME: Final = "formicary.db"
BUSY_SECONDS: Final = 10.0
#: Pages of the write-ahead log that are folded back at once; a job writes about 30.
CHECKPOINT_PAGES: Final = 4000

_ALWAYS: Final = ("foreign_keys = ON", "temp_store = MEMORY", "cache_size = -16000")
#: FULL: the log is synced at every commit. secure_delete: a wiped secret is overwritten, not only forgotten.
_WRITER: Final = ("synchronous = FULL", f"wal_autocheckpoint = {CHECKPOINT_PAGES}", "secure_delete = ON")


def prepare_folder(folder: Path) -> None:
    """Make the data folder, or close it to others (0700), and its database file (0600).

    Raises SetupError, for one where other things lie open already too.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            _close_to_others(folder)
        os.close(os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        (folder / FILE_NAME).chmod(0o600)
    except OSError as error:
        raise SetupError(
            f"The data folder {folder} cannot be used ({error.strerror}); name a folder that you own with --data."
        ) from error


def _close_to_others(folder: Path) -> None:
    """An open folder becomes ours only if it is empty or was ours before: somebody may need what else lies there."""
    if not (folder / FILE_NAME).exists() and any(folder.iterdir()):
        raise SetupError(
            f"The data folder {folder} is open to other users and holds other things; name a folder of its own with "
            f"--data, or close this one with chmod 700."
        )
    folder.chmod(0o700)


def open_writer(folder: Path) -> sqlite3.Connection:
    """The one connection that writes. It is handed to the writer's thread."""
    connection = _open(folder / FILE_NAME)
    connection.create_function("begins_words", 2, begins_words, deterministic=True)
    connection.execute("PRAGMA journal_mode = WAL")
    _set(connection, _WRITER)
    return connection


def open_query_only(folder: Path) -> sqlite3.Connection:
    """A connection that cannot write. Its thread may end before it is closed by another."""
    connection = _open(folder / FILE_NAME)
    connection.create_function("begins_words", 2, begins_words, deterministic=True)
    _set(connection, ("query_only = ON",))
    return connection


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    _set(connection, _ALWAYS)
    return connection


def _set(connection: sqlite3.Connection, pragmas: tuple[str, ...]) -> None:
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
