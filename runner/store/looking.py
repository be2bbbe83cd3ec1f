"""How a reader looks: one statement by its name, its rows as records, no cursor left open. And what every part of the
reader stands on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from formicary.runner.core.records import Page, Record
from formicary.runner.store import lists
from formicary.runner.store.cache import Memory
from formicary.runner.store.rows import Shape, build
from formicary.runner.store.sql import SQL

R = TypeVar("R", bound=Record)


class Looking:
    """Of one connection."""

    def __init__(self, connection: sqlite3.Connection, memory: Memory) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._memory = memory

    def _row(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """The first row, or None."""
        found = self._execute(SQL[name], parameters).fetchall()
        return found[0] if found else None

    def _one(self, shape: Shape[R], name: str, parameters: Mapping[str, Any]) -> R | None:
        row = self._row(name, parameters)
        return None if row is None else shape.decode(row)

    def _many(self, shape: Shape[R], name: str, parameters: Mapping[str, Any]) -> list[R]:
        return [shape.decode(row) for row in self._execute(SQL[name], parameters).fetchall()]

    def _newest(
        self, shape: Shape[R], table: str, page: int, page_size: int, keys: Mapping[str, str | int | None]
    ) -> Page[R]:
        """A page of the rows that have these values (None: any), newest first."""
        return self._listed(shape, table, "id DESC", page, page_size, keys)

    def _listed(
        self, shape: Shape[R], table: str, order: str, page: int, page_size: int, keys: Mapping[str, str | int | None]
    ) -> Page[R]:
        wanted = {name: value for name, value in keys.items() if value is not None}
        where = lists.where_equal(wanted)
        window = lists.window(page, page_size)
        text = f"SELECT {shape.columns} FROM {table}{where} ORDER BY {order} LIMIT :limit OFFSET :offset"
        found = tuple(shape.decode(row) for row in self._execute(text, {**wanted, **window}).fetchall())
        (total,) = self._execute(f"SELECT count(*) FROM {table}{where}", wanted).fetchone()
        return page_of(found, total, page, window["limit"])


def page_of(found: tuple[R, ...], total: int, page: int, size: int) -> Page[R]:
    return build(Page[R], {"records": found, "total_records": total, "page": max(page, 0), "page_size": size})
