"""A consistent copy of a database that may be in use, what it names, and what is done to a copy that is restored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import SetupError, WorldError
from formicary.runner.store.connect import FILE_NAME, open_query_only, open_writer
from formicary.runner.store.maintenance import damage, dangling
from formicary.runner.store.schema import VERSION, refuse_newer, version_of

#: Pages that are copied at a time; between them the progress is said.
PAGES: Final = 2048
#: Ids that are left out by a restore: more than are used between two backups.
GAP: Final = 100_000

_ATTEMPTS: Final = """
SELECT json_extract(attempt.value, '$.id'), executions.ended_at IS NULL
FROM executions, json_each(executions.body, '$.tasks') AS task, json_each(task.value, '$.attempts') AS attempt
ORDER BY executions.id"""
_IN_PARTS: Final = """
SELECT json_extract(attempt.value, '$.id'), executions.ended_at IS NULL
FROM executions JOIN execution_parts AS parts ON parts.execution_id = executions.id,
    json_each(parts.body) AS task, json_each(task.value, '$.attempts') AS attempt"""
_OBJECTS: Final = "SELECT digest, max(size) FROM artifacts WHERE digest <> '' GROUP BY digest ORDER BY min(id)"
_SEQUENCES_OF_ALL: Final = """
INSERT INTO sqlite_sequence (name, seq)
SELECT name, 0 FROM sqlite_master
WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' AND name NOT IN (SELECT name FROM sqlite_sequence)"""
_NAMERS: Final = "SELECT id, name, request_id FROM artifacts WHERE digest = ? ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy names outside itself: `attempts` (task execution id → whether its execution is under way) have logs,
    `objects` (digest → size) are the bytes of artifacts."""

    schema_version: int
    requests: int
    attempts: dict[str, bool]
    objects: dict[str, int]


def copy(folder: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy the database of a data folder into the folder `target`, as it is at this moment (SQLite's online backup).

    One reading transaction holds the moment, so writers go on and the copy never begins anew. `progress` is told pages
    done and pages in all. Raises SetupError where there is nothing to copy, or a newer program wrote it; WorldError.
    """
    if not (folder / FILE_NAME).is_file():
        raise SetupError(f"There is no Formicary data in {folder}; name the data folder with --data.")
    try:
        with closing(open_query_only(folder)) as source:
            source.execute("BEGIN")
            refuse_newer(source, folder)
            if version_of(source) == 0:
                raise SetupError(f"The data in {folder} is empty; start `formicary serve` once, then try again.")
            with closing(sqlite3.connect(target / FILE_NAME)) as copied:
                (target / FILE_NAME).chmod(0o600)
                copied.execute("PRAGMA synchronous = OFF")  # a copy that a power cut breaks is made again
                source.backup(copied, pages=PAGES, progress=lambda _status, left, pages: progress(pages - left, pages))
    except sqlite3.Error as error:
        raise WorldError(
            f"The database in {folder} could not be copied ({error}); `formicary doctor` says more."
        ) from error


def contents(folder: Path) -> Contents:
    """What the copy in this folder names."""
    with closing(open_query_only(folder)) as connection:
        (requests,) = connection.execute("SELECT count(*) FROM requests").fetchone()
        found = list(connection.execute(_ATTEMPTS))
        if version_of(connection) >= 13:  # executions had no parts before
            found += connection.execute(_IN_PARTS)
        attempts = {attempt: bool(live) for attempt, live in found}
        return Contents(version_of(connection), requests, attempts, dict(connection.execute(_OBJECTS)))


def examine(folder: Path) -> list[str]:
    """What is wrong with the copy in this folder, as sentences; none where it is whole."""
    try:
        with closing(open_query_only(folder)) as connection:
            found = version_of(connection)
            if not 0 < found <= VERSION:
                return [
                    f"The schema of its database is version {found}, and this Formicary knows versions up to "
                    f"{VERSION}; install the Formicary that made it, or a newer one."
                ]
            wrong = [f"Its database is damaged: {problem}." for problem in damage(connection)]
            return wrong + [f"Rows of {name} refer to rows that are not in it." for name in dangling(connection)]
    except sqlite3.Error as error:
        return [f"Its database cannot be read ({error})."]


def namer(folder: Path, digest: str) -> str:
    """Which artifact names these bytes, in words."""
    with closing(open_query_only(folder)) as connection:
        artifact, name, request = connection.execute(_NAMERS, (digest,)).fetchone()
        return f"artifact {artifact} ({name!r} of request {request})"


def still_named(folder: Path, digests: Iterable[str]) -> set[str]:
    """Those of the digests that an artifact in this folder's database names."""
    with closing(open_query_only(folder)) as connection:
        return {digest for digest in digests if connection.execute(_NAMERS, (digest,)).fetchone()}


def forget(folder: Path, digests: Iterable[str]) -> None:
    """Delete the copy's artifacts that have these bytes: they expired while the rest was copied."""
    with closing(open_writer(folder)) as connection:
        connection.executemany("DELETE FROM artifacts WHERE digest = ?", [(digest,) for digest in digests])


def begin_anew(folder: Path, now: float) -> None:
    """Make a copy that is restored a new beginning: no epoch and no id of it was used by the original since.

    Each start of a queen raises the epoch by one; the seconds since 1970 are more than all starts, and later at the
    next restore. Ids go on GAP further: logs, bytes, links and hooks outside are filed under those that came between.
    """
    with closing(open_writer(folder)) as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE store SET epoch = max(epoch + 1, ?) WHERE id = 1", (int(now),))
        connection.execute(_SEQUENCES_OF_ALL)
        connection.execute("UPDATE sqlite_sequence SET seq = seq + ?", (GAP,))
        connection.execute("COMMIT")
