"""The schema and its migrations, in order. A migration that was released never changes; a new one is added below it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from formicary.runner.core.errors import SetupError

MIGRATIONS: Final = Migrations("formicary")
SEARCHED: Final = ("job_type", "ref", "commit", "description", "created_by")


@MIGRATIONS(name="1 first")
def _first(db: Database) -> None:
    for statement in _statements("schema_1.sql"):
        db.execute(statement)


@MIGRATIONS(name="2 search", transactional=False)
def _search(db: Database) -> None:
    """Full-text search over requests. Its trigger is ours: the library's would index again at every update, and what
    is searched never changes. Not transactional, because `enable_fts` commits; so it may find itself half done."""
    requests = db.table("requests")
    if not db["requests_fts"].exists():
        requests.enable_fts(SEARCHED)
    with db.atomic():
        for statement in _statements("schema_2.sql"):
            db.execute(statement)


@MIGRATIONS(name="3 pinned branches")
def _pinned(db: Database) -> None:
    for statement in _statements("schema_3.sql"):
        db.execute(statement)


@MIGRATIONS(name="4 remote repositories")
def _remote(db: Database) -> None:
    for statement in _statements("schema_4.sql"):
        db.execute(statement)


@MIGRATIONS(name="5 pull requests")
def _pull_requests(db: Database) -> None:
    for statement in _statements("schema_5.sql"):
        db.execute(statement)


@MIGRATIONS(name="6 secrets")
def _secrets(db: Database) -> None:
    for statement in _statements("schema_6.sql"):
        db.execute(statement)


@MIGRATIONS(name="7 sequences of events")
def _sequences(db: Database) -> None:
    for statement in _statements("schema_7.sql"):
        db.execute(statement)


@MIGRATIONS(name="8 retention")
def _retention(db: Database) -> None:
    for statement in _statements("schema_8.sql"):
        db.execute(statement)


@MIGRATIONS(name="9 dialects")
def _dialects(db: Database) -> None:
    for statement in _statements("schema_9.sql"):
        db.execute(statement)


@MIGRATIONS(name="10 shared resources")
def _resources(db: Database) -> None:
    for statement in _statements("schema_10.sql"):
        db.execute(statement)


@MIGRATIONS(name="11 forked jobs")
def _forked(db: Database) -> None:
    for statement in _statements("schema_11.sql"):
        db.execute(statement)


@MIGRATIONS(name="12 audits")
def _audits(db: Database) -> None:
    for statement in _statements("schema_12.sql"):
        db.execute(statement)


@MIGRATIONS(name="13 parts of executions")
def _parts(db: Database) -> None:
    for statement in _statements("schema_13.sql"):
        db.execute(statement)


@MIGRATIONS(name="14 reports")
def _reports(db: Database) -> None:
    for statement in _statements("schema_14.sql"):
        db.execute(statement)


@MIGRATIONS(name="15 lists of items")
def _lists(db: Database) -> None:
    for statement in _statements("schema_15.sql"):
        db.execute(statement)


@MIGRATIONS(name="16 plugins")
def _plugins(db: Database) -> None:
    for statement in _statements("schema_16.sql"):
        db.execute(statement)


@MIGRATIONS(name="17 error codes")
def _error_codes(db: Database) -> None:
    for statement in _statements("schema_17.sql"):
        db.execute(statement)


@MIGRATIONS(name="18 calls")
def _calls(db: Database) -> None:
    for statement in _statements("schema_18.sql"):
        db.execute(statement)


VERSION: Final = 18


def migrate(connection: sqlite3.Connection, folder: Path) -> None:
    """Bring the database to this program's schema. Raises SetupError for one that is newer."""
    refuse_newer(connection, folder)
    if version_of(connection) < VERSION:
        MIGRATIONS.apply(Database(connection))
        connection.execute(f"PRAGMA user_version = {VERSION}")


def refuse_newer(connection: sqlite3.Connection, folder: Path) -> None:
    """Raises SetupError for a database that a newer program has made."""
    found = version_of(connection)
    if found > VERSION:
        raise SetupError(
            f"The data in {folder} has schema version {found}, and this Formicary knows versions up to {VERSION}; "
            f"install the newer Formicary that wrote it, or name another folder with --data."
        )


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of a database; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(name: str) -> Iterator[str]:
    """The statements of a schema file; those of a trigger stay together."""
    statement = ""
    for line in (files(__package__) / name).read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
