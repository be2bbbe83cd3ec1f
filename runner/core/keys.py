"""The keys of the definition language: one row a key, with what it takes and when it is read. A JSON Schema follows it.

A row is `static` if it may hold no template, `late` if each attempt renders it again, `code` if its text is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from formicary.runner.core import cron
from formicary.runner.core.definition import (
    CHECKOUT_KEYS_NOT_YET,
    JOB_KEYS_NOT_YET,
    MAX_NAME,
    METHODS,
    METHODS_NOT_YET,
    TASK_KEYS_NOT_YET,
    TRIGGERS_NOT_YET,
    WORDS_NOT_YET,
    Artifacts,
    Backoff,
    Cache,
    Checkout,
    Param,
    RefFilter,
    Target,
    Triggers,
    Value,
)
from formicary.runner.core.language.expressions import nearest
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.reader import Reader, Unread

Read = Callable[[Reader, Node], Any]


@dataclass(frozen=True)
class Key:
    """What one key takes. `shape` is a word of SHAPES, or names a table of keys within it."""

    read: Read
    shape: str
    static: bool = False
    late: bool = False
    code: bool = False
    field: str = ""
    """The field of the model, where it is called otherwise."""


@dataclass(frozen=True)
class Table:
    """The keys of one mapping of the language."""

    what: str
    keys: Mapping[str, Key]
    not_yet: frozenset[str] = frozenset()

    def read(self, reader: Reader, node: Node) -> dict[str, Any]:
        """The fields that could be read; whatever could not is told. Raises Unread where this is no mapping."""
        found: dict[str, Any] = {}
        for name, key, value in reader.pairs(reader.mapping(node, f"{self.what} (`key: value`)")):
            row = self.keys.get(name)
            if row is None:
                self._refuse(reader, name, key)
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
        near = nearest(name, [*self.keys, *self.not_yet])
        keys = ", ".join(sorted(self.keys))
        reader.tell(key, f"`{name[:60]}` is not a key of {self.what}", near or f"its keys are {keys}")


def read(reader: Reader, row: Key, value: Node) -> Any:
    late, code = reader.late, reader.code
    reader.late, reader.code = late or row.late, code or row.code
    try:
        return row.read(reader, value)
    finally:
        reader.late, reader.code = late, code


def fits(low: int | None = None, high: int | None = None) -> Read:
    limits = {name: limit for name, limit in (("low", low), ("high", high)) if limit is not None}
    return lambda reader, node: reader.integer(node, **limits)


def one_of(*words: str) -> Read:
    return lambda reader, node: reader.choice(node, *words)


def name_of(reader: Reader, node: Node) -> str:
    text = reader.text(reader.scalar(node)).strip()
    if reader.empty(node) or (not text and not (isinstance(node, Scalar) and node.token)):
        reader.fail(node, "A name is missing here", "write a name")
    if len(text) > MAX_NAME:
        reader.fail(node, f"This name has {len(text)} characters", f"use at most {MAX_NAME}")
    return text


def target(reader: Reader, node: Node) -> Target | None:
    name = reader.known(reader.scalar(node, "the name of a task")).strip()
    if reader.empty(node) or not name:
        return None
    if name in WORDS_NOT_YET:
        reader.fail(
            node, f"Not supported yet: `{name}` is part of the language, but not of this version", "name a task"
        )
    return Target(name=name)


def names(reader: Reader, node: Node) -> tuple[str, ...]:
    """Names of tasks; one that is not known yet is left out."""
    found: list[str] = []
    nothing: tuple[str, ...] = ()
    for item in reader.flat(node):
        if isinstance(item, Scalar) and item.token and reader.lenient and reader.unknown(item):
            continue
        found.extend(reader.attempt(partial(reader.strings, item), nothing))
    return tuple(name for name in found if name)


def exit_codes(reader: Reader, node: Node) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for code, key, value in reader.pairs(reader.mapping(node, "a mapping of exit codes to tasks")):
        if not code.lstrip("-").isdigit() and code not in ("SKIPPED", "COMPLETED", "FAILED"):
            reader.tell(key, f"`{code[:60]}` is not an exit code", "write a number, such as `1: repair`, or `SKIPPED`")
            continue
        chosen = reader.attempt(partial(target, reader, value), None)
        if chosen is not None:
            found[code] = chosen
    return found


def method(reader: Reader, node: Node) -> str:
    name = reader.known(reader.scalar(node))
    if name in METHODS_NOT_YET:
        reader.fail(node, f"Not supported yet: the method `{name}` is not in this version", "use SHELL")
    return reader.choice(node, *sorted(METHODS))


def texts(reader: Reader, node: Node) -> dict[str, str]:
    """A mapping of names to texts, as the environment is."""
    found: dict[str, str] = {}
    if reader.empty(node):
        return found
    for name, _, value in reader.pairs(reader.mapping(node)):
        try:
            found[name] = reader.string(value)
        except Unread:
            continue
    return found


def variables(reader: Reader, node: Node) -> tuple[dict[str, Value], frozenset[str]]:
    """Values by name, written as a mapping or as a list of {name, value}; and which of them are tainted."""
    found: dict[str, Value] = {}
    tainted = set()
    for name, name_tainted, value in _named(reader, node):
        reader.tainted = name_tainted
        try:
            found[name] = reader.value(value)
        except Unread:
            continue
        if reader.tainted:
            tainted.add(name)
    return found, frozenset(tainted)


def _named(reader: Reader, node: Node) -> list[tuple[str, bool, Node]]:
    if reader.empty(node):
        return []
    found = []
    if isinstance(node, Sequence):
        for item in reader.flat(node):
            pair = {name: value for name, _, value in reader.pairs(reader.mapping(item, "`{name: …, value: …}`"))}
            if set(pair) != {"name", "value"}:
                reader.tell(item, "A variable in a list has a name and a value", "write `- {name: X, value: 1}`")
                continue
            reader.tainted = False
            name = reader.string(pair["name"])
            found.append((name, reader.tainted, pair["value"]))
        return found
    reader.tainted = False
    for name, _, value in reader.pairs(reader.mapping(node)):
        found.append((name, reader.tainted, value))
        reader.tainted = False
    return found


def allow_failure(reader: Reader, node: Node) -> bool | tuple[int, ...]:
    if isinstance(node, Scalar) and not reader.text(node).lstrip("-").isdigit():
        return reader.boolean(node)
    return tuple(reader.integer(item) for item in reader.flat(node))


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
            reader.tell(item, "A cache needs `paths`", "say which files to keep, such as `paths: [node_modules]`")
        found.append(Cache(**fields))
    return tuple(found)


def params(reader: Reader, node: Node) -> dict[str, Param]:
    found: dict[str, Param] = {}
    if reader.empty(node):
        return found
    for name, key, value in reader.pairs(reader.mapping(node, "a mapping of parameters")):
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


def pattern(reader: Reader, node: Node) -> str:
    text = reader.string(node)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        reader.fail(
            node, "This pattern is not a valid regular expression", "escape `(`, `[`, `*` and `+` with a backslash"
        )
    return text


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


def cron_trigger(reader: Reader, node: Node) -> str:
    text = reader.string(node)
    if len(text) > MAX_NAME:
        reader.fail(node, f"This schedule has {len(text)} characters", f"use at most {MAX_NAME}")
    if text and (why := cron.validate(text, "UTC")):
        reader.fail(node, why, "five fields, such as `0 3 * * *` for every night at three")
    return text


def timezone(reader: Reader, node: Node) -> str:
    text = reader.string(node)
    why = cron.validate("0 0 * * *", text[:MAX_NAME]) if text else None
    if why:
        reader.fail(node, why, "write a name such as `Europe/Berlin` or `UTC`")
    return text or "UTC"


def template(reader: Reader, node: Node) -> str:
    if reader.string(node) == "go":
        reader.fail(node, "Not supported yet: `template: go` is not in this version", "write the file in native style")
    return reader.choice(node, "native", "go")


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
        "report_stdout": Key(flag, "flag", late=True),
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
