"""Values that have to look like something: one that no attempt could use is told with its place, where it is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar
from formicary.runner.core.loading.outward import opaque
from formicary.runner.core.loading.reader import Reader, Unread, When

_T = TypeVar("_T")


@dataclass(frozen=True)
class Word:
    """Reads a text that matches `look` whole. `secret`: part of it may come from one, which counts as a letter."""

    look: re.Pattern[str]
    what: str
    remedy: str
    secret: bool = False

    def __call__(self, reader: Reader, node: Node) -> str:
        text = known(reader, node)
        if not self.look.fullmatch(opaque(text) if self.secret else text):
            wrong(reader, node, f"`{opaque(text)[:60]}` is not {self.what}", self.remedy)
        return text


def known(reader: Reader, node: Node) -> str:
    """The text, where all that it is made of is known by now. Raises Unread."""
    scalar = reader.scalar(node)
    if not reader.settled(scalar):
        raise Unread
    return reader.string(scalar).strip()


def wrong(reader: Reader, node: Node, message: str, expected: str) -> NoReturn:
    """Tell it, but of a value that the attempt renders again: then it is the task that fails, and not the job."""
    if not (reader.when is When.PLAN and reader.late and isinstance(node, Scalar) and node.token):
        reader.tell(node, message, expected)
    raise Unread


def each(reader: Reader, node: Node, read: Callable[[Reader, Node], _T]) -> tuple[_T, ...]:
    """What `read` makes of the items of a list; what could not be read is left out."""
    return tuple(_each(reader, node, read))


def _each(reader: Reader, node: Node, read: Callable[[Reader, Node], _T]) -> Iterator[_T]:
    for item in reader.flat(node):
        try:
            yield read(reader, item)
        except Unread:
            continue


def has(node: Node, key: str) -> bool:
    """Whether this key is written there."""
    return isinstance(node, MappingNode) and any(name.text == key for name, _ in node.pairs)


def place(node: Node, key: str) -> Node:
    """Where this key stands, or the mapping itself."""
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return next((name for name, _ in pairs if name.text == key), node)


def value_of(node: Node | None, key: str) -> Node | None:
    """What stands under this key."""
    if not isinstance(node, MappingNode):
        return None
    return next((value for name, value in node.pairs if name.text == key), None)
