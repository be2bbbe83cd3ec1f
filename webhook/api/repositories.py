"""Repositories that are watched, and how their definitions stand to what is committed."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Final

from starlette.responses import Response

from formicary.runner.core.errors import RepositoryUnavailable, RequestRefused, SetupError
from formicary.runner.core.records import Repository, Role
from formicary.runner.queen.people.audit import Also
from formicary.webhook.api import shared
from formicary.webhook.api.definitions import DefinitionView
from formicary.webhook.api.definitions import view as definition_view
from formicary.webhook.api.shared import Listed, moment, repository_of
from formicary.webhook.api.watched import RepositoryBody, changed, new_repository
from formicary.webhook.operations import Call, Operation, reply

logger = logging.getLogger("formicary.webhook")

PATH: Final = "/api/repos"


class RepositoryView(shared.View):
    """`state` is ok, empty or unavailable; `error` says why. `path` is where git reads it: of a remote repository
    (`url`), its mirror. `poll`: seconds between looks, null: the server's. `seen_at`: when it was read last, which is
    where something had moved; `looked_at`: when it was looked at last."""

    id: int
    organization_id: str
    name: str
    path: str
    url: str
    tracked_branch: str
    visibility: str
    forge: str
    slug: str
    api_url: str
    poll: float | None
    dialect: str
    state: str
    error: str
    seen_at: datetime | None
    looked_at: datetime | None
    synced_commit: str
    synced_at: datetime | None


class SyncView(shared.View):
    """The commit that was synced last, and every definition with its problems (file:line)."""

    repository: RepositoryView
    commit: str
    synced_at: datetime | None
    definitions: tuple[DefinitionView, ...]


def view(call: Call, repository: Repository) -> RepositoryView:
    return RepositoryView(
        id=repository.id,
        organization_id=repository.organization_id,
        name=repository.name,
        path=repository.path,
        url=repository.url,
        tracked_branch=repository.tracked_branch,
        visibility=repository.visibility,
        forge=repository.forge,
        slug=repository.slug,
        api_url=repository.api_url,
        poll=repository.poll,
        dialect=repository.dialect,
        state=repository.state,
        error=repository.error,
        seen_at=moment(repository.seen_at),
        looked_at=moment(call.door.reconciler.looked_at(repository.id)),
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
    return shared.listed(shared.cut(found, call.query), partial(view, call))


async def show(call: Call) -> RepositoryView:
    return view(call, repository_of(call))


async def add(call: Call) -> Response:
    door = call.door
    others = door.store.read().repositories()
    wanted = new_repository(call.body, call.caller.organization_id, others, door.data)
    stored = await _watched(call, wanted)
    return reply(view(call, stored), 201, {"Location": f"{PATH}/{stored.id}"})


async def change(call: Call) -> RepositoryView:
    known = repository_of(call)
    stored = await _watched(call, changed(known, call.body, call.door.store.read().repositories()))
    call.door.reconciler.wake(stored.id)
    return view(call, stored)


def _traced(call: Call, wanted: Repository) -> Also:
    action = "repository.change" if wanted.id else "repository.add"
    where = {"url": wanted.url, "path": "" if wanted.url else wanted.path}
    return shared.traced(call, action, repository_id=wanted.id or None, subject=wanted.name, **where)


async def _watched(call: Call, wanted: Repository) -> Repository:
    try:
        stored = await call.door.reconciler.add(wanted, _traced(call, wanted))
    except SetupError as error:
        raise RequestRefused(str(error), field="path" if wanted.path and not wanted.url else "url") from error
    logger.info("%s says of repository %d: %s", shared.who(call), stored.id, stored.url or stored.path)
    return stored


async def show_sync(call: Call) -> SyncView:
    return _sync_view(call, repository_of(call))


async def sync(call: Call) -> SyncView:
    repository = await call.door.reconciler.sync(repository_of(call).id)
    if repository.state == "unavailable":
        raise RepositoryUnavailable(f"{repository.name} cannot be read now: {repository.error}")
    return _sync_view(call, repository)


async def remove(call: Call) -> Response:
    repository = repository_of(call)
    about = {"repository_id": repository.id, "subject": repository.name}
    await call.door.reconciler.remove(repository.id, shared.traced(call, "repository.remove", **about))
    return Response(status_code=204)


def _sync_view(call: Call, repository: Repository) -> SyncView:
    definitions = call.door.store.read().definitions(repository_id=repository.id)
    return SyncView(
        repository=view(call, repository),
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
    Operation(
        "POST",
        PATH,
        "Watch a repository",
        add,
        tag=_TAG,
        role=Role.ADMIN,
        everything=True,
        body=RepositoryBody,
        answer=RepositoryView,
        status=201,
        errors=(409, 422),
    ),
    Operation(
        "PUT",
        _ONE,
        "Change what is said of it; what is left out stays",
        change,
        tag=_TAG,
        role=Role.ADMIN,
        everything=True,
        body=RepositoryBody,
        answer=RepositoryView,
        errors=(404, 409, 422),
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
