"""Versions of plugins in SQLite."""

from __future__ import annotations

from formicary.runner.core.released import Plugin
from formicary.runner.store import rows
from formicary.runner.store.looking import Looking
from formicary.runner.store.rows import changed


class SqlitePluginsReader(Looking):
    """The `PluginsReader` of one connection."""

    def plugins(self, organization_id: str, job_type: str | None = None) -> list[Plugin]:
        if job_type is None:
            return self._many(rows.PLUGIN, "plugins", {"organization_id": organization_id})
        keys = {"organization_id": organization_id, "job_type": job_type}
        return sorted(self._many(rows.PLUGIN, "plugins_of_job", keys), key=lambda one: one.id)

    def plugin(self, plugin_id: int) -> Plugin | None:
        return self._one(rows.PLUGIN, "plugin", {"id": plugin_id})


class SqlitePluginsTx(SqlitePluginsReader):
    """The `PluginsTx` of one connection."""

    def put_plugin(self, plugin: Plugin) -> Plugin:
        row = self._row("put_plugin", rows.PLUGIN.encode(plugin))
        return changed(plugin, id=row[0])
