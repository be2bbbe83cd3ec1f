"""The publisher of commit statuses. What is owed names a request or a commit and nothing else; what is posted is the
newest truth, read when it is sent. So a try that comes late, or twice, never says anything old (D10)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import NotFound, Problem, Undeliverable
from formicary.runner.core.execution import Execution
from formicary.runner.core.records import JobRequest, OutboxEntry, Page, Repository
from formicary.runner.core.states import TERMINAL
from formicary.runner.publish.status import (
    PENDING,
    PULL_REQUEST,
    SYNC_CONTEXT,
    Forge,
    Status,
    Verdict,
    context_of,
    described,
    one_line,
    side,
    speaker,
    sync_verdict,
    takes_statuses,
    task_verdict,
    verdict,
)

KIND: Final = "status"
ALIKE: Final = 20
"""Requests of one job and commit that are looked at, the newest ones."""
SCHEDULE: Final = "schedule"
REMEMBERED: Final = 4096
"""Statuses that are remembered as they were posted last."""


class Truth(Protocol):
    """What is known now, as a reader of the store tells it."""

    def request(self, request_id: int) -> JobRequest | None: ...
    def execution(self, execution_id: int) -> Execution | None: ...
    def repository(self, repository_id: int) -> Repository | None: ...
    def requests(
        self, *, repository_id: int | None = None, job_type: str | None = None, commit: str | None = None,
        page_size: int = 200,
    ) -> Page[JobRequest]: ...  # fmt: skip


class Locks:
    """One lock a name, there for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._held: dict[tuple[Any, ...], tuple[anyio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, *name: Any) -> AsyncIterator[None]:
        lock, users = self._held.get(name) or (anyio.Lock(), 0)
        self._held[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._held.pop(name)
            if users > 1:
                self._held[name] = lock, users - 1


@dataclass(slots=True)
class StatusPublisher:
    """`job_of`: the definition as a request runs it. `why`: for what it waits. `problems_of`: what is wrong with the
    definitions of a commit; it reads git. `mask` takes secrets out of a text (T8). `url`: this server's own."""

    read: Callable[[], Truth]
    forges: Mapping[str, Forge]
    job_of: Callable[[JobRequest], JobDefinition | None]
    why: Callable[[int], str]
    problems_of: Callable[[Repository, str], Sequence[Problem]]
    mask: Callable[[str], str]
    url: str
    kind: str = KIND
    _locks: Locks = field(default_factory=Locks)
    _posted: OrderedDict[tuple[int, str, str], Status] = field(default_factory=OrderedDict)
    """What this process knows to have landed last, by repository, commit and context."""

    def lane(self, entry: OutboxEntry) -> str:
        """The host that takes the status; what is on no forge any more is done with at once, in a lane of its own."""
        repository = self._repository_of(entry.payload)
        forge = self.forges.get(repository.forge) if repository else None
        return forge.lane(repository) if forge and repository else "none"

    def _repository_of(self, payload: Mapping[str, Any]) -> Repository | None:
        reader = self.read()
        repository_id = payload.get("repository_id")
        if repository_id is None:
            request = reader.request(int(payload["request_id"]))
            repository_id = request.repository_id if request else None
        return reader.repository(int(repository_id)) if repository_id is not None else None

    async def publish(self, key: str, payload: Mapping[str, Any]) -> None:
        """`payload`: request_id, and task for a task's own status; or repository_id and commit for `formicary/sync`."""
        if "request_id" in payload:
            await self._of_request(int(payload["request_id"]), str(payload.get("task", "")))
        else:
            await self._of_commit(int(payload["repository_id"]), str(payload["commit"]))

    # The status of a request

    async def _of_request(self, request_id: int, task: str) -> None:
        asked = self.read().request(request_id)
        if asked is None or asked.repository_id is None:
            return  # retention was faster: nobody asks for its status any more
        context, _ = self._shown(asked, task)
        async with self._locks.of(asked.repository_id, asked.commit, context):
            await self._post_newest(asked, task)

    async def _post_newest(self, asked: JobRequest, task: str) -> None:
        repository = self._repository(asked.repository_id or 0)
        if not takes_statuses(repository):
            return
        context, newest = self._shown(asked, task)
        job, execution = self.job_of(newest), self._execution(newest)
        if job is not None and not job.status.enabled:
            return
        why = self.why(newest.id) if newest.state not in TERMINAL else ""
        said = task_verdict(newest, execution, task, why) if task else verdict(newest, job, execution, why)
        last = self._posted.get((repository.id, asked.commit, context))
        if newest.event == SCHEDULE and said.state in (PENDING, last and last.state):
            return  # forges keep a thousand of a context: every minute's success would use them up in a day
        await self._post(repository, asked.commit, context, said, f"/requests/{newest.id}")

    def _shown(self, asked: JobRequest, task: str) -> tuple[str, JobRequest]:
        """The context of a request, and the request whose state it shows: the newest of those that share it."""
        found = self.read().requests(
            repository_id=asked.repository_id, job_type=asked.job_type, commit=asked.commit, page_size=ALIKE
        )
        alike = [asked, *(request for request in found.records if request.id != asked.id)]
        both = len({side(request) for request in alike}) > 1
        job = self.job_of(asked)
        context = context_of(asked, job, both=both, task=task)
        if job is not None and job.status.context:
            same = [one for one in alike if context_of(one, self.job_of(one), both=both, task=task) == context]
        else:
            same = [one for one in alike if side(one) == side(asked)]
        return context, speaker(same or [asked])

    def _execution(self, request: JobRequest) -> Execution | None:
        return self.read().execution(request.execution_id) if request.execution_id is not None else None

    # The status of a commit's definitions

    async def _of_commit(self, repository_id: int, commit: str) -> None:
        repository = self._repository(repository_id)
        if not takes_statuses(repository):
            return
        try:
            problems = await anyio.to_thread.run_sync(self.problems_of, repository, commit)
        except NotFound:
            return  # the commit is gone, and its status with it
        async with self._locks.of(repository_id, commit, SYNC_CONTEXT):
            await self._post(repository, commit, SYNC_CONTEXT, sync_verdict(problems), "")

    def _repository(self, repository_id: int) -> Repository:
        repository = self.read().repository(repository_id)
        if repository is None:
            raise Undeliverable(
                f"repository {repository_id} is watched no longer, so nobody knows its forge; watch it again and have "
                "the job run anew"
            )
        return repository

    async def _post(self, repository: Repository, commit: str, context: str, said: Verdict, page: str) -> None:
        forge = self.forges.get(repository.forge)
        if forge is None:
            raise Undeliverable(f"this server posts no statuses to {repository.forge}")
        link = f"{self.url}{page}" if self.url and page else self.url
        status = Status(commit, one_line(self.mask(context)), said.state, described(said.description, self.mask), link)
        place = (repository.id, commit, context)
        if self._posted.pop(place, None) != status:  # a try that fails may have landed
            await forge.post_status(repository, status)
        self._posted[place] = status
        while len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)


def key_of(request: JobRequest, job: JobDefinition | None, task: str = "") -> str:
    """The outbox's key of a status: what shares a context shares a key, so that the latest state wins. A context of the
    definition's own may be another one for every request, and is not known before it is rendered."""
    whose = f"request {request.id}" if job is not None and job.status.context else request.job_type
    about = PULL_REQUEST if side(request) else "push"
    return "/".join(part for part in (str(request.repository_id), request.commit, about, whose, task) if part)


def sync_key(repository_id: int, commit: str) -> str:
    return f"{repository_id}/{commit}/{SYNC_CONTEXT}"
