"""Calls that may be asked twice, in SQLite."""

from __future__ import annotations

from formicary.runner.store.looking import Looking
from formicary.runner.store.sql import SQL


class SqliteCallsReader(Looking):
    """The `CallsReader` of one connection."""

    def call_done(self, name: str, since: float) -> str | None:
        row = self._row("call_done", {"name": name, "since": since})
        return None if row is None else str(row[0])


class SqliteCallsTx(SqliteCallsReader):
    """The `CallsTx` of one connection."""

    now: float

    def note_call(self, name: str, asked: str, keep: float) -> None:
        self._execute(SQL["expire_calls"], {"before": self.now - keep})
        self._execute(SQL["note_call"], {"name": name, "asked": asked, "now": self.now})

    def forget_call(self, name: str) -> None:
        self._execute(SQL["forget_call"], {"name": name})
