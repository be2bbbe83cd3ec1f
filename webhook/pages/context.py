"""What the live pages need of the house, and what a caller may see and do on them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import JobRequest, Repository, Role, Version
from formicary.runner.queen.ask import Ask
from formicary.runner.queen.changes import Changes
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.people.approvals import Ballot
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.store import Reader
from formicary.site.source import Source
from formicary.webhook.caller import Caller, caller_of


class Readable(Protocol):
    def read(self) -> Reader: ...


class Cancel(Protocol):
    def __call__(
        self, request_id: int, *, by: str, reason: str = "", also: Also = nothing_else
    ) -> Awaitable[JobRequest]: ...


class Restart(Protocol):
    def __call__(
        self, request_id: int, *, by: str, hard: bool = False, failed: bool = False, also: Also = nothing_else
    ) -> Awaitable[JobRequest]: ...


Submit = Callable[[Ask], Awaitable[tuple[JobRequest, bool]]]


def _silent(_request_id: int) -> str:
    return ""


def _unread(_version: Version) -> JobDefinition | None:
    return None


@dataclass(kw_only=True)
class PagesContext:
    """`submit`, `cancel`, `restart` and `vote` are the queen's; without one its button is not there. `why` says what a
    waiting request waits for; `definition_of` reads a version's text. Streams end when `closing` is set."""

    store: Readable
    logs: Logs
    changes: Changes
    why: Callable[[int], str] = _silent
    submit: Submit | None = None
    paced: Callable[[Caller], None] = lambda _: None
    """Raises 429 where somebody asks for jobs too often."""
    cancel: Cancel | None = None
    restart: Restart | None = None
    vote: Callable[[int, Ballot], Awaitable[JobRequest]] | None = None
    definition_of: Callable[[Version], JobDefinition | None] = _unread
    mask: Callable[[str], str] = str
    clock: Callable[[], float] = time.time
    closing: anyio.Event = field(default_factory=anyio.Event)

    def source(self, request: Request) -> Source:
        """What this caller may see. Call it on the thread that reads."""
        caller = the_caller(request)

        def sees(repository: Repository | None) -> bool:
            if repository is None:
                return caller.repository_id is None
            return caller.sees_repository(repository.organization_id, repository.id)

        return Source(
            self.store.read(),
            self.logs,
            sees,
            organization_id=caller.organization_id,
            reason=self._reason,
            now=self.clock(),
            definition_of=self.definition_of,
        )

    def _reason(self, request_id: int) -> str:
        try:
            return self.mask(self.why(request_id))
        except NotFound:
            return ""  # it went while the page was made


def the_caller(request: Request) -> Caller:
    """Pages are for somebody, whatever stands before them."""
    caller = caller_of(request)
    if caller is None:
        raise HTTPException(401, "Log in to see this page.")
    return caller


def may_act(request: Request) -> bool:
    return the_caller(request).may(Role.DEVELOPER)


def must_act(request: Request, what: Any) -> None:
    """Refuse who may not do this, or where it cannot be done."""
    if what is None:
        raise HTTPException(404, "This server has no such action.")
    if not may_act(request):
        raise HTTPException(403, "Your role lets you look, not act. Ask a maintainer for the developer role.")
