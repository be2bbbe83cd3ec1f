"""The site's folder, somewhere else as well: a bucket, a branch. Only what changed is sent.

The folder is still while it is mirrored, and a page goes there after all that it links to, so that no reader meets a
link to a missing page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import anyio.from_thread
import anyio.to_thread

from formicary.runner.store import Store, Tx

KIND: Final = "site_mirror"
GATHER: Final = 3.0
"""Changes that come within so many seconds are sent together."""
#: The site's own names at its root, in the order in which they are sent: what others link to comes first.
ORDER: Final = ("static", "badges", "logs", "requests", "repos", "index.html")
OWNED: Final = frozenset(ORDER)

Check = Callable[[], None]
"""Ends the sending by raising, if nobody waits for it any more."""


class Target(Protocol):
    """Where the site is seen."""

    def send(self, files: Mapping[str, Path], check: Check) -> None:
        """Make it hold these files (path → file), in this order, and no others of the site. Blocking. Raises
        WorldError, SetupError; a later call goes on."""
        ...


class SiteMirror:
    """The `Publisher` of kind `site_mirror`; its entries say nothing but that something has changed. `busy` is the lock
    of whoever writes into the folder."""

    kind = KIND

    def __init__(self, folder: Path, target: Target, busy: anyio.Lock) -> None:
        self._folder, self._target, self._busy = folder, target, busy
        self._ended = float("-inf")

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        """Bring the target to what the folder is; not sooner than GATHER after the last time."""
        await anyio.sleep_until(self._ended + GATHER)
        async with self._busy:
            await anyio.to_thread.run_sync(self._send)
        self._ended = anyio.current_time()

    def _send(self) -> None:
        self._target.send(files_of(self._folder), anyio.from_thread.check_cancelled)


def owed_soon(store: Store, clock: Callable[[], float]) -> Callable[[], Awaitable[None]]:
    """Owe the mirror a look in some seconds; where one is owed already, it stays at its time."""

    async def owe() -> None:
        await store.write(partial(_owe, due_at=clock() + GATHER))

    return owe


def _owe(tx: Tx, due_at: float) -> None:
    tx.owe(KIND, "site", {}, due_at=due_at)


def files_of(folder: Path) -> dict[str, Path]:
    """path below the folder → file, in the order to send; without those that are just being written."""
    found = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if not path.name.startswith(".") and path.is_file()
    }
    return {path: found[path] for path in in_order(found)}


def in_order(paths: Iterable[str]) -> list[str]:
    """Of the site's own, what is linked to before what links."""
    rank = {name: number for number, name in enumerate(ORDER)}
    own = [path for path in paths if path.partition("/")[0] in OWNED]
    # a log's page is made of what lies beside it, a repository's page links to its jobs': the deeper comes first
    return sorted(own, key=lambda path: (rank[path.partition("/")[0]], -path.count("/"), path.endswith(".html"), path))
