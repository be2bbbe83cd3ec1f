"""The database's health: what `formicary doctor` asks, and what is done in quiet times."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from formicary.runner.store import schema
from formicary.runner.store.connect import FILE_NAME, open_query_only

MIB: Final = 1024 * 1024
LARGE_WAL: Final = 256 * MIB
LITTLE_DISK: Final = 512 * MIB


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one part of the data folder found."""

    part: str
    ok: bool
    message: str


def check(folder: Path) -> list[Finding]:
    """Look at everything in the data folder that is the store's. Nothing is changed; a queen may be running."""
    database = folder / FILE_NAME
    if not database.is_file():
        return [Finding("database", False, f"There is no database in {folder}; start `formicary serve` once.")]
    findings = [_permissions(folder, 0o700), _permissions(database, 0o600), _wal(folder), _disk(folder)]
    try:
        with closing(open_query_only(folder)) as connection:
            findings += [look(connection) for look in _LOOKS]
    except sqlite3.Error as error:
        remedy = "restore it from a backup" if os.access(folder, os.W_OK) else f"let its user write to {folder}"
        findings.append(Finding("database", False, f"The database cannot be read ({error}); {remedy}."))
    return findings


def optimize(connection: sqlite3.Connection) -> None:
    """Refresh the planner's statistics and fold the write-ahead log back into the database."""
    connection.execute("PRAGMA analysis_limit = 1000")
    database = Database(connection, recursive_triggers=False)
    database.analyze()
    database.table("requests_fts").optimize()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def vacuum(connection: sqlite3.Connection) -> None:
    """Write the database anew without its free pages."""
    Database(connection, recursive_triggers=False).vacuum()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def damage(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds broken in its own file, the first ten things."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)").fetchall()]
    return [] if found == ["ok"] else found


def dangling(connection: sqlite3.Connection) -> list[str]:
    """Tables that have rows which refer to rows that are gone."""
    return sorted({row[0] for row in connection.execute("PRAGMA foreign_key_check").fetchall()})


def _integrity(connection: sqlite3.Connection) -> Finding:
    problems = damage(connection)
    if not problems:
        return Finding("integrity", True, "The database is intact.")
    return Finding(
        "integrity", False, f"The database is damaged: {'; '.join(problems)}. Stop Formicary and restore a backup."
    )


def _foreign_keys(connection: sqlite3.Connection) -> Finding:
    tables = dangling(connection)
    if not tables:
        return Finding("foreign keys", True, "Every row has what it refers to.")
    return Finding("foreign keys", False, f"Rows of {', '.join(tables)} refer to rows that are gone; restore a backup.")


def _schema(connection: sqlite3.Connection) -> Finding:
    found = schema.version_of(connection)
    if found == schema.VERSION:
        return Finding("schema", True, f"The schema is version {found}, as this program wants it.")
    if found > schema.VERSION:
        remedy = "install the newer Formicary that wrote it"
    else:
        remedy = "start `formicary serve` once to bring it up to date"
    return Finding("schema", False, f"The schema is version {found}, this program's is {schema.VERSION}; {remedy}.")


_LOOKS: Final[tuple[Callable[[sqlite3.Connection], Finding], ...]] = (_integrity, _foreign_keys, _schema)


def _permissions(path: Path, wanted: int) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~wanted:
        return Finding("permissions", False, f"{path} is open to others ({mode:04o}); run chmod {wanted:o} {path}.")
    return Finding("permissions", True, f"{path} is its owner's alone.")


def _wal(folder: Path) -> Finding:
    size = sum(part.stat().st_size for part in _wal_files(folder))
    message = f"The write-ahead log holds {size / MIB:.1f} MiB"
    if size > LARGE_WAL:
        return Finding("write-ahead log", False, f"{message}; restart Formicary to fold it back into the database.")
    return Finding("write-ahead log", True, f"{message}.")


def _wal_files(folder: Path) -> Iterator[Path]:
    path = folder / f"{FILE_NAME}-wal"
    if path.exists():
        yield path


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < LITTLE_DISK:
        return Finding("disk", False, f"Only {free / MIB:.0f} MiB are free for {folder}; make room.")
    return Finding("disk", True, f"{free / MIB:.0f} MiB are free for {folder}.")
