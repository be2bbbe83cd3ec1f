"""A table of keys: what each takes and when it is read; and how a mapping is read by it, unknown keys told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from formicary.runner.core.language.functions import nearest
from formicary.runner.core.language.nodes import Node, Scalar
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.shapes import Read


@dataclass(frozen=True)
class Key:
    """What one key takes. `shape` is a word for it, or names the table of keys within it."""

    read: Read
    shape: str
    static: bool = False
    late: bool = False
    code: bool = False
    field: str = ""
    """The field of the model, where it is called otherwise."""
    instead: str = ""
    """What to do where a tainted value may not stand, if it is not to read the variable in the script."""


#: A key of these shapes without a value says nothing; an empty list or text is a value.
ABSENT_IF_EMPTY: Final = frozenset(
    {"count", "integer", "number", "duration", "flag", "artifacts", "artifacts_when", "cache_policy", "cron_missed"}
    | {"checkout", "backoff", "method", "allow_failure", "exit_codes", "triggers", "template"}
    | {"approval_policy", "timeout_action", "sub_workflow", "fan_out"}
    | {"hook", "notify", "notify_when", "status", "retention", "secrets", "pull_request_types"}
    | {"container", "affinity", "health", "limits", "labels", "amount", "pull_policy", "medium", "protocol"}
    | {"rate_limit"}
    | {"concurrency", "resources", "reports"}
)


@dataclass(frozen=True)
class Table:
    """The keys of one mapping of the language."""

    what: str
    keys: Mapping[str, Key]
    not_yet: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    """Keys of other mappings that people mean here; only to tell what is nearest."""

    def read(self, reader: Reader, node: Node) -> dict[str, Any]:
        """The fields that could be read; whatever could not is told. Raises Unread where this is no mapping."""
        found: dict[str, Any] = {}
        for name, key, value in reader.pairs(reader.mapping(node, self.what)):
            row = self.keys.get(name)
            if row is None:
                self._refuse(reader, name, key)
                continue
            if row.shape in ABSENT_IF_EMPTY and reader.empty(value):
                continue
            try:
                found[row.field or name] = read(reader, row, value)
            except Unread:
                continue
        return found

    def _refuse(self, reader: Reader, name: str, key: Scalar) -> None:
        if key.token and reader.lenient and reader.unknown(key):
            return
        if name in self.not_yet:
            reader.tell(
                key, f"Not supported yet: `{name}` is part of the language, but not of this version", "remove it"
            )
            return
        near = nearest(name, [*self.keys, *self.not_yet, *self.elsewhere])
        keys = ", ".join(sorted(self.keys))
        reader.question(key, f"`{name[:60]}` is not a key of {self.what}", near or f"its keys are {keys}")


def read(reader: Reader, row: Key, value: Node) -> Any:
    """What the row takes. Raises Unread."""
    late, code, instead = reader.late, reader.code, reader.instead
    reader.late, reader.code, reader.instead = late or row.late, code or row.code, row.instead or instead
    try:
        return row.read(reader, value)
    finally:
        reader.late, reader.code, reader.instead = late, code, instead
