"""Retention: what is older than it is kept goes, a few at a time, with its logs, pages, and the bytes nobody names.

Before that, logs may move into the archive. What the object store cannot do now is tried again an hour later.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from formicary.runner.artifacts import ObjectStore
from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.definition import Retention as Said
from formicary.runner.core.errors import SetupError, WorldError
from formicary.runner.core.states import State
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.queen")

DAY: Final = 86400.0
BATCH: Final = 50
FRESH: Final = DAY
"""Bytes that were put so lately (s) are not deleted: a run beside us may be about to use them."""

Gone = Callable[[Sequence[int]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended requests (with logs and artifacts), deliveries and caches are kept, and logs not yet archived, in
    days."""

    requests_days: float = 90.0
    deliveries_days: float = 30.0
    caches_days: float = 30.0
    archive_days: float | None = None


def kept_for(said: Said, state: State) -> float | None:
    """How long, in seconds, a definition keeps a request that ended so; None: as long as the server does."""
    return {State.FAILED: said.failed, State.CANCELLED: said.cancelled}.get(state, said.completed)


def keep(tx: Tx, request_id: int, job: JobDefinition | None, state: State) -> None:
    """Within the change that ends a request: say until when its definition wants it kept."""
    seconds = kept_for(job.retention, state) if job else None
    if seconds is not None:
        tx.keep_until(request_id, tx.now + seconds)


@dataclass(slots=True)
class Keeping:
    """`gone` are told the ids of the requests that were deleted."""

    store: Store
    logs: Logs
    objects: ObjectStore
    retention: Retention
    clock: Callable[[], float]
    gone: list[Gone] = field(default_factory=list)

    async def run(self, every: float = 3600.0) -> None:
        """Tidy up now and every hour until the scope is left; a failure is logged and tried again."""
        while True:
            try:
                await self.tidy()
            except Exception:
                log.exception("what is old could not be deleted")
            await anyio.sleep(every)

    async def tidy(self) -> None:
        """Delete everything that is too old now."""
        while await self._expire():
            pass
        await self._expire_artifacts()
        try:
            await self._tidy_objects()
        except (WorldError, SetupError) as error:
            log.warning("what is old stays in the object store for now: %s", error)
        # Nothing that was deleted, a secret for one, stays in the write-ahead log for longer than until now.
        await self.store.optimize()

    async def _tidy_objects(self) -> None:
        await anyio.to_thread.run_sync(self._expire_caches)
        while await self._delete_loose():
            pass
        await anyio.to_thread.run_sync(self._archive_logs)

    def _archive_logs(self) -> None:
        shelf, days = self.logs.shelf, self.retention.archive_days
        if shelf is None:
            return
        shelf.delete_unwanted()
        if days is None:
            return
        before = self.clock() - days * DAY
        for path in self.logs.written_before(before):
            if self._ended_before(path, before):
                shelf.put(path)

    def _ended_before(self, path: Path, before: float) -> bool:
        """Whether its request has ended, and so long ago; what runs again keeps its logs here."""
        reader = self.store.read()
        execution = reader.execution(int(path.stem.partition("-")[0]))
        request = reader.request(execution.request_id) if execution else None
        return request is not None and request.ended_at is not None and request.ended_at < before

    async def _expire(self) -> bool:
        now = self.clock()
        expired = await self.store.write(
            lambda tx: tx.expire(
                ended_before=now - self.retention.requests_days * DAY,
                deliveries_before=now - self.retention.deliveries_days * DAY,
                limit=BATCH,
            )
        )
        for task_execution_id in expired.task_executions:
            await anyio.to_thread.run_sync(self.logs.delete, task_execution_id)
        if expired.requests:
            for tell in self.gone:
                await tell(expired.requests)
        return bool(expired.requests or expired.deliveries)

    async def _expire_artifacts(self) -> None:
        """Artifacts with an `expires_after` of their own."""
        now = self.clock()
        while old := self.store.read().artifacts_expired(now, BATCH):
            await self.store.write(partial(_delete_artifacts, ids=[artifact.id for artifact in old]))

    async def _delete_loose(self) -> bool:
        loose = self.store.read().loose_digests(BATCH)
        for digest in loose:
            await anyio.to_thread.run_sync(self._delete_bytes, digest)
        if loose:
            await self.store.write(lambda tx: tx.forget_digests(loose))
        return bool(loose)

    def _delete_bytes(self, digest: str) -> None:
        self.objects.delete(digest, put_before=self.clock() - FRESH)

    def _expire_caches(self) -> None:
        """Caches that nothing has written for so long. Their bytes may be an artifact's too: those stay."""
        oldest = self.clock() - self.retention.caches_days * DAY
        reader = self.store.read()
        for named in list(self.objects.names.list("cache/")):
            if named.at < oldest:
                self.objects.names.unlink(named.name)
                if not reader.usage_of(named.digest.sha256):
                    self._delete_bytes(named.digest.sha256)


def _delete_artifacts(tx: Tx, ids: Sequence[int]) -> None:
    tx.delete_artifacts(ids)
