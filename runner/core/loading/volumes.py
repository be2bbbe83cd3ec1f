"""What a definition says about volumes: by kind, as Kubernetes has them; `name: target` or binds, as Docker has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, get_args

from formicary.runner.core.containing import Projection, Volume, VolumeKind
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.shapes import fits, one_of
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.loading.words import Word, each, has, known, place, wrong

_INSTEAD: Final = "write it into the file; what outsiders write may not say what is mounted"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PATH: Final = re.compile(r"/[^:\x00-\x1f\x7f]{0,4095}")
_BELOW: Final = re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|\Z))[^:\x00-\x1f\x7f]{1,4095}")
NAMED: Final = "named"
name = Word(_NAME, "the name of a volume", "write letters, digits, `-`, `_` and `.`, at most 63")
path = Word(_PATH, "an absolute path", "begin it with `/`, and write no `:`", secret=True)
below = Word(_BELOW, "a path within the volume", "write it without `/` at its beginning, and without `..`", secret=True)


def volumes(reader: Reader, node: Node) -> tuple[Volume, ...]:
    """All of them. A list may hold binds, `source:target[:ro]`, and mappings."""
    found: list[Volume] = []
    for item in reader.flat(node):
        try:
            found.extend(_mapped(reader, item) if isinstance(item, MappingNode) else [_bind(reader, item)])
        except Unread:
            continue
    return tuple(found)


def _mapped(reader: Reader, node: MappingNode) -> list[Volume]:
    found: list[Volume] = []
    for text, key, value in reader.pairs(node):
        if text in KINDS:
            found.extend(each(reader, value, partial(_of_kind, text)))
            continue
        try:
            target = path(reader, value)
            found.append(Volume(kind=NAMED, name=name(reader, key), mount_path=target))
        except Unread:
            continue
    return found


def _of_kind(kind: str, reader: Reader, node: Node) -> Volume:
    table, fields = KINDS[kind], KINDS[kind].read(reader, node)
    for key in ("name", "mount_path", *(("sources",) if kind == "projected" else ())):
        if not has(node, key):
            reader.fail(node, f"{table.what[:1].upper()}{table.what[1:]} needs `{key}`", f"write `{key}: {_LIKE[key]}`")
        if key not in fields:
            raise Unread  # what is wrong with it is told, or nobody can know it yet
    if kind == "host_path":
        fields.setdefault("host_path", fields["mount_path"])
    return Volume.model_validate({"kind": kind, **fields})


def _bind(reader: Reader, node: Node) -> Volume:
    text = known(reader, node)
    source, _, rest = text.partition(":") if ":" in text else ("", "", text)
    target, _, option = rest.partition(":")
    if not _PATH.fullmatch(target) or option not in ("", "ro", "rw"):
        told = f"`{text[:60]}` is not a volume"
        wrong(reader, node, told, "write `name:/path`, `/of/the/host:/path` or `/path`, with `:ro` if only read")
    kind: VolumeKind = "empty_dir" if not source else "host_path" if source.startswith("/") else NAMED
    if kind == NAMED and not _NAME.fullmatch(source):
        told = f"`{source[:60]}` is neither the name of a volume nor an absolute path"
        wrong(reader, node, told, "write a path of the host from `/` on")
    return Volume(
        kind=kind,
        name=source if kind == NAMED else _slug(source or target),
        mount_path=target,
        read_only=option == "ro",
        host_path=source if kind == "host_path" else "",
    )


def _slug(text: str) -> str:
    """A name for what has none: the same for the same path."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[-63:].lstrip("-") or "root"


def _items(reader: Reader, node: Node) -> dict[str, str]:
    """key → path: a mapping, or a list of `{key, path}`."""
    if isinstance(node, MappingNode):
        return {key: below(reader, value) for key, _, value in reader.pairs(node)}
    listed = each(reader, node, ITEM.read)
    return {one["key"]: one["path"] for one in listed if "key" in one and "path" in one}


def _sources(reader: Reader, node: Node) -> tuple[Projection, ...]:
    found: list[Projection] = []
    for item in each(reader, node, SOURCES.read):
        found.extend(item.values())
    return tuple(found)


def _projection(kind: Any, table: Table, reader: Reader, node: Node) -> Projection:
    fields = table.read(reader, node)
    needed = "path" if kind == "service_account_token" else "name"
    if not has(node, needed):
        reader.question(node, f"A `{kind}` of a projected volume needs `{needed}`", f"write `{needed}: …`")
    return Projection(kind=kind, **fields)


_LIKE: Final = {"name": "data", "mount_path": "/data", "sources": "[{secret: {name: certs}}]"}
_flag: Final = Key(Reader.boolean, "flag")
_MOUNT: Final = {
    "name": Key(name, "text"),
    "mount_path": Key(path, "text"),
    "sub_path": Key(below, "text"),
    "read_only": _flag,
}
_ITEMS: Final = {"items": Key(_items, "volume_items")}
KINDS: Final[Mapping[str, Table]] = {
    "empty_dir": Table("an empty_dir", {**_MOUNT, "medium": Key(one_of("Memory", ""), "medium")}),
    "host_path": Table("a host_path", {**_MOUNT, "host_path": Key(path, "text")}),
    "pvc": Table("a pvc", _MOUNT),
    "config_map": Table("a config_map", {**_MOUNT, **_ITEMS}),
    "secret": Table("a secret volume", {**_MOUNT, **_ITEMS}),
    "projected": Table("a projected volume", {**_MOUNT, "sources": Key(_sources, "sources")}),
}
"""The keys of each kind."""
ITEM: Final = Table("an item", {"key": Key(Reader.string, "text"), "path": Key(below, "text")})
PROJECTED: Final = Table("a source", {"name": Key(name, "text"), **_ITEMS})
TOKEN: Final = Table(
    "a service_account_token",
    {
        "path": Key(below, "text"),
        "audience": Key(Reader.string, "text"),
        "expiration_seconds": Key(fits(600), "count"),
    },
)
SOURCES: Final = Table(
    "a source of a projected volume",
    {
        **{kind: Key(partial(_projection, kind, PROJECTED), "projection") for kind in ("secret", "config_map")},
        "service_account_token": Key(partial(_projection, "service_account_token", TOKEN), "token"),
    },
)
VOLUMES: Final = Key(volumes, "volumes", code=True, instead=_INSTEAD)
CLUSTERS: Final = frozenset({"pvc", "config_map", "secret", "projected"})
"""Kinds that Kubernetes alone has."""
assert {*KINDS, NAMED} == {*get_args(VolumeKind)}


def clashes(reader: Reader, node: Node, key: str, found: tuple[Volume, ...]) -> None:
    """Tell what cannot be mounted together in one container."""
    at: dict[str, Volume] = {}
    for one in found:
        other = at.setdefault(one.mount_path, one)
        if other is not one:
            told = f"Two volumes are mounted at `{one.mount_path[:60]}`: `{other.name[:60]}` and `{one.name[:60]}`"
            reader.tell(place(node, key), told, "give one of them another path")


def mixed(reader: Reader, node: Node, key: str, found: tuple[Volume, ...]) -> None:
    """Tell volumes of one name that are not one volume."""
    first: dict[str, Volume] = {}
    for one in found:
        other = first.setdefault(one.name, one)
        if _what(other) != _what(one):
            told = f"The volume `{one.name[:60]}` is two different ones here"
            reader.tell(place(node, key), told, "give one of them another name")


def _what(one: Volume) -> Any:
    return one.model_dump(exclude={"mount_path", "sub_path", "read_only"})
