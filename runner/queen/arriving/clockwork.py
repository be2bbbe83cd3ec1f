"""Cron: when a registered definition is due, a request is made; what was missed while nothing ran follows its policy.

One request a due time, however often it is looked at: the due time is the request's cause.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import anyio.to_thread

from formicary.runner.core import cron
from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import UserError
from formicary.runner.core.load import load
from formicary.runner.core.records import Definition, JobRequest, NewRequest, Repository
from formicary.runner.queen.arriving.registered import registered_request, tracked_git
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.timers import Timers
from formicary.runner.queen.told import Told
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.queen")

MAX_MISSED: Final = 100
AGAIN: Final = 60.0
"""Seconds until a run that could not be made (the repository cannot be read now) is tried again."""


class Clockwork:
    def __init__(
        self,
        store: Store,
        sources: Sources,
        timers: Timers,
        clock: Callable[[], float],
        created: Callable[[Iterable[JobRequest]], Awaitable[None]],
        told: Told,
    ) -> None:
        self._store = store
        self._sources = sources
        self._timers = timers
        self._clock = clock
        self._created = created
        self._told = told
        self._armed: dict[int, tuple[str, float]] = {}

    def look(self, definitions: Iterable[Definition] | None = None) -> None:
        """Arm the timers of these definitions (default: all); call it when one has changed."""
        for definition in self._store.read().definitions() if definitions is None else definitions:
            try:
                self._look_at(definition)
            except Exception:  # one schedule that cannot be read stops no other (D8)
                log.exception("the schedule of `%s` cannot be followed", definition.job_type)

    def _look_at(self, definition: Definition) -> None:
        job = self._job(definition)
        if job is None or not job.cron_trigger:
            self._armed.pop(definition.id, None)
            return
        last, now = self._store.read().cron_last(definition.id), self._clock()
        # A `last` in the future is of a clock that was set back since.
        due = cron.next_after(job.cron_trigger, job.timezone, now if last is None else min(last, now))
        self._arm(definition.id, f"{job.cron_trigger} {job.timezone}", due)

    def _arm(self, definition_id: int, expression: str, due: float) -> None:
        if self._armed.get(definition_id) != (expression, due):
            self._armed[definition_id] = (expression, due)
            self._timers.at(due, lambda: self._fire(definition_id, expression, due), wall=True)

    async def _fire(self, definition_id: int, expression: str, due: float) -> None:
        if self._armed.get(definition_id) != (expression, due):
            return  # the definition has changed since
        try:
            await self._make(definition_id, due)
        except UserError as error:
            log.warning("the scheduled run of definition %d cannot be made: %s", definition_id, error)
            await self._store.write(lambda tx: tx.set_cron_last(definition_id, self._clock()))
        except Exception:
            log.exception("the scheduled run of definition %d could not be made; it is tried again", definition_id)
            self._timers.at(self._clock() + AGAIN, lambda: self._fire(definition_id, expression, due))
            return
        definition = self._store.read().definition(definition_id)
        self.look([definition] if definition else [])

    async def _make(self, definition_id: int, due: float) -> None:
        reader = self._store.read()
        definition = reader.definition(definition_id)
        job = self._job(definition) if definition else None
        repository = reader.repository(definition.repository_id) if definition and definition.repository_id else None
        if definition is None or job is None or repository is None:
            return
        now = self._clock()
        times = cron.due(job.cron_trigger, job.timezone, due - 1, now, job.cron_missed, MAX_MISSED)
        git = await anyio.to_thread.run_sync(tracked_git, self._sources, repository, definition, "schedule")
        new = [_request(definition, job, repository, git, at) for at in times]

        def change(tx: Tx) -> list[JobRequest]:
            tx.set_cron_last(definition.id, now)
            made = [request for one in new for request, fresh in [tx.create_request(one)] if fresh]
            for request in made:
                self._told.created(tx, request, job)
            return made

        await self._created(await self._store.write(change))

    def _job(self, definition: Definition) -> JobDefinition | None:
        if definition.disabled or definition.version_id is None or definition.state == "Orphaned":
            return None
        version = self._store.read().version(definition.version_id)
        if version is None or not ("cron_trigger" in version.text or "schedule" in version.text):
            return None
        loaded = load(version.text, path=version.path, dialect=version.dialect)
        return loaded[version.index].definition if version.index < len(loaded) else None


def _request(
    definition: Definition, job: JobDefinition, repository: Repository, git: dict[str, object], at: float
) -> NewRequest:
    cause = f"cron:{definition.id}:{at:.0f}"
    return registered_request(definition, job, repository, git, event="schedule", cause=cause, created_by="cron")
