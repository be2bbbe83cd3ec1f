"""Keeps looking at the repositories: woken by hooks, and by itself after the poll interval with jitter (D5, D15).

One worker a repository, so its looks follow one another; looks of different repositories run side by side, a few at a
time. What a look finds is one change in the store: refs, requests, definitions and verdicts together.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from formicary.reconciler import explain, pulls
from formicary.reconciler.agree import agree
from formicary.reconciler.explain import Explained
from formicary.reconciler.look import look
from formicary.reconciler.pulls import PullLook
from formicary.reconciler.readback import OpenPulls, ReadBack, there
from formicary.runner.core.errors import NotFound, SetupError, WorldError
from formicary.runner.core.records import Definition, Delivery, JobRequest, Repository
from formicary.runner.core.refs import short
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.git.mirror import Mirrors, Refreshed
from formicary.runner.queen.arriving.requests import full_ref
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.changes import Change, Changes
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.queen.told import Told
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.reconciler")

IN_FLIGHT: Final = 4
JITTER: Final = 0.2
LONGEST_BACKOFF: Final = 300.0
LIVE: Final = tuple(state for state in State if state not in TERMINAL)
MOST_LIVE: Final = 1000


@dataclass(slots=True)
class Watched:
    """One repository's worker: what wakes it, and what it saw last. `asked`: the next look reads everything, even if no
    ref has moved; `looked` is set when a look that has yet to begin is over; `poll` as the operator set it for this
    one; `looked_at`: when (s since the epoch) the last look ended."""

    repository_id: int
    wake: anyio.Event = field(default_factory=anyio.Event)
    asked: bool = False
    fingerprint: str = ""
    failures: int = 0
    poll: float | None = None
    looked_at: float | None = None
    looked: anyio.Event = field(default_factory=anyio.Event)
    accepted: list[Delivery] = field(default_factory=list)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Reconciler:
    """`created` is told of new requests, `registered` of definitions that have changed, both after the commit.
    `carry_out` makes the requests of calls of a repository's triggers that are in the ledger; `bundle_id`: what names
    of public plugins begin with."""

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
        mirrors: Mirrors | None = None,
        open_pulls: OpenPulls | None = None,
        carry_out: Callable[[int], Awaitable[None]] | None = None,
        bundle_id: str = "",
    ) -> None:
        self._store = store
        self._sources = sources
        self._changes = changes
        self._created = created
        self._registered = registered
        self._poll = poll
        self._mirrors = mirrors
        self._carry_out = carry_out
        self.bundle_id = bundle_id
        self._read_back = ReadBack(store, open_pulls) if open_pulls else None
        self._told = told or Told()
        self._watched: dict[int, Watched] = {}
        self._limiter = anyio.CapacityLimiter(IN_FLIGHT)
        self._group: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch every repository of the store until the scope is left."""
        async with anyio.create_task_group() as group:
            self._group = group
            for repository in self._store.read().repositories():
                await self._bring_home(repository)
                self._watch(repository.id)
            task_status.started()
            await anyio.sleep_forever()

    # What others may ask

    async def add(self, repository: Repository, also: Also = nothing_else) -> Repository:
        """Watch it (id 0), or take over its new settings. Raises SetupError where there is no repository; whether a
        remote one (`url`) can be read, its first look says."""
        if repository.url:
            repository = await self._with_mirror(repository)
        else:
            await anyio.to_thread.run_sync(self._sources.git, repository.path)

        def change(tx: Tx) -> Repository:
            also(tx)
            return tx.put_repository(_to_read_again(tx, repository))

        stored = await self._store.write(change)
        self._watch(stored.id)
        self._changes.publish(Change("repository", stored.organization_id, stored.id))
        return stored

    async def remove(self, repository_id: int, also: Also = nothing_else) -> None:
        """Watch it no longer and forget it; its requests stay until retention."""
        watched = self._watched.pop(repository_id, None)
        if watched:
            watched.scope.cancel()
        repository = self._store.read().repository(repository_id)

        def change(tx: Tx) -> None:
            also(tx)
            tx.delete_repository(repository_id)

        await self._store.write(change)
        if repository is not None and repository.url:
            await anyio.to_thread.run_sync(self._sources.forget, repository.path)
            await self._mirrors_of(repository).forget(repository)
        if repository is not None:
            self._changes.publish(Change("repository", repository.organization_id, repository_id))

    def wake(self, repository_id: int) -> None:
        """Look soon. As often as you like: wake-ups coalesce."""
        watched = self._watched.get(repository_id)
        if watched:
            watched.asked = True
            watched.wake.set()

    def looked_at(self, repository_id: int) -> float | None:
        """When (s since the epoch) the last look at it ended, well or not; None since the start."""
        watched = self._watched.get(repository_id)
        return watched.looked_at if watched else None

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

    async def explain(self, repository: Repository, ref: str, commit: str, before: str | None) -> list[Explained]:
        """What a move of a ref would run; without a ref of the tracked branch, without a commit where it is now. Raises
        NotFound, WorldError, SetupError."""
        return await anyio.to_thread.run_sync(_explain_push, self._sources, repository, ref, commit, before)

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
                    # Whoever asks from here on, while this look may have passed what they mean, gets another one.
                    watched.wake, watched.looked = anyio.Event(), anyio.Event()
                    again = await self._look_guarded(watched)
                    watched.looked_at = time.time()
                finally:
                    looked.set()
                if not again:
                    with anyio.move_on_after(self._delay(watched)):
                        await watched.wake.wait()

    def _delay(self, watched: Watched) -> float:
        poll = watched.poll or self._poll
        base = min(poll * 2.0 ** min(watched.failures, 10), max(LONGEST_BACKOFF, poll))
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
        asked, watched.asked, watched.poll = watched.asked, False, repository.poll
        if self._carry_out is not None:
            await self._carry_out(repository.id)  # what was called needs nothing of the forge
        if self._read_back is not None and self._group is not None and self._read_back.claim(repository):
            self._group.start_soon(self._read_pulls, repository, name=f"pull requests of repository {repository.id}")
        # Before git is read: what is delivered after that is for the next look.
        watched.accepted = self._store.read().accepted_deliveries(repository.id)
        if repository.url:
            return await self._look_far(watched, repository, asked)
        async with self._limiter:
            here = await anyio.to_thread.run_sync(lambda: self._sources.git(repository.path).fingerprint())
            return await self._read(watched, repository, Refreshed(here), asked)

    async def _read_pulls(self, repository: Repository) -> None:
        if self._read_back is not None and await self._read_back.look(repository):
            self.wake(repository.id)

    async def _look_far(self, watched: Watched, repository: Repository, asked: bool) -> bool:
        """What a remote keeps us waiting for keeps no other repository waiting: the mirrors have limits of their own.
        A mirror that cannot be read is made anew, once."""
        mirrors = self._mirrors_of(repository)
        there = await self._refresh(mirrors, repository)
        if there.fingerprint == watched.fingerprint and not asked:
            await self._tidy(mirrors, repository)
            return False
        try:
            async with self._limiter:
                return await self._read(watched, repository, there, asked)
        except (WorldError, NotFound):
            if not await mirrors.renew(repository):
                raise
        there = await self._refresh(mirrors, repository)
        async with self._limiter:
            return await self._read(watched, repository, there, asked)

    async def _refresh(self, mirrors: Mirrors, repository: Repository) -> Refreshed:
        there = await mirrors.refresh(repository)
        if there.anew:
            await anyio.to_thread.run_sync(self._sources.forget, repository.path)
        return there

    async def _tidy(self, mirrors: Mirrors, repository: Repository) -> None:
        """In quiet times. What still runs or waits, and what schedules run, stays however branches moved."""
        reader = self._store.read()
        live = reader.requests(repository_id=repository.id, states=LIVE, page_size=MOST_LIVE).records
        commits = {one.commit for one in live} | {one.commit for one in reader.definitions(repository_id=repository.id)}
        await mirrors.tidy(repository, commits - {""})

    def _mirrors_of(self, repository: Repository) -> Mirrors:
        if self._mirrors is None:
            raise SetupError(
                f"{repository.name} is a remote repository ({repository.url}); only a server watches those."
            )
        return self._mirrors

    async def _bring_home(self, repository: Repository) -> None:
        """A restored database may name the mirror of another data folder, which another server may use."""
        if not repository.url or self._mirrors is None:
            return
        path = self._mirrors.at_home(repository.path)
        if path != repository.path:
            await self._store.write(lambda tx: tx.put_repository(repository.model_copy(update={"path": path})))

    async def _with_mirror(self, repository: Repository) -> Repository:
        """With the folder of its mirror: its own, however its address changes."""
        mirrors = self._mirrors_of(repository)
        if not repository.path:
            taken = {one.path for one in self._store.read().repositories()}
            repository = repository.model_copy(update={"path": mirrors.path_for(repository.url, taken)})
        await mirrors.prepare(repository)
        return repository

    async def _read(self, watched: Watched, repository: Repository, there: Refreshed, asked: bool) -> bool:
        """What is here now, made so in the store. True: there is more."""
        if there.fingerprint == watched.fingerprint and not asked:
            return False
        reader = self._store.read()
        seen = reader.refs(repository.id)
        found = await anyio.to_thread.run_sync(look, self._sources, repository, seen)
        found.troubles.extend(there.troubles)
        told_of = await self._pulls(repository, watched.accepted)
        heard = watched.accepted[-1].id if watched.accepted else 0
        made, definitions = await self._store.write(
            lambda tx: agree(tx, repository, found, told_of, heard=heard, told=self._told, bundle_id=self.bundle_id)
        )
        watched.fingerprint = "" if found.more or found.troubles else there.fingerprint
        if made:
            await self._created(made)
        if definitions:
            self._registered(definitions)
        if made or definitions or found.moves or repository.state == "unavailable":
            self._changes.publish(Change("repository", repository.organization_id, repository.id))
        return found.more

    async def _pulls(self, repository: Repository, accepted: list[Delivery]) -> list[PullLook]:
        """What the deliveries say of pull requests."""
        numbers = {one.fact["pull_request"]["number"] for one in accepted if one.fact.get("pull_request")}
        if not numbers:
            return []
        for ref in await anyio.to_thread.run_sync(pulls.missing_heads, self._sources, repository, accepted):
            await self._fetch_head(repository, ref)
        reader = self._store.read()
        known = {number: pull for number in numbers if (pull := reader.pull_request(repository.id, number))}
        seen = reader.refs(repository.id)
        return await anyio.to_thread.run_sync(pulls.looks, self._sources, repository, accepted, known, seen)

    async def _fetch_head(self, repository: Repository, ref: str) -> None:
        """The branch may be gone by now (merged, renamed); forges keep the head. One that is gone too makes nothing."""
        if self._mirrors is None or not repository.url:
            return
        try:
            await self._mirrors.fetch_ref(repository, there(repository, ref))
        except WorldError as error:
            log.info("%s of %s cannot be fetched: %s", ref, repository.name, error)

    async def _unavailable(self, watched: Watched, repository: Repository, error: str) -> None:
        watched.failures += 1
        watched.fingerprint = ""
        await anyio.to_thread.run_sync(self._sources.forget, repository.path)
        if repository.state == "unavailable" and repository.error == error:
            return
        log.warning("%s cannot be read: %s", repository.name, error)
        await self._store.write(lambda tx: _say(tx, repository.id, error))
        self._changes.publish(Change("repository", repository.organization_id, repository.id))


def _say(tx: Tx, repository_id: int, error: str) -> None:
    """Its settings may have changed while it was looked at; those stay."""
    now = tx.repository(repository_id)
    if now is not None:
        tx.put_repository(now.model_copy(update={"state": "unavailable", "error": error}))


def _explain_push(
    sources: Sources, repository: Repository, ref: str, commit: str, before: str | None
) -> list[Explained]:
    refs = sources.git(repository.path).refs()
    full = full_ref(ref or repository.tracked_branch, refs)
    at = commit or refs.get(full, "")
    if not at:
        raise NotFound(f"{repository.name} has no `{short(full)}`, so there is no commit to look at")
    return explain.push(sources, repository, full, at, before)


def _to_read_again(tx: Tx, repository: Repository) -> Repository:
    """In another dialect the same commit has other definitions: the next look reads them, wherever the head is."""
    known = tx.repository(repository.id) if repository.id else None
    if known is None or known.dialect == repository.dialect:
        return repository
    return repository.model_copy(update={"synced_commit": ""})
