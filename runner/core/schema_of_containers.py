"""The part of the JSON Schema that is about containers, made from the loader's own tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from pydantic import BaseModel

from formicary.runner.core import containing as model
from formicary.runner.core.loading import amounts, containers, placing, volumes
from formicary.runner.core.loading.table import Key, Table

Schema = dict[str, Any]


class Made(Protocol):
    """What `schema` lends: parts that others refer to."""

    def reference(self, name: str, make: Callable[[], Schema]) -> Schema: ...

    def mapping(self, table: Table, page: str, required: Iterable[str] = (), *, static: bool = False) -> Schema: ...

    def listed(self, name: str, item: Schema) -> Schema: ...

    def shape(self, key: Key, static: bool) -> Schema: ...


_VOLUME: Final = Table("a volume", {name: key for one in volumes.KINDS.values() for name, key in one.keys.items()})
#: Name → keys, the model that they become, what may not be left out.
TABLES: Final[Mapping[str, tuple[Table, type[BaseModel], tuple[str, ...]]]] = {
    "CONTAINER": (containers.CONTAINER_KEYS, model.Container, ()),
    "SERVICE": (containers.SERVICE, model.Service, ("image",)),
    "LIMITS": (containers.LIMITS, model.Amounts, ()),
    "HEALTH": (containers.HEALTH, model.Health, ()),
    "PORT": (containers.PORT, model.Port, ("number",)),
    "VOLUME": (_VOLUME, model.Volume, ("name", "mount_path")),
    "ITEM": (volumes.ITEM, model.Volume, ()),
    "SOURCES": (volumes.SOURCES, model.Projection, ()),
    "PROJECTED": (volumes.PROJECTED, model.Projection, ("name",)),
    "TOKEN": (volumes.TOKEN, model.Projection, ("path",)),
    "AFFINITY": (placing.AFFINITY, model.Affinity, ()),
    "REQUIRED": (placing.REQUIRED, model.Affinity, ()),
    "PREFERRED": (placing.PREFERRED, model.Term, ()),
    "TERM": (placing.TERM, model.Term, ()),
    "REQUIREMENT": (placing.REQUIREMENT, model.Requirement, ("key", "operator")),
}
#: Shapes that are one of these mappings, and nothing else.
NESTED: Final = {
    "container": "CONTAINER",
    "limits": "LIMITS",
    "health": "HEALTH",
    "projection": "PROJECTED",
    "token": "TOKEN",
    "affinity": "AFFINITY",
    "required_nodes": "REQUIRED",
    "term": "TERM",
}
#: Shapes that are a list of these mappings, or one.
_LISTED: Final = {
    "requirements": "REQUIREMENT",
    "terms": "TERM",
    "preferred_nodes": "PREFERRED",
    "sources": "SOURCES",
}
_TEXT: Final[Schema] = {"type": ["string", "number", "boolean", "null"]}
_TEMPLATE: Final[Schema] = {"type": "string", "pattern": r"\{\{|\{%"}


def shape(made: Made, name: str) -> Schema | None:
    """What a key of this shape takes; None for a shape of others."""
    if name in _LISTED:
        return _some(made, _LISTED[name].lower(), _nested(made, _LISTED[name]))
    make = _SHAPES.get(name)
    return make(made) if make else None


def _nested(made: Made, name: str) -> Schema:
    table, _, required = TABLES[name]
    return made.reference(name.lower(), lambda: made.mapping(table, name, required))


def _some(made: Made, name: str, item: Schema) -> Schema:
    return {"anyOf": [item, made.listed(name, item), {"type": "null"}]}


def _amount(made: Made) -> Schema:
    text = {"type": "string", "pattern": rf"^\s*(?:{amounts.QUANTITY})\s*$"}
    return made.reference("amount", lambda: {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, text, _TEMPLATE]})


def _labels(made: Made) -> Schema:
    return {"type": "object", "additionalProperties": dict(_TEXT)}


def _services(made: Made) -> Schema:
    return _some(made, "service", {"anyOf": [{"type": ["string", "number", "boolean"]}, _nested(made, "SERVICE")]})


def _ports(made: Made) -> Schema:
    number = made.shape(containers.PORT.keys["number"], False)
    return _some(made, "port", {"anyOf": [number, _nested(made, "PORT")]})


def _volumes(made: Made) -> Schema:
    kinds = {name: _some(made, f"{name}_volume", _kind(made, name, table)) for name, table in volumes.KINDS.items()}
    mapped = {"type": "object", "properties": kinds, "additionalProperties": dict(_TEXT)}
    one = {"anyOf": [{"type": ["string", "number", "boolean"]}, made.reference("volumes", lambda: mapped)]}
    return _some(made, "volume", one)


def _kind(made: Made, name: str, table: Table) -> Schema:
    required = ("name", "mount_path", *(("sources",) if name == "projected" else ()))
    return made.reference(f"{name}_volume", lambda: made.mapping(table, "VOLUME", required))


def _items(made: Made) -> Schema:
    one = _nested(made, "ITEM")
    return {"anyOf": [{"type": ["object", "null"], "additionalProperties": dict(_TEXT)}, made.listed("item", one)]}


_SHAPES: Final[Mapping[str, Callable[[Made], Schema]]] = {
    "amount": _amount,
    "labels": _labels,
    "services": _services,
    "ports": _ports,
    "volumes": _volumes,
    "volume_items": _items,
}
