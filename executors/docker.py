"""The middle of the DOCKER executor: one container a task, kept for its script and after_script, and gone with it.

A script is run by the holder (see `inside`), which hears us through the container's standard input; so whatever becomes
of this process, the container's work ends with it. What the engine cannot do is told apart by whose fault it is: a
wrong definition, memory that did not suffice, or an engine or image that is not there (D12).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from formicary.executors.contract import Prepared, Session
from formicary.executors.docker_api import Engine
from formicary.executors.docker_files import Sees
from formicary.executors.docker_images import Images
from formicary.executors.docker_reaping import Owner, reap
from formicary.executors.docker_session import CLEANING_SECONDS, DockerSession, Removal, removed
from formicary.executors.docker_settings import DEFAULTS, DockerSettings
from formicary.executors.process_group import Hands

METHODS: Final = frozenset({"DOCKER", "CONTAINER"})

_logger = logging.getLogger(__name__)


class DockerExecutor:
    """Runs tasks in containers of one engine."""

    methods: frozenset[str] = METHODS

    def __init__(self, hands: Hands, grace: float = 10.0, settings: DockerSettings = DEFAULTS) -> None:
        del hands
        self.engine = Engine(settings.place, settings.config, threads=8 + 2 * settings.hands)
        self._grace = grace
        self._settings = settings
        self._images = Images(self.engine)
        self._owner = Owner.of(settings.work)
        self._owed: list[Removal] = []
        self._sees = Sees(None if settings.workspace == "auto" else settings.workspace == "mount")

    @asynccontextmanager
    async def open(self, prepared: Prepared) -> AsyncIterator[Session]:
        """Containers are made when the first script runs: before that nobody knows what they need."""
        session = DockerSession(prepared, self.engine, self._images, self._owner, self._sees, self._grace, self._owed)
        try:
            yield session
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLEANING_SECONDS) as scope:
                await session.close()
                await self._pay()
            if scope.cancelled_caught:
                _logger.warning("containers of %s are left to the next start", prepared.task_execution_id)

    async def _pay(self) -> None:
        """Remove what could not be removed when its task ended: the engine may answer again."""
        owed, self._owed[:] = list(self._owed), []
        for removal in owed:
            if await removed(removal):
                self._owed.append(removal)

    async def reap(self) -> list[str]:
        """Remove what ants that are gone have left; the names of the containers. Raises EngineAway, EngineSays."""
        return await reap(self.engine, self._owner)

    async def aclose(self) -> None:
        self.engine.close()
