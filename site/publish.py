"""How the outbox tells the static site that a request has ended. The writing is the writer's, on a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from formicary.runner.core.states import TERMINAL
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.told import Moment, Owed
from formicary.site.source import public
from formicary.site.writer import Readable, SiteWriter


class SitePublisher:
    """The `Publisher` of kind `site`. Doing it twice is harmless; one at a time. `then` is called when
    pages may have changed, and `busy` held while they do."""

    kind = "site"

    def __init__(
        self, store: Readable, folder: Path, logs: Logs, then: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.writer = SiteWriter(store, folder, logs)
        self.busy = anyio.Lock()
        self._then = then

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        """Write the pages that `payload["request_id"]` touches."""
        async with self.busy:
            await anyio.to_thread.run_sync(self.writer.publish, int(payload["request_id"]))
        await self._tell()

    async def publish_all(self) -> None:
        """Make the whole site agree with the store; for the start, when visibility may have changed."""
        async with self.busy:
            await anyio.to_thread.run_sync(self.writer.publish_all)
        await self._tell()

    async def prune(self, request_ids: Iterable[int]) -> None:
        """Remove the pages of requests that retention has deleted."""
        async with self.busy:
            await anyio.to_thread.run_sync(self.writer.prune, tuple(request_ids))
        await self._tell()

    async def _tell(self) -> None:
        if self._then is not None:
            await self._then()


def site_effect(moment: Moment) -> Iterator[Owed]:
    """What is owed to the site when a request has ended: nothing, unless its repository is public."""
    request = moment.request
    if moment.state not in TERMINAL or request.repository_id is None:
        return
    if public(moment.tx.repository(request.repository_id)):
        yield Owed(SitePublisher.kind, f"request:{request.id}", {"request_id": request.id})
