"""Keeps looking at the repositories: woken by hooks, and by itself after the poll interval with jitter (D5, D15).

One worker a repository, so its looks follow one another; looks of different repositories run side by side, a few at a
time. What a look finds is one change in the store: refs, requests, definitions and verdicts together.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from formicary.reconciler.diff import sync_changes
from formicary.reconciler.look import Look, look
from formicary.runner.core.errors import NotFound, SetupError, WorldError
from formicary.runner.core.records import Definition, JobRequest, Repository
from formicary.runner.queen.changes import Change, Changes
from formicary.runner.queen.requests import store_request, version_of
from formicary.runner.queen.sources import Sources
from formicary.runner.queen.told import Told
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.reconciler")

IN_FLIGHT: Final = 4
JITTER: Final = 0.2
LONGEST_BACKOFF: Final = 300.0


@dataclass(slots=True)
class Watched:
    """One repository's worker: what wakes it, and what it saw last. `asked`: the next look reads everything, even if no
    ref has moved; `looked` is set when a look that has yet to begin is over."""

    repository_id: int
    wake: anyio.Event = field(default_factory=anyio.Event)
    asked: bool = False
    fingerprint: str = ""
    failures: int = 0
    looked: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Reconciler:
    """`created` is told of new requests, `registered` of definitions that have changed, both after the commit."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        changes: Changes,
        *,
        created: Callable[[Iterable[JobRequest]], Awaitable[None]],
        registered: Callable[[Iterable[Definition]], None],
        poll: float = 10.0,
        told: Told | None = None,
    ) -> None:
        self._store = store
        self._sources = sources
        self._changes = changes
        self._created = created
        self._registered = registered
        self._poll = poll
        self._told = told or Told()
        self._watched: dict[int, Watched] = {}
        self._limiter = anyio.CapacityLimiter(IN_FLIGHT)
        self._group: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch every repository of the store until the scope is left."""
        async with anyio.create_task_group() as group:
            self._group = group
            for repository in self._store.read().repositories():
                self._watch(repository.id)
            task_status.started()
            await anyio.sleep_forever()

    # What others may ask

    async def add(self, repository: Repository) -> Repository:
        """Watch it (id 0), or take over its new settings. Raises SetupError where there is no repository."""
        await anyio.to_thread.run_sync(self._sources.git, repository.path)
        stored = await self._store.write(lambda tx: tx.put_repository(repository))
        self._watch(stored.id)
        self._changes.publish(Change("repository", stored.organization_id, stored.id))
        return stored

    async def remove(self, repository_id: int) -> None:
        """Watch it no longer and forget it; its requests stay until retention."""
        watched = self._watched.pop(repository_id, None)
        if watched:
            watched.scope.cancel()
        await self._store.write(lambda tx: tx.delete_repository(repository_id))

    def wake(self, repository_id: int) -> None:
        """Look soon. As often as you like: wake-ups coalesce."""
        watched = self._watched.get(repository_id)
        if watched:
            watched.asked = True
            watched.wake.set()

    async def sync(self, repository_id: int) -> Repository:
        """Look now, and return the repository as it is after that look. Raises NotFound."""
        watched = self._watched.get(repository_id)
        if watched is None:
            raise NotFound(f"no repository with id {repository_id} is watched")
        looked = watched.looked
        self.wake(repository_id)
        await looked.wait()
        repository = self._store.read().repository(repository_id)
        if repository is None:
            raise NotFound(f"no repository with id {repository_id} is watched")
        return repository

    # The worker of a repository

    def _watch(self, repository_id: int) -> None:
        if repository_id in self._watched or self._group is None:
            return
        watched = self._watched[repository_id] = Watched(repository_id)
        self._group.start_soon(self._work, watched, name=f"repository {repository_id}")

    async def _work(self, watched: Watched) -> None:
        with watched.scope:
            while True:
                looked = watched.looked
                try:
                    async with self._limiter:
                        # Whoever asks from here on, while this look may have passed what they mean, gets another one.
                        watched.wake, watched.looked = anyio.Event(), anyio.Event()
                        again = await self._look_guarded(watched)
                finally:
                    looked.set()
                if not again:
                    with anyio.move_on_after(self._delay(watched)):
                        await watched.wake.wait()

    def _delay(self, watched: Watched) -> float:
        base = min(self._poll * 2.0 ** min(watched.failures, 10), max(LONGEST_BACKOFF, self._poll))
        return base * (1 + random.uniform(-JITTER, JITTER))

    async def _look_guarded(self, watched: Watched) -> bool:
        """One look; its failure is the repository's state, never the end of the worker (D8). True: look again."""
        try:
            repository = self._store.read().repository(watched.repository_id)
            return repository is not None and await self._look_or_say_why(watched, repository)
        except Exception:  # not even its state could be written
            log.exception("looking at repository %d failed", watched.repository_id)
            watched.failures += 1
            watched.fingerprint = ""
        return False

    async def _look_or_say_why(self, watched: Watched, repository: Repository) -> bool:
        try:
            again = await self._look(watched, repository)
            watched.failures = 0
            return again
        except (WorldError, SetupError, NotFound) as error:
            await self._unavailable(watched, repository, str(error))
        except Exception as error:
            log.exception("looking at %s failed", repository.name)
            await self._unavailable(watched, repository, f"Formicary failed here: {type(error).__name__}: {error}")
        return False

    async def _look(self, watched: Watched, repository: Repository) -> bool:
        asked, watched.asked = watched.asked, False
        fingerprint = await anyio.to_thread.run_sync(lambda: self._sources.git(repository.path).fingerprint())
        if fingerprint == watched.fingerprint and not asked:
            return False
        reader = self._store.read()
        seen = reader.refs(repository.id)
        found = await anyio.to_thread.run_sync(look, self._sources, repository, seen)
        made, definitions = await self._store.write(lambda tx: _agree(tx, repository, found, self._told))
        watched.fingerprint = "" if found.more or found.troubles else fingerprint
        if made:
            await self._created(made)
        if definitions:
            self._registered(definitions)
        if made or definitions or found.moves or repository.state == "unavailable":
            self._changes.publish(Change("repository", repository.organization_id, repository.id))
        return found.more

    async def _unavailable(self, watched: Watched, repository: Repository, error: str) -> None:
        watched.failures += 1
        watched.fingerprint = ""
        await anyio.to_thread.run_sync(self._sources.forget, repository.path)
        if repository.state == "unavailable" and repository.error == error:
            return
        log.warning("%s cannot be read: %s", repository.name, error)
        state = repository.model_copy(update={"state": "unavailable", "error": error})
        await self._store.write(lambda tx: tx.put_repository(state))
        self._changes.publish(Change("repository", repository.organization_id, repository.id))


def _agree(tx: Tx, repository: Repository, found: Look, told: Told) -> tuple[list[JobRequest], list[Definition]]:
    """Within one change: make the store say what the look found."""
    tx.put_refs([move.seen(repository.id) for move in found.moves])
    made: list[JobRequest] = []
    for ask in found.asks:
        request, new = store_request(tx, ask.loaded, ask.new.commit, ask.new)
        if new:
            made.append(request)
            told.created(tx, request, ask.loaded.definition)
    definitions = _register(tx, repository, found)
    synced = {} if found.definitions is None else {"synced_commit": found.head, "synced_at": tx.now}
    state = {"state": "ok" if found.head or found.moves or repository.synced_commit else "empty"}
    state["error"] = found.troubles[0] if found.troubles else ""
    now = tx.repository(repository.id)
    if now is not None:
        tx.put_repository(
            now.model_copy(update={"tracked_branch": found.tracked, "seen_at": tx.now, **synced, **state})
        )
    tx.settle_deliveries(repository.id, {request.ref: request.id for request in made})
    return made, definitions


def _register(tx: Tx, repository: Repository, found: Look) -> list[Definition]:
    """Registered definitions are those of the tracked branch's head."""
    if found.definitions is None:
        return []
    changes = sync_changes(tx.definitions(repository_id=repository.id), found.definitions, repository, found.head)
    registered: list[Definition] = []
    for change in changes:
        definition = change.definition.model_copy(update={"updated_at": tx.now})
        if change.gone:
            tx.delete_definition(definition.id)
            continue
        if change.loaded is not None:
            text = version_of(change.loaded, repository.organization_id, repository.id, found.head, tx.now)
            version = tx.put_version(text)
            definition = definition.model_copy(update={"version_id": version.id, "version": version.version})
        registered.append(tx.put_definition(definition))
    return registered
