"""Retention: what is older than it is kept goes, a few at a time, with its logs and the blobs nobody refers to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread

from formicary.runner.artifacts import ObjectStore
from formicary.runner.core.errors import FormicaryError
from formicary.runner.queen.logs import Logs
from formicary.runner.store import Store

log = logging.getLogger("formicary.queen")

DAY: Final = 86400.0
BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended requests (with logs and artifacts) and deliveries are kept, in days."""

    requests_days: float = 90.0
    deliveries_days: float = 30.0


async def keep_house(
    store: Store,
    logs: Logs,
    objects: ObjectStore,
    retention: Retention,
    clock: Callable[[], float],
    every: float = 3600.0,
) -> None:
    """Tidy up now and every hour until the scope is left; a failure is logged and tried again."""
    while True:
        try:
            while await tidy(store, logs, objects, retention, clock()):
                pass
        except FormicaryError:
            log.exception("old requests could not be deleted")
        await anyio.sleep(every)


async def tidy(store: Store, logs: Logs, objects: ObjectStore, retention: Retention, now: float) -> bool:
    """Delete one batch; True where there may be more."""
    expired = await store.write(
        lambda tx: tx.expire(
            ended_before=now - retention.requests_days * DAY,
            deliveries_before=now - retention.deliveries_days * DAY,
            limit=BATCH,
        )
    )
    for task_execution_id in expired:
        await anyio.to_thread.run_sync(logs.delete, task_execution_id)
    return bool(expired)
