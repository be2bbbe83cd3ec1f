"""Versions of plugins: which there are that a FORK_JOB task may name, and what each says. Nobody changes them here."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field

from formicary.runner.core.errors import NotFound
from formicary.runner.core.released import Plugin
from formicary.runner.core.versions import PATTERN, read_version, suits
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, Names, moment
from formicary.webhook.operations import Call, Operation

PATH: Final = "/api/plugins"


class PluginQuery(shared.PageQuery):
    q: str = Field(default="", max_length=200, description="A part of the job type.")
    job_type: str | None = Field(default=None, max_length=100, description="Of this job alone.")
    wanted: str = Field(default="", pattern=rf"^(\^?{PATTERN})?$", description="Only what this wants: `1.2`, `^1.2`.")


class PluginView(shared.View):
    """A version of a plugin. A `released` one never changes; `public`: other organizations may fork it. `repository` is
    empty for another organization's; `digest` is that of the job's own document and all that it includes."""

    id: int
    organization_id: str
    repository: str
    job_type: str
    sem_version: str
    public: bool
    released: bool
    digest: str
    commit: str
    created_at: datetime | None


class PluginText(PluginView):
    """With the text of its file; what it includes stands at the end of it."""

    text: str


def _fields(call: Call, plugin: Plugin, names: Names) -> dict[str, object]:
    ours = plugin.organization_id == call.caller.organization_id
    return {
        **plugin.model_dump(include=set(PluginView.model_fields) - {"repository", "created_at"}),
        "repository": names[plugin.repository_id] if ours else "",
        "created_at": moment(plugin.created_at),
    }


def _sees(call: Call, plugin: Plugin) -> bool:
    return plugin.public or call.caller.sees(plugin)


async def show_list(call: Call) -> Listed[PluginView]:
    query: PluginQuery = call.query
    found = [
        one
        for one in call.door.store.read().plugins(call.caller.organization_id, query.job_type)
        if _sees(call, one) and query.q.lower() in one.job_type.lower() and _fits(one, query.wanted)
    ]
    found.sort(key=lambda one: read_version(one.plain) or (), reverse=True)
    found.sort(key=lambda one: one.job_type)
    names = Names(call)
    return shared.listed(shared.cut(found, query), lambda one: PluginView.model_validate(_fields(call, one, names)))


def _fits(plugin: Plugin, wanted: str) -> bool:
    version = read_version(plugin.plain)
    return not wanted or (version is not None and suits(wanted, version))


async def show(call: Call) -> PluginText:
    plugin_id, reader = call.number(), call.door.store.read()
    plugin = reader.plugin(plugin_id)
    version = reader.version(plugin.version_id) if plugin is not None and _sees(call, plugin) else None
    if plugin is None or version is None:
        raise NotFound(f"There is no plugin {plugin_id}.")
    return PluginText.model_validate({**_fields(call, plugin, Names(call)), "text": version.text})


_TAG: Final = "Plugins"

OPERATIONS: Final = (
    Operation(
        "GET", PATH, "List versions of plugins, of each job the newest first", show_list, tag=_TAG, query=PluginQuery,
        answer=Listed[PluginView], errors=(422,),
    ),
    Operation(
        "GET", PATH + "/{id:int}", "One version, with its text", show, tag=_TAG, answer=PluginText, errors=(404,),
    ),
)  # fmt: skip
