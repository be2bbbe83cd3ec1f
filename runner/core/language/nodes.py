"""YAML as a tree with places: own composer over the parser's events, YAML 1.2 core schema, all caps counted on events.

Anchors share nodes; what an alias stands for counts each time, so that no small file unfolds into a big one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from formicary.runner.core.language.limits import (
    MAX_DEPTH,
    MAX_NODES,
    RESERVED_FIRST,
    RESERVED_LAST,
    TOKEN_OPEN,
    Budget,
    Fault,
    TooMuch,
)

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}\Z")
_BASED: Final = re.compile(r"0o[0-7]{1,20}\Z|0x[0-9a-fA-F]{1,15}\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?\Z")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_STR_TAG: Final = "tag:yaml.org,2002:str"
_RESERVED: Final = re.compile(f"[\x00{RESERVED_FIRST}-{RESERVED_LAST}]")


@dataclass(slots=True, eq=False)
class Scalar:
    text: str
    plain: bool
    start: int
    end: int
    token: bool = False
    """Whether the text holds tokens."""


@dataclass(slots=True, eq=False)
class Sequence:
    start: int
    end: int = 0
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapping:
    start: int
    end: int = 0
    pairs: list[tuple[Scalar, Node]] = field(default_factory=list)


Node = Scalar | Sequence | Mapping


def resolve(text: str) -> str | int | float | bool | None:
    """The type that a plain scalar has in YAML 1.2's core schema. Infinity and NaN stay text: JSON knows neither."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first.isdigit() or first in "+-."):
        return text
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def compose(text: str, budget: Budget) -> Node | None:
    """The tree of one document; None if it is empty. Raises Fault with an offset of `text`."""
    events = yaml.parse(text, Loader=_LOADER)
    try:
        return _Composer(text, events, budget).document()
    except yaml.YAMLError as error:
        raise _told(error, text) from None


class _Composer:
    """Own recursion of at most MAX_DEPTH: the library's composer crashes on deep nesting."""

    def __init__(self, text: str, events: Iterator[Any], budget: Budget) -> None:
        self.text = text
        self.events = events
        self.budget = budget
        self.nodes = 0
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.open: set[str] = set()

    def document(self) -> Node | None:
        found: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found is not None:
                    raise Fault(_at(event), "A second document begins here", "put `---` on a line of its own")
                found, _ = self.node(next(self.events), 1)
        return found

    def node(self, event: Any, depth: int) -> tuple[Node, int]:
        """The node that begins with `event`, and its height."""
        start: int = event.start_mark.index
        if type(event) is yaml.ScalarEvent and event.anchor is None and event.tag is None and depth <= MAX_DEPTH:
            self.count(start, 1)
            return self.scalar(event, start), 1
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor or "", start, depth)
        if depth > MAX_DEPTH:
            raise TooMuch(start, f"This is nested more than {MAX_DEPTH} deep", "flatten it")
        self.count(start, 1)
        if event.tag is not None and event.tag not in _TAGS and event.tag != "!":
            raise Fault(start, f"The tag `{_shown(event.tag)}` is not allowed", "write the value without a tag")
        before = self.nodes
        if event.anchor is not None:
            self.open.add(event.anchor)
        node, height = self.content(event, start, depth)
        if event.anchor is not None:
            self.open.discard(event.anchor)
            self.anchors[event.anchor] = node, self.nodes - before + 1, height
        return node, height

    def content(self, event: Any, start: int, depth: int) -> tuple[Node, int]:
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, start), 1
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(Sequence(start), depth)
        return self.mapping(Mapping(start), depth)

    def count(self, start: int, size: int) -> None:
        self.nodes += size
        self.budget.nodes -= size
        if self.nodes > MAX_NODES or self.budget.nodes < 0:
            raise TooMuch(
                start, f"The file holds more than {MAX_NODES:,} values", "split the job, or use fewer aliases"
            )

    def alias(self, name: str, start: int, depth: int) -> tuple[Node, int]:
        if name not in self.anchors:
            why = "refers to itself" if name in self.open else "has no anchor before it"
            raise Fault(start, f"The alias `*{_shown(name)}` {why}", f"define `&{_shown(name)}` earlier in this file")
        node, size, height = self.anchors[name]
        self.count(start, size)
        if depth + height - 1 > MAX_DEPTH:
            raise TooMuch(start, f"This is nested more than {MAX_DEPTH} deep", "flatten it")
        return node, height

    def scalar(self, event: Any, start: int) -> Scalar:
        text: str = event.value
        end = event.end_mark.index
        if not text.isascii() or "\0" in text:
            self.check(event, text, start, end)
        plain = bool(event.implicit[0]) and event.style in (None, "") and event.tag != _STR_TAG
        return Scalar(text, plain, start, end, TOKEN_OPEN in text)

    def check(self, event: Any, text: str, start: int, end: int) -> None:
        """An escape (`\\U0010F000`, `\\0`) may not make what the file may not hold: it would pass for a token."""
        if event.style == '"' and len(_RESERVED.findall(text)) != len(_RESERVED.findall(self.text[start:end])):
            raise Fault(start, "This text holds an escape for a NUL or a reserved character", "leave the character out")

    def sequence(self, node: Sequence, depth: int) -> tuple[Node, int]:
        height = 0
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                node.end = _at(event, end=True)
                break
            item, high = self.node(event, depth + 1)
            node.items.append(item)
            height = max(height, high)
        return node, height + 1

    def mapping(self, node: Mapping, depth: int) -> tuple[Node, int]:
        height = 0
        merged: list[tuple[Scalar, Node]] = []
        seen: set[str] = set()
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                node.end = _at(event, end=True)
                break
            key, _ = self.node(event, depth + 1)
            value, high = self.node(next(self.events), depth + 1)
            height = max(height, high)
            self.pair(node, merged, seen, key, value)
        if merged:
            node.pairs = _under(merged, node.pairs)
        return node, height + 1

    def pair(self, node: Mapping, merged: list[Any], seen: set[str], key: Node, value: Node) -> None:
        if not isinstance(key, Scalar):
            raise Fault(key.start, "A key must be a text", "quote it if it begins with `[` or `{`")
        if key.plain and key.text == "<<":
            merged.extend(_merge(value))
            return
        if key.text in seen:
            raise Fault(key.start, f"The key `{_shown(key.text)}` is there twice", "remove one of the two")
        seen.add(key.text)
        node.pairs.append((key, value))


def _at(event: Any, *, end: bool = False) -> int:
    return int((event.end_mark if end else event.start_mark).index)


def _merge(value: Node) -> list[tuple[Scalar, Node]]:
    """The pairs that `<<` brings; of several mappings the first one wins."""
    sources = value.items if isinstance(value, Sequence) else [value]
    pairs: list[tuple[Scalar, Node]] = []
    for source in reversed(sources):
        if not isinstance(source, Mapping):
            raise Fault(value.start, "`<<` takes a mapping or a list of mappings", "refer to one with `*name`")
        pairs.extend(source.pairs)
    return pairs


def _under(merged: list[tuple[Scalar, Node]], own: list[tuple[Scalar, Node]]) -> list[tuple[Scalar, Node]]:
    by_key = {key.text: (key, value) for key, value in merged}
    by_key.update({key.text: (key, value) for key, value in own})
    return list(by_key.values())


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"


#: What the parser says, and what a user does about it.
_REMEDIES: Final = (
    (
        "mapping values are not allowed",
        "A `:` cannot stand here",
        "quote the text that holds `: `, or check the indentation",
    ),
    ("tab character", "A tab cannot indent", "indent with spaces"),
    (
        "cannot start any token",
        "This character cannot begin a value",
        "quote the text; indent with spaces and not with tabs",
    ),
    ("did not find expected key", "The indentation or a quote does not fit here", "line it up with the keys around it"),
    ("could not find expected ':'", "A `:` is missing after this key", "write `key: value`"),
    ("unexpected end of stream", "A quote or bracket is not closed", "close what was opened here"),
    (
        "did not find expected ',' or",
        "A list or mapping in brackets is not closed",
        "close it, or add the missing comma",
    ),
    (
        "did not find expected '-' indicator",
        "A list item was expected here",
        "begin the line with `- ` at the list's indentation",
    ),
    ("block sequence entries are not allowed", "A list item cannot stand here", "put the list on lines of its own"),
    ("did not find expected <document start>", "Something follows the end of the document", "check the indentation"),
)


def _told(error: yaml.YAMLError, text: str) -> Fault:
    problem = str(getattr(error, "problem", None) or error)
    mark = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    index = -1 if mark is None else mark.index
    if 0 <= index < len(text) and text[index] == "\t":
        problem = "tab character"
    for words, message, remedy in _REMEDIES:
        if words in problem:
            if words == "unexpected end of stream" and context is not None:
                index = context.index
            return Fault(index, f"This is not valid YAML: {message}", remedy)
    return Fault(index, f"This is not valid YAML: {problem.splitlines()[0]}", "check indentation, quotes and brackets")
