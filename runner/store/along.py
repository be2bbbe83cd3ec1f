"""What goes along with every change of one call, whoever makes it: written in the same transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Along:
    """`write` gets the change's transaction; `written`: some change is on disk, and this with it."""

    write: Callable[[Any], None]
    open: bool = True
    written: bool = False

    def with_change(self, change: Callable[[Any], T]) -> Callable[[Any], T]:
        def both(tx: Any) -> T:
            result = change(tx)
            self.write(tx)
            return result

        return both


_NOW: ContextVar[Along | None] = ContextVar("along", default=None)


@contextmanager
def along(write: Callable[[Any], None]) -> Iterator[Along]:
    """Within it, and for it alone: tasks that begin here and live on take nothing along any more once it is left."""
    one = Along(write)
    token = _NOW.set(one)
    try:
        yield one
    finally:
        one.open = False
        _NOW.reset(token)


def current() -> Along | None:
    found = _NOW.get()
    return found if found is not None and found.open else None
