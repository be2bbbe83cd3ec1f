"""What every resource shares: the envelope of lists, times, and finding what the caller may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import JobRequest, Page, Repository
from formicary.runner.queen.people.audit import Also, audit
from formicary.webhook.operations import Call

S = TypeVar("S")
T = TypeVar("T")

MAX_PAGE_SIZE: Final = 1000
LAST_MOMENT: Final = datetime(9998, 12, 31, tzinfo=UTC).timestamp()


class Query(BaseModel):
    """A misspelt filter would be no filter at all: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    page: int = Field(default=0, ge=0, le=1_000_000_000, description="Counts from 0.")
    page_size: int = Field(default=200, ge=1, le=MAX_PAGE_SIZE)


class ListQuery(PageQuery):
    order: Literal["-id", "id"] = Field(default="-id", description="`-id`: newest first.")
    q: str = Field(default="", max_length=200, description="Words to look for.")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Listed(View, Generic[T]):
    """One page of a list."""

    records: tuple[T, ...]
    total_records: int
    page: int
    page_size: int
    total_pages: int


def listed(page: Page[S], view: Callable[[S], T]) -> Listed[T]:
    return Listed(
        records=tuple(view(record) for record in page.records),
        total_records=page.total_records,
        page=page.page,
        page_size=page.page_size,
        total_pages=-(-page.total_records // page.page_size),
    )


def cut(records: Iterable[S], query: PageQuery) -> Page[S]:
    """A page of what is already in memory."""
    everything = tuple(records)
    start = query.page * query.page_size
    return Page[Any](
        records=everything[start : start + query.page_size],
        total_records=len(everything),
        page=query.page,
        page_size=query.page_size,
    )


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(min(max(seconds, 0.0), LAST_MOMENT), UTC)


def _tellable(at: datetime) -> datetime:
    if not 0 <= at.timestamp() <= LAST_MOMENT:
        raise ValueError("the year must be from 1970 to 9998")
    return at


#: A moment that can be told again in every time zone.
Moment = Annotated[AwareDatetime, AfterValidator(_tellable)]


def who(call: Call) -> str:
    """Who asks, for the log."""
    return f"{call.caller.user_id} (token {call.caller.token_id})"


def traced(call: Call, action: str, request: JobRequest | None = None, /, **about: Any) -> Also:
    """What is written of this call into the change that does it. `about`: as `audit` takes it."""
    caller = call.caller
    about.setdefault("organization_id", caller.organization_id)
    return partial(audit, action=action, by=caller.user_id, token_id=caller.token_id, request=request, **about)


def request_of(call: Call, name: str = "id") -> JobRequest:
    """The job request of the path, if the caller may see it; what belongs to others is not there."""
    request_id = call.number(name)
    request = call.door.store.read().request(request_id)
    if request is None or not call.caller.sees(request):
        raise NotFound(f"There is no job request {request_id}.")
    return request


def repository_of(call: Call, name: str = "id") -> Repository:
    """The repository of the path, if the caller may see it."""
    repository_id = call.number(name)
    repository = call.door.store.read().repository(repository_id)
    if repository is None or not call.caller.sees_repository(repository.organization_id, repository.id):
        raise NotFound(f"There is no repository {repository_id}.")
    return repository


def repository_called(call: Call, said: str) -> Repository:
    """The repository of this name or id."""
    reader, caller = call.door.store.read(), call.caller
    found = reader.repository_named(said, caller.organization_id)
    if found is None and said.isascii() and said.isdigit() and len(said) < 19:
        found = reader.repository(int(said))
    if found is None or not caller.sees_repository(found.organization_id, found.id):
        raise NotFound(f"There is no repository `{said}`; `formicary repos` lists those that are watched.")
    return found


def scope_of(call: Call, said: str | None) -> int | None:
    """The repository that a list is about: the one that was named, else the one that the token is bound to."""
    return repository_called(call, said).id if said else call.caller.repository_id


class Names:
    """Names of repositories by id, read once for a list."""

    def __init__(self, call: Call) -> None:
        self._names = {repository.id: repository.name for repository in call.door.store.read().repositories()}

    def __getitem__(self, repository_id: int | None) -> str:
        return self._names.get(repository_id, "") if repository_id is not None else ""
