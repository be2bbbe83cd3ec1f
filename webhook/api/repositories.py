"""Repositories that are watched, and how their definitions stand to what is committed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.responses import Response

from formicary.runner.core.errors import RepositoryUnavailable
from formicary.runner.core.records import Repository, Role
from formicary.webhook.api import shared
from formicary.webhook.api.definitions import DefinitionView
from formicary.webhook.api.definitions import view as definition_view
from formicary.webhook.api.shared import Listed, moment, repository_of
from formicary.webhook.operations import Call, Operation

PATH: Final = "/api/repos"


class RepositoryView(shared.View):
    """`state` is ok, empty or unavailable; `error` says why."""

    id: int
    organization_id: str
    name: str
    path: str
    url: str
    tracked_branch: str
    visibility: str
    state: str
    error: str
    seen_at: datetime | None
    synced_commit: str
    synced_at: datetime | None


class SyncView(shared.View):
    """The commit that was synced last, and every definition with its problems (file:line)."""

    repository: RepositoryView
    commit: str
    synced_at: datetime | None
    definitions: tuple[DefinitionView, ...]


def view(repository: Repository) -> RepositoryView:
    return RepositoryView(
        id=repository.id,
        organization_id=repository.organization_id,
        name=repository.name,
        path=repository.path,
        url=repository.url,
        tracked_branch=repository.tracked_branch,
        visibility=repository.visibility,
        state=repository.state,
        error=repository.error,
        seen_at=moment(repository.seen_at),
        synced_commit=repository.synced_commit,
        synced_at=moment(repository.synced_at),
    )


class RepositoryQuery(shared.PageQuery):
    q: str = ""


async def show_list(call: Call) -> Listed[RepositoryView]:
    caller, q = call.caller, call.query.q.lower()
    found = (
        repository
        for repository in call.door.store.read().repositories()
        if caller.sees_repository(repository.organization_id, repository.id) and q in repository.name.lower()
    )
    return shared.listed(shared.cut(found, call.query), view)


async def show(call: Call) -> RepositoryView:
    return view(repository_of(call))


async def show_sync(call: Call) -> SyncView:
    return _sync_view(call, repository_of(call))


async def sync(call: Call) -> SyncView:
    repository = await call.door.reconciler.sync(repository_of(call).id)
    if repository.state == "unavailable":
        raise RepositoryUnavailable(f"{repository.name} cannot be read now: {repository.error}")
    return _sync_view(call, repository)


async def remove(call: Call) -> Response:
    await call.door.reconciler.remove(repository_of(call).id)
    return Response(status_code=204)


def _sync_view(call: Call, repository: Repository) -> SyncView:
    definitions = call.door.store.read().definitions(repository_id=repository.id)
    return SyncView(
        repository=view(repository),
        commit=repository.synced_commit,
        synced_at=moment(repository.synced_at),
        definitions=tuple(definition_view(definition, repository.name) for definition in definitions),
    )


_TAG: Final = "Repositories"
_ONE: Final = PATH + "/{id:int}"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List the watched repositories",
        show_list,
        tag=_TAG,
        query=RepositoryQuery,
        answer=Listed[RepositoryView],
        errors=(422,),
    ),
    Operation("GET", _ONE, "One repository", show, tag=_TAG, answer=RepositoryView, errors=(404,)),
    Operation(
        "GET", _ONE + "/sync", "What was synced, and what is wrong", show_sync, tag=_TAG, answer=SyncView, errors=(404,)
    ),
    Operation(
        "POST",
        _ONE + "/sync",
        "Look now",
        sync,
        tag=_TAG,
        role=Role.DEVELOPER,
        answer=SyncView,
        errors=(404, 503),
    ),
    Operation(
        "DELETE",
        _ONE,
        "Watch it no longer; its requests stay until retention",
        remove,
        tag=_TAG,
        role=Role.ADMIN,
        status=204,
        media="",
        errors=(404,),
    ),
)
