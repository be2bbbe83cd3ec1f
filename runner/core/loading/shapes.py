"""What a single value of the language may be, beyond text and numbers: names, targets, variables, schedules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from formicary.runner.core import cron
from formicary.runner.core.definition import MAX_NAME, METHODS, METHODS_NOT_YET, Target, Value
from formicary.runner.core.forked import SPELLINGS
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.loading.reader import Reader, Unread

Read = Callable[[Reader, Node], Any]
UNKNOWN: Final = "{{…}}"
"""The name of a task, at load, that is made of something not known yet."""
_EXIT_CODE: Final = re.compile(r"-?[0-9]{1,9}|SKIPPED|COMPLETED|FAILED|APPROVED|REJECTED")


@dataclass(frozen=True)
class Fits:
    """Reads a whole number between two limits."""

    low: int | None = None
    high: int | None = None

    def __call__(self, reader: Reader, node: Node) -> int:
        limits = {name: limit for name, limit in (("low", self.low), ("high", self.high)) if limit is not None}
        return reader.integer(node, **limits)


@dataclass(frozen=True)
class OneOf:
    """Reads one of some words."""

    words: tuple[str, ...]

    def __call__(self, reader: Reader, node: Node) -> str:
        return reader.choice(node, *self.words)


def fits(low: int | None = None, high: int | None = None) -> Fits:
    return Fits(low, high)


def one_of(*words: str) -> OneOf:
    return OneOf(words)


def name_of(reader: Reader, node: Node) -> str:
    text = reader.text(reader.scalar(node)).strip()
    if isinstance(node, Scalar) and node.token and reader.lenient and reader.unknown(node):
        return UNKNOWN
    if not text or reader.empty(node):
        reader.fail(node, "A name is missing here", "write a name")
    if len(text) > MAX_NAME:
        reader.fail(node, f"This name has {len(text)} characters", f"use at most {MAX_NAME}")
    return text


def target(reader: Reader, node: Node) -> Target | None:
    name = reader.known(reader.scalar(node, "the name of a task")).strip()
    if reader.empty(node) or not name:
        return None
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
    for code, key, value in reader.pairs(reader.mapping(node, "on_exit_code")):
        if not _EXIT_CODE.fullmatch(code):
            remedy = "write a number, such as `1: repair`, or `SKIPPED`"
            reader.question(key, f"`{code[:60]}` is not an exit code", remedy)
            continue
        chosen = reader.attempt(partial(target, reader, value), None)
        if chosen is not None:
            found[code] = chosen
    return found


def method(reader: Reader, node: Node) -> str:
    name = reader.known(reader.scalar(node))
    if name in SPELLINGS:
        return SPELLINGS[name]
    if name in METHODS_NOT_YET:
        reader.fail(node, f"Not supported yet: the method `{name}` is not in this version", "use SHELL")
    return reader.choice(node, *sorted(METHODS))


def texts(reader: Reader, node: Node) -> dict[str, str]:
    """A mapping of names to texts, as the environment is."""
    found: dict[str, str] = {}
    if reader.empty(node):
        return found
    reader.tainted = False
    for name, key, value in reader.pairs(reader.mapping(node)):
        if reader.tainted:
            # `environment` may set PATH and its like: whoever names a variable there runs what he wants (T7).
            reader.tell(key, "What outsiders can write may not name a variable of the environment", "use `variables`")
        try:
            found[name] = reader.string(value)
        except Unread:
            pass
        reader.tainted = False
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
            pair = {name: value for name, _, value in reader.pairs(reader.mapping(item, "a variable in a list"))}
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


def pattern(reader: Reader, node: Node) -> str:
    text = reader.string(node)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        reader.fail(
            node, "This pattern is not a valid regular expression", "escape `(`, `[`, `*` and `+` with a backslash"
        )
    return text


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
    """The dialect was chosen by the text, before anything was parsed."""
    said = reader.choice(node, "native", "go")
    if reader.go is not (said == "go"):
        remedy = "write it on a line that begins with `template:`"
        reader.fail(node, "`template` is read before anything is parsed, and here it was not seen", remedy)
    return said


def include(reader: Reader, node: Node) -> tuple[str, ...]:
    """What is included was put together before anything was parsed."""
    if not reader.empty(node) and not reader.included:
        remedy = "write it on a line that begins with `include:`"
        reader.fail(node, "`include` is read before anything is parsed, and here it was not seen", remedy)
    return ()
