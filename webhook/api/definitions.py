"""Job definitions: what is registered, how it stands to the tracked branch, and its text."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Final

from pydantic import Field
from starlette.responses import Response

from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Definition, Role, SyncState, Version
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, Names, moment
from formicary.webhook.operations import Call, Operation

PATH: Final = "/api/jobs/definitions"


class DefinitionQuery(shared.PageQuery):
    q: str = Field(default="", max_length=200, description="A part of the job type or of the path.")
    repository: str | None = Field(default=None, description="Name or id.")
    state: SyncState | None = None


class DefinitionView(shared.View):
    """A registered definition. `problems` are those of its newest text; an Invalid one's last good version holds."""

    id: int
    organization_id: str
    repository_id: int | None
    repository: str
    job_type: str
    path: str
    version: int
    version_id: int | None
    commit: str
    state: SyncState
    problems: tuple[str, ...]
    disabled: bool
    max_concurrency: int | None
    updated_at: datetime | None


class VersionView(shared.View):
    id: int
    job_type: str
    version: int
    digest: str
    path: str
    commit: str
    created_at: datetime | None
    in_force: bool


class NewLimit(shared.Body):
    """How many of its runs at the same time, until its text says something new."""

    max_concurrency: int = Field(ge=1, le=1_000_000)


class InRepository(shared.Query):
    repository: str | None = Field(default=None, description="Name or id; needed where several have the job.")


class InRepositoryPages(shared.PageQuery, InRepository):
    """A page of one job's versions."""


def view(definition: Definition, repository: str) -> DefinitionView:
    return DefinitionView(
        id=definition.id,
        organization_id=definition.organization_id,
        repository_id=definition.repository_id,
        repository=repository,
        job_type=definition.job_type,
        path=definition.path,
        version=definition.version,
        version_id=definition.version_id,
        commit=definition.commit,
        state=definition.state,
        problems=definition.problems,
        disabled=definition.disabled,
        max_concurrency=definition.max_concurrency,
        updated_at=moment(definition.updated_at),
    )


async def show_list(call: Call) -> Listed[DefinitionView]:
    query: DefinitionQuery = call.query
    scope = shared.scope_of(call, query.repository)
    found = call.door.store.read().definitions(repository_id=scope, organization_id=call.caller.organization_id)
    wanted = (definition for definition in found if _matches(definition, query))
    names = Names(call)
    return shared.listed(shared.cut(wanted, query), lambda one: view(one, names[one.repository_id]))


def _matches(definition: Definition, query: DefinitionQuery) -> bool:
    text = f"{definition.job_type}\n{definition.path}".lower()
    return query.q.lower() in text and query.state in (None, definition.state)


async def show(call: Call) -> DefinitionView:
    definition = _of(call)
    return view(definition, Names(call)[definition.repository_id])


def _of(call: Call) -> Definition:
    """The definition of the path, if the caller may see it."""
    definition_id = call.number()
    definition = call.door.store.read().definition(definition_id)
    if definition is None or not call.caller.sees(definition):
        raise NotFound(f"There is no job definition {definition_id}.")
    return definition


async def _switched(call: Call, change: Awaitable[Definition]) -> DefinitionView:
    definition = await change
    return view(definition, Names(call)[definition.repository_id])


async def disable(call: Call) -> DefinitionView:
    return await _switched(call, call.door.queen.registry.disable(_of(call).id, True))


async def enable(call: Call) -> DefinitionView:
    return await _switched(call, call.door.queen.registry.disable(_of(call).id, False))


async def limit(call: Call) -> DefinitionView:
    body: NewLimit = call.body
    return await _switched(call, call.door.queen.registry.limit(_of(call).id, body.max_concurrency))


async def yaml(call: Call) -> Response:
    definition = _named(call)
    version = call.door.store.read().version(definition.version_id) if definition.version_id is not None else None
    if version is None:
        raise NotFound(f"`{definition.job_type}` has no valid version yet.")
    headers = {"X-Formicary-Version": str(version.version), "X-Formicary-Digest": version.digest}
    return Response(version.text.encode(), headers=headers, media_type="application/yaml")


def _named(call: Call) -> Definition:
    job_type, scope = call.text("type"), shared.scope_of(call, call.query.repository)
    organization = call.caller.organization_id
    found = call.door.store.read().definition_named(job_type, repository_id=scope, organization_id=organization)
    if found is None or not call.caller.sees(found):
        raise NotFound(f"There is no job `{job_type}`, or several repositories have one: then name the `repository`.")
    return found


async def versions(call: Call) -> Listed[VersionView]:
    definition, query = _named(call), call.query
    page = call.door.store.read().versions(
        definition.job_type,
        repository_id=definition.repository_id,
        organization_id=definition.organization_id,
        page=query.page,
        page_size=query.page_size,
    )
    return shared.listed(page, lambda version: _version_view(version, version.id == definition.version_id))


def _version_view(version: Version, in_force: bool) -> VersionView:
    return VersionView(
        id=version.id,
        job_type=version.job_type,
        version=version.version,
        digest=version.digest,
        path=version.path,
        commit=version.commit,
        created_at=moment(version.created_at),
        in_force=in_force,
    )


_TAG: Final = "Job definitions"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List the registered definitions",
        show_list,
        tag=_TAG,
        query=DefinitionQuery,
        answer=Listed[DefinitionView],
        errors=(404, 422),
    ),
    Operation("GET", PATH + "/{id:int}", "One definition", show, tag=_TAG, answer=DefinitionView, errors=(404,)),
    Operation(
        "POST",
        PATH + "/{id:int}/disable",
        "Start nothing of it until it is enabled",
        disable,
        tag=_TAG,
        role=Role.MAINTAINER,
        answer=DefinitionView,
        errors=(404,),
    ),
    Operation(
        "POST",
        PATH + "/{id:int}/enable",
        "Let it start again",
        enable,
        tag=_TAG,
        role=Role.MAINTAINER,
        answer=DefinitionView,
        errors=(404,),
    ),
    Operation(
        "PUT",
        PATH + "/{id:int}/concurrency",
        "Set how many of its runs at the same time",
        limit,
        tag=_TAG,
        role=Role.MAINTAINER,
        body=NewLimit,
        answer=DefinitionView,
        errors=(400, 404, 415, 422),
    ),
    Operation(
        "GET",
        PATH + "/{type:path}/yaml",
        "The text that is in force",
        yaml,
        tag=_TAG,
        query=InRepository,
        media="application/yaml",
        errors=(404, 422),
    ),
    Operation(
        "GET",
        PATH + "/{type:path}/versions",
        "Its versions, newest first",
        versions,
        tag=_TAG,
        query=InRepositoryPages,
        answer=Listed[VersionView],
        errors=(404, 422),
    ),
)
