"""Which store keeps artifacts and caches: a folder of the data folder, or a bucket. S3's client is loaded for that."""

from __future__ import annotations

import logging
import os
from typing import Final

import anyio
import anyio.to_thread

from formicary.cli.settings import Settings
from formicary.runner.artifacts import ObjectStore
from formicary.runner.artifacts.address import Keys, address_of, keys_of
from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.errors import SetupError, WorldError

log = logging.getLogger("formicary")

LOOK: Final = 5.0
"""Seconds that the start waits for the store's first answer."""
LOGS: Final = "logs/"
"""Where archived logs are in the bucket, below its prefix: with nobody else's bytes."""


def open_objects(settings: Settings) -> ObjectStore:
    """Nothing is asked of it yet. Raises SetupError."""
    folder = settings.data / "artifacts"
    if not settings.artifacts:
        return DirectoryStore(folder)
    return _in_bucket(settings, "")


def open_log_objects(settings: Settings) -> ObjectStore | None:
    """Where archived logs are, also those of a time when there was an `archive_logs`; None where there is no bucket.
    Raises SetupError."""
    if not settings.artifacts:
        if settings.archive_logs is not None:
            raise SetupError("`archive_logs` wants a bucket to put the logs into; set `artifacts` to s3://…")
        return None
    return _in_bucket(settings, LOGS)


def keys_for(settings: Settings) -> Keys:
    """The keys of every bucket. Raises SetupError."""
    secret = settings.s3_secret_key
    return keys_of(settings.s3_access_key, secret.get_secret_value() if secret else "", os.environ)


async def look(objects: ObjectStore) -> None:
    """Ask the store once at the start. Raises SetupError; a store that is away is waited for by whoever needs it."""
    try:
        with anyio.fail_after(LOOK):
            await anyio.to_thread.run_sync(objects.check, abandon_on_cancel=True)
    except (WorldError, OSError, TimeoutError) as error:
        reason = str(error) or f"It did not answer within {LOOK:g} seconds."
        log.warning("the artifact store is away: %s Tasks that keep artifacts wait for it.", reason)


def _in_bucket(settings: Settings, below: str) -> ObjectStore:
    from formicary.runner.artifacts.bucket import Bucket
    from formicary.runner.artifacts.s3 import S3Store

    bucket = Bucket(address_of(settings.artifacts), keys_for(settings))
    return S3Store(bucket, settings.data / "artifacts" / "incoming", below=below)
