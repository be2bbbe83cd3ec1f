"""What pages are made from: a reader, narrowed to what the caller may see, and small look-ups every page shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.records import JobRequest, Repository, Version
from formicary.runner.core.refs import short
from formicary.runner.core.states import State
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.store import Reader
from formicary.site import explain, times
from formicary.site.status import status
from formicary.site.views import Cell, RequestRow

PUBLIC: Final = "public"


def public(repository: Repository | None) -> bool:
    """Nothing is published unless the operator said so; what belongs to no repository has nobody who could."""
    return repository is not None and repository.visibility == PUBLIC


def _no_reason(_request_id: int) -> str:
    return ""


def _no_definition(_version: Version) -> JobDefinition | None:
    return None


@dataclass(slots=True)
class Source:
    """`sees` says whether the pages may show what belongs to a repository (None: to no repository). `reason` gives the
    queen's words for what waits, `now` the time (None where a page's bytes must not depend on it), `definition_of` the
    job that a version's text describes. `outside` = strangers read it: no addresses of people, no paths of this
    machine."""

    reader: Reader
    logs: Logs
    sees: Callable[[Repository | None], bool]
    organization_id: str = "default"
    reason: Callable[[int], str] = _no_reason
    now: float | None = None
    outside: bool = False
    definition_of: Callable[[Version], JobDefinition | None] = _no_definition
    _repositories: Mapping[int, Repository] | None = field(default=None, init=False)

    def repositories(self) -> list[Repository]:
        return [one for one in self._all().values() if self.sees(one)]

    def name_of(self, repository_id: int | None) -> str:
        found = self._all().get(repository_id) if repository_id is not None else None
        return found.name if found else ""

    def named(self, name: str) -> Repository | None:
        return next((one for one in self.repositories() if one.name == name), None)

    def request(self, request_id: int) -> JobRequest | None:
        """The request, if the caller may see it."""
        found = self.reader.request(request_id)
        if found is None or found.organization_id != self.organization_id or not self.shows(found):
            return None
        return found

    def shows(self, request: JobRequest) -> bool:
        owner = self._all().get(request.repository_id) if request.repository_id is not None else None
        return (request.repository_id is None or owner is not None) and self.sees(owner)

    def recent(self, limit: int, *, states: Sequence[State] = ()) -> list[JobRequest]:
        """The newest requests that may be seen; each repository's are asked for where some are hidden."""
        repositories = list(self._all().values())
        if all(map(self.sees, (*repositories, None))):
            page = self.reader.requests(organization_id=self.organization_id, states=states, page_size=limit)
            return list(page.records)
        found: list[JobRequest] = []
        for repository in filter(self.sees, repositories):
            found += self.reader.requests(repository_id=repository.id, states=states, page_size=limit).records
        return sorted(found, key=lambda one: -one.id)[:limit]

    def row(self, request: JobRequest, why: str = "") -> RequestRow:
        return RequestRow(
            id=request.id,
            repository=self.name_of(request.repository_id),
            job_type=request.job_type,
            status=status(request.state, request.error_code),
            title=title_of(request),
            event=request.event,
            ref=short(request.ref),
            commit=request.commit[:9],
            created_at=request.created_at,
            started_at=request.started_at,
            ended_at=request.ended_at,
            why=why,
        )

    def waiting_row(self, request: JobRequest) -> RequestRow:
        return self.row(request, explain.why(request, None, frozenset(), self.reason(request.id)))

    def _all(self) -> Mapping[int, Repository]:
        if self._repositories is None:
            found = (one for one in self.reader.repositories() if one.organization_id == self.organization_id)
            self._repositories = {one.id: one for one in found}
        return self._repositories


def title_of(request: JobRequest) -> str:
    """What a person knows it by: its description, else the commit message's first line."""
    text = request.description or str(request.params.get("GitCommitMessage") or "")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first[:120] + ("…" if len(first) > 120 else "")


def cell(request: JobRequest, height: float = 0.0) -> Cell:
    look = status(request.state, request.error_code)
    spent = ""
    if request.started_at is not None and request.ended_at is not None:
        spent = f" in {times.duration(request.ended_at - request.started_at)}"
    return Cell(request.id, look, f"#{request.id} {look.word}{spent}", height)
