"""Shared resources: what is registered, how much of it is held, and its properties. They are the organization's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints
from starlette.responses import Response

from formicary.runner.core.definition import Value
from formicary.runner.core.errors import Conflict, NotFound
from formicary.runner.core.records import JobResource, Role
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment
from formicary.webhook.operations import Call, Operation, reply

PATH: Final = "/api/jobs/resources"
MOST_CONFIGS: Final = 200
MAX_CONFIG: Final = 64 * 1024
_Word = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
_Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


def _small(value: Value) -> Value:
    """What cannot be written as JSON could not be read back (D8)."""
    if len(json.dumps(value, allow_nan=False)) > MAX_CONFIG:
        raise ValueError(f"a property may have {MAX_CONFIG >> 10} KiB")
    return value


_Config = Annotated[Value, AfterValidator(_small)]


class ResourceView(shared.View):
    """A shared resource. `held`: units that running jobs and tasks have now. A property's id is its name."""

    id: int
    organization_id: str
    resource_type: str
    name: str
    platform: str
    tags: tuple[str, ...]
    quota: int
    held: int
    description: str
    configs: Mapping[str, Value]
    disabled: bool
    created_at: datetime | None
    updated_at: datetime | None


class ResourceQuery(shared.PageQuery):
    resource_type: str | None = None


class NewResource(shared.Body):
    """`quota` units may be held at a time. `name` tells several of one type apart. `configs` are no secrets: whoever
    holds the resource may read them."""

    resource_type: _Word
    name: str = Field(default="", max_length=100)
    platform: str = Field(default="", max_length=100)
    tags: tuple[_Word, ...] = Field(default=(), max_length=50)
    quota: int = Field(default=1, ge=1, le=1_000_000)
    description: str = Field(default="", max_length=1000)
    configs: Mapping[_Key, _Config] = Field(default_factory=dict, max_length=MOST_CONFIGS)


class NewConfig(shared.Body):
    name: _Key
    value: _Config = Field(description="Plain data; text, mostly.")


def _view(call: Call, resource: JobResource) -> ResourceView:
    return ResourceView(
        id=resource.id,
        organization_id=resource.organization_id,
        resource_type=resource.resource_type,
        name=resource.name,
        platform=resource.platform,
        tags=resource.tags,
        quota=resource.quota,
        held=call.door.queen.registry.held().get(resource.id, 0),
        description=resource.description,
        configs=resource.configs,
        disabled=resource.disabled,
        created_at=moment(resource.created_at),
        updated_at=moment(resource.updated_at),
    )


def _of(call: Call) -> JobResource:
    """The resource of the path, if it is the caller's organization's."""
    resource_id = call.number()
    found = call.door.store.read().resource(resource_id)
    if found is None or found.organization_id != call.caller.organization_id:
        raise NotFound(f"There is no resource {resource_id}.")
    return found


async def show_list(call: Call) -> Listed[ResourceView]:
    query: ResourceQuery = call.query
    found = [
        one
        for one in call.door.store.read().resources()
        if one.organization_id == call.caller.organization_id and query.resource_type in (None, one.resource_type)
    ]
    found.sort(key=lambda one: (one.resource_type, one.name))
    return shared.listed(shared.cut(found, query), lambda one: _view(call, one))


async def show(call: Call) -> ResourceView:
    return _view(call, _of(call))


async def add(call: Call) -> Response:
    new = JobResource(organization_id=call.caller.organization_id, **call.body.model_dump())
    made = await call.door.queen.registry.put_resource(new)
    return reply(_view(call, made), 201, {"Location": f"{PATH}/{made.id}"})


async def _changed(call: Call, **update: Any) -> ResourceView:
    found = _of(call)
    change = call.door.queen.registry.change_resource(found.id, lambda one: one.model_copy(update=update))
    return _view(call, await change)


async def save(call: Call) -> ResourceView:
    return await _changed(call, **call.body.model_dump())


async def remove(call: Call) -> Response:
    await call.door.queen.registry.delete_resource(_of(call).id)
    return Response(status_code=204)


async def disable(call: Call) -> ResourceView:
    return await _changed(call, disabled=True)


async def enable(call: Call) -> ResourceView:
    return await _changed(call, disabled=False)


async def put_config(call: Call) -> ResourceView:
    body: NewConfig = call.body

    def change(one: JobResource) -> JobResource:
        configs = {**one.configs, body.name: body.value}
        if len(configs) > MOST_CONFIGS:
            raise Conflict(f"A resource has at most {MOST_CONFIGS} properties.")
        return one.model_copy(update={"configs": configs})

    return _view(call, await call.door.queen.registry.change_resource(_of(call).id, change))


async def remove_config(call: Call) -> Response:
    name = call.text("config")

    def change(one: JobResource) -> JobResource:
        if name not in one.configs:
            raise NotFound(f"The resource {one.id} has no property `{name[:100]}`.")
        return one.model_copy(update={"configs": {key: value for key, value in one.configs.items() if key != name}})

    await call.door.queen.registry.change_resource(_of(call).id, change)
    return Response(status_code=204)


_TAG: Final = "Job resources"
_ONE: Final = PATH + "/{id:int}"
_BODY: Final = (400, 404, 409, 415, 422)

OPERATIONS: Final = (
    Operation(
        "GET", PATH, "List the shared resources", show_list, tag=_TAG, query=ResourceQuery,
        answer=Listed[ResourceView], errors=(422,),
    ),
    Operation(
        "POST", PATH, "Register a shared resource", add, tag=_TAG, role=Role.MAINTAINER, everything=True,
        body=NewResource, answer=ResourceView, status=201, errors=(400, 409, 415, 422),
    ),
    Operation("GET", _ONE, "One shared resource", show, tag=_TAG, answer=ResourceView, errors=(404,)),
    Operation(
        "PUT", _ONE, "Change it; what is held stays held", save, tag=_TAG, role=Role.MAINTAINER, everything=True,
        body=NewResource, answer=ResourceView, errors=_BODY,
    ),
    Operation(
        "DELETE", _ONE, "Forget it; who holds it runs on", remove, tag=_TAG, role=Role.MAINTAINER, everything=True,
        status=204, media="", errors=(404,),
    ),
    Operation(
        "POST", _ONE + "/disable", "Give none of it until it is enabled", disable, tag=_TAG, role=Role.MAINTAINER,
        everything=True, answer=ResourceView, errors=(404,),
    ),
    Operation(
        "POST", _ONE + "/enable", "Give it again", enable, tag=_TAG, role=Role.MAINTAINER, everything=True,
        answer=ResourceView, errors=(404,),
    ),
    Operation(
        "POST", _ONE + "/configs", "Set one of its properties", put_config, tag=_TAG, role=Role.MAINTAINER,
        everything=True, body=NewConfig, answer=ResourceView, errors=_BODY,
    ),
    Operation(
        "DELETE", _ONE + "/configs/{config}", "Remove one of its properties", remove_config, tag=_TAG,
        role=Role.MAINTAINER, everything=True, status=204, media="", errors=(404,),
    ),
)  # fmt: skip
