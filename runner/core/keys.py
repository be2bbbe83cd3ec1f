"""The keys of the definition language: one row a key, with what it takes and when it is read. A JSON Schema follows it.

A row is `static` if it may hold no template, `late` if each attempt renders it again, `code` if its text is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from formicary.runner.core.definition import (
    CHECKOUT_KEYS_NOT_YET,
    JOB_KEYS_NOT_YET,
    TASK_KEYS_NOT_YET,
    TRIGGERS_NOT_YET,
    Artifacts,
    Backoff,
    Cache,
    Checkout,
    Param,
    RefFilter,
    Triggers,
)
from formicary.runner.core.language.functions import nearest
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.reader import Reader, Unread
from formicary.runner.core.shapes import (
    Read,
    allow_failure,
    cron_trigger,
    exit_codes,
    fits,
    method,
    name_of,
    names,
    one_of,
    pattern,
    target,
    template,
    texts,
    timezone,
    variables,
)


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


#: A key of these shapes without a value says nothing; an empty list or text is a value.
ABSENT_IF_EMPTY: Final = frozenset(
    {"count", "integer", "number", "duration", "flag", "artifacts", "artifacts_when", "cache_policy", "cron_missed"}
    | {"checkout", "backoff", "method", "allow_failure", "exit_codes", "triggers", "template"}
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
        reader.tell(key, f"`{name[:60]}` is not a key of {self.what}", near or f"its keys are {keys}")


def read(reader: Reader, row: Key, value: Node) -> Any:
    late, code = reader.late, reader.code
    reader.late, reader.code = late or row.late, code or row.code
    try:
        return row.read(reader, value)
    finally:
        reader.late, reader.code = late, code


def checkout(reader: Reader, node: Node) -> Checkout:
    if isinstance(node, Scalar):
        return Checkout(enabled=reader.boolean(node))
    return Checkout(**CHECKOUT.read(reader, node))


def caches(reader: Reader, node: Node) -> tuple[Cache, ...]:
    items = node.items if isinstance(node, Sequence) else [] if reader.empty(node) else [node]
    found = []
    for item in items:
        fields = CACHE.read(reader, item)
        if "paths" not in fields:
            reader.tell(item, "A cache needs `paths`", "say which files to keep, such as `paths: [.npm]`")
        found.append(Cache(**fields))
    return tuple(found)


def params(reader: Reader, node: Node) -> dict[str, Param]:
    found: dict[str, Param] = {}
    if reader.empty(node):
        return found
    for name, key, value in reader.pairs(reader.mapping(node, "params")):
        nothing: dict[str, Any] = {}
        fields = reader.attempt(partial(_param, reader, value), nothing)
        if fields.get("secret") and fields.get("default") is not None:
            reader.tell(
                key, f"The secret parameter `{name[:60]}` cannot have a default", "who reads this file would know it"
            )
        found[name] = Param(**fields)
    return found


def _param(reader: Reader, node: Node) -> dict[str, Any]:
    return {} if reader.empty(node) else PARAM.read(reader, node)


def triggers(reader: Reader, node: Node) -> Triggers:
    """A mapping, or a list of mappings of one key each."""
    found: dict[str, Any] = {}
    for item in reader.flat(node):
        if isinstance(item, Scalar):
            reader.tell(item, "A trigger is a key with its filter", f"write `{item.text[:30] or 'push'}: {{}}`")
            continue
        again = TRIGGERS.read(reader, item)
        for name in found.keys() & again.keys():
            reader.tell(item, f"The trigger `{name}` is there twice", "write one filter that says both")
        found |= again
    return Triggers(**found)


def ref_filter(reader: Reader, node: Node) -> RefFilter:
    return RefFilter() if reader.empty(node) else RefFilter(**REF_FILTER.read(reader, node))


def _model(model: Callable[..., Any], table: Callable[[], Table]) -> Read:
    return lambda reader, node: model(**table().read(reader, node))


text, strings, flag, duration = Reader.string, Reader.strings, Reader.boolean, Reader.duration
_COUNT: Final = Key(fits(0, 1000), "count")

REF_FILTER: Final = Table(
    "a trigger",
    {name: Key(strings, "texts") for name in ("branches", "tags", "paths", "paths_ignore")}
    | {"every_commit": Key(flag, "flag")},
)
TRIGGERS: Final = Table(
    "triggers",
    {"commit": Key(ref_filter, "ref_filter"), "push": Key(ref_filter, "ref_filter")},
    TRIGGERS_NOT_YET,
)
PARAM: Final = Table(
    "a parameter",
    {
        "description": Key(text, "text"),
        "default": Key(Reader.value, "value"),
        "enum": Key(strings, "texts"),
        "pattern": Key(pattern, "text"),
        "secret": Key(flag, "flag"),
    },
)
BACKOFF: Final = Table(
    "retry_backoff_policy",
    {
        "min": Key(duration, "duration"),
        "max": Key(duration, "duration"),
        "factor": Key(lambda reader, node: reader.number(node, 1.0), "number"),
        "jitter": Key(Reader.number, "number"),
    },
)
ARTIFACTS: Final = Table(
    "artifacts",
    {
        "paths": Key(strings, "texts"),
        "exclude": Key(strings, "texts"),
        "when": Key(one_of("always", "onSuccess", "onFailure"), "artifacts_when"),
        "expires_after": Key(duration, "duration"),
    },
)
CACHE: Final = Table(
    "a cache",
    {
        "key": Key(text, "text", code=True),
        "key_paths": Key(strings, "texts", code=True),
        "paths": Key(strings, "texts"),
        "fallback_keys": Key(strings, "texts", code=True),
        "expires_after": Key(duration, "duration"),
        "policy": Key(one_of("pull-push", "pull", "push"), "cache_policy"),
    },
)
CHECKOUT: Final = Table("checkout", {"depth": _COUNT}, CHECKOUT_KEYS_NOT_YET)

#: Keys of a task that may stand on the job too, as defaults for its tasks.
DEFAULTS: Final[Mapping[str, Key]] = {
    "tags": Key(strings, "texts", code=True),
    "environment": Key(texts, "environment", late=True),
    "before_script": Key(strings, "texts", late=True, code=True),
    "after_script": Key(strings, "texts", late=True, code=True),
    "cache": Key(caches, "caches", late=True),
    "working_dir": Key(text, "text", late=True, code=True),
    "method": Key(method, "method"),
}
RETRIES: Final[Mapping[str, Key]] = {
    "retry": _COUNT,
    "delay_between_retries": Key(duration, "duration"),
    "retry_backoff_policy": Key(_model(Backoff, lambda: BACKOFF), "backoff"),
}
TASK: Final = Table(
    "a task",
    {
        "task_type": Key(name_of, "name"),
        "description": Key(text, "text", late=True),
        "on_completed": Key(target, "target"),
        "on_failed": Key(target, "target"),
        "on_exit_code": Key(exit_codes, "exit_codes"),
        "needs": Key(names, "texts"),
        "dependencies": Key(names, "texts"),
        "except": Key(text, "text", late=True, field="except_"),
        "script": Key(strings, "texts", late=True, code=True),
        "shell": Key(strings, "texts", late=True, code=True),
        "variables": Key(variables, "variables", late=True),
        "checkout": Key(checkout, "checkout", late=True),
        "timeout": Key(duration, "duration"),
        "allow_failure": Key(allow_failure, "allow_failure"),
        "allow_start_if_completed": Key(flag, "flag"),
        "always_run": Key(flag, "flag"),
        "artifacts": Key(_model(Artifacts, lambda: ARTIFACTS), "artifacts", late=True),
        **DEFAULTS,
        **RETRIES,
    },
    TASK_KEYS_NOT_YET,
)
JOB: Final = Table(
    "a job",
    {
        "job_type": Key(name_of, "name", static=True),
        "description": Key(text, "text"),
        "url": Key(text, "text"),
        "platform": Key(text, "text", code=True),
        "template": Key(template, "template", static=True),
        "triggers": Key(triggers, "triggers", static=True),
        "cron_trigger": Key(cron_trigger, "text", static=True),
        "timezone": Key(timezone, "text", static=True),
        "cron_missed": Key(one_of("latest", "all", "none"), "cron_missed"),
        "params": Key(params, "params", static=True),
        "required_params": Key(strings, "texts", static=True),
        "job_variables": Key(variables, "variables"),
        "skip_if": Key(text, "text"),
        "max_concurrency": Key(fits(1), "count"),
        "priority": Key(fits(), "integer"),
        "timeout": Key(duration, "duration"),
        **RETRIES,
    },
    JOB_KEYS_NOT_YET,
)
