"""`completed`: a job that ended successfully starts those that wait for it.

That it ended and that somebody may have to follow is one change on disk: an entry of the outbox, which this file
carries out as a publisher does. So a crash loses none, and however often it is carried out there is one request for
each follower and each request that it follows.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import anyio.to_thread

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.records import Definition, JobRequest, NewRequest, Repository, SyncState
from formicary.runner.core.states import State
from formicary.runner.queen.arriving.registered import registered_request, tracked_git
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.keeping.retention import keep
from formicary.runner.queen.told import Moment, Owed, Told
from formicary.runner.store import Reader, Store, Tx

log = logging.getLogger("formicary.queen")

EVENT: Final = "completed"
LONGEST_CHAIN: Final = 20
"""So many jobs may follow one after the other."""


class Followers:
    """`job_of` gives the definition of a stored version; `created` is told of the requests that were made."""

    kind = EVENT

    def __init__(
        self,
        store: Store,
        sources: Sources,
        job_of: Callable[[int], JobDefinition | None],
        created: Callable[[Iterable[JobRequest]], Awaitable[None]],
        told: Told,
    ) -> None:
        self._store = store
        self._sources = sources
        self._job_of = job_of
        self._created = created
        self._told = told
        self._followed: dict[int, tuple[str, ...]] = {}
        self._named: frozenset[str] = frozenset()

    def look(self, definitions: Iterable[Definition] | None = None) -> None:
        """Know whom these definitions (default: all) follow; call it when one has changed."""
        for definition in self._store.read().definitions() if definitions is None else definitions:
            job = self._job(definition)
            if job is not None and job.triggers.completed:
                self._followed[definition.id] = job.triggers.completed
            else:
                self._followed.pop(definition.id, None)
        self._named = frozenset(name for names in self._followed.values() for name in names)

    def effect(self, moment: Moment) -> Iterator[Owed]:
        """Within the change that ends a request."""
        request = moment.request
        if moment.state is State.COMPLETED and moment.moved and request.job_type in self._named and request.trusted:
            yield Owed(EVENT, str(request.id), {"request_id": request.id})

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        """Make the requests that follow this one."""
        reader = self._store.read()
        upstream = reader.request(int(key))
        if upstream is None or not _counts(reader, upstream):
            return
        follow = [(definition, self._job(definition)) for definition in self._following(reader, upstream)]
        new = [
            (one, job)
            for definition, job in follow
            if job is not None and (one := await self._follow(reader, definition, job, upstream)) is not None
        ]
        if new:
            await self._created(await self._store.write(lambda tx: self._store_all(tx, new)))

    def _following(self, reader: Reader, upstream: JobRequest) -> Iterator[Definition]:
        """The definitions whose `completed` means this request's job."""
        for definition in reader.definitions(organization_id=upstream.organization_id):
            if upstream.job_type in self._followed.get(definition.id, ()) and _means(reader, definition, upstream):
                yield definition

    def _store_all(self, tx: Tx, new: Iterable[tuple[NewRequest, JobDefinition]]) -> list[JobRequest]:
        made = []
        for one, job in new:
            request, fresh = tx.create_request(one)
            if not fresh:
                continue
            if request.state is State.SKIPPED:
                keep(tx, request.id, job, request.state)
            self._told.created(tx, request, job)
            made.append(request)
        return made

    async def _follow(
        self, reader: Reader, definition: Definition, job: JobDefinition, upstream: JobRequest
    ) -> NewRequest | None:
        repository = reader.repository(definition.repository_id) if definition.repository_id else None
        if repository is None:
            return None
        git = await anyio.to_thread.run_sync(tracked_git, self._sources, repository, definition, EVENT)
        given = {
            "UpstreamJobID": upstream.id,
            "UpstreamJobType": upstream.job_type,
            "UpstreamCommitID": upstream.commit,
        }
        try:
            new = self._request(definition, job, repository, {**given, **git}, upstream)
        except RequestRefused as error:
            log.warning("`%s` cannot follow request %d: %s", definition.job_type, upstream.id, error)
            return None
        circle = _circle(reader, definition, upstream)
        return new.model_copy(update={"state": State.SKIPPED, "reason": circle}) if circle else new

    def _request(
        self, definition: Definition, job: JobDefinition, repository: Repository, git: Any, upstream: JobRequest
    ) -> NewRequest:
        cause, by = f"{EVENT}:{definition.id}:{upstream.id}", f"request {upstream.id}"
        return registered_request(definition, job, repository, git, event=EVENT, cause=cause, created_by=by)

    def _job(self, definition: Definition) -> JobDefinition | None:
        if definition.disabled or definition.version_id is None or definition.state is SyncState.ORPHANED:
            return None
        return self._job_of(definition.version_id)


def _counts(reader: Reader, upstream: JobRequest) -> bool:
    """Whether its end starts others: what ran at a tag, at the tracked branch, or at nothing in particular. What runs
    at other branches and in pull requests is not what the registered definitions are about."""
    repository = reader.repository(upstream.repository_id) if upstream.repository_id else None
    tracked = f"refs/heads/{repository.tracked_branch}" if repository else ""
    return upstream.trusted and (upstream.ref in ("", tracked) or upstream.ref.startswith("refs/tags/"))


def _means(reader: Reader, definition: Definition, upstream: JobRequest) -> bool:
    """A name means the job of the same repository; where that has none, the only one of the organization."""
    own = reader.definition_named(upstream.job_type, repository_id=definition.repository_id)
    if own is None or own.state is SyncState.ORPHANED:
        own = reader.definition_named(upstream.job_type, organization_id=definition.organization_id)
    return own is not None and own.repository_id == upstream.repository_id


def _circle(reader: Reader, definition: Definition, upstream: JobRequest) -> str:
    """Why it does not follow: it would run because of itself, or because of too many others."""
    names, one = [definition.job_type], upstream
    for _ in range(LONGEST_CHAIN):
        names.append(one.job_type)
        if (one.repository_id, one.job_type) == (definition.repository_id, definition.job_type):
            return f"it would run in a circle: {' → '.join(f'`{name}`' for name in reversed(names))}"
        before = _upstream_of(reader, one)
        if before is None:
            return ""
        one = before
    return f"more than {LONGEST_CHAIN} jobs have followed one after the other"


def _upstream_of(reader: Reader, request: JobRequest) -> JobRequest | None:
    kind, _, rest = (request.cause_key or "").partition(":")
    return reader.request(int(rest.rpartition(":")[2])) if kind == EVENT else None
