"""One document, compiled once and rendered often: text and names in, a tree and its tokens out, every place known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from formicary.runner.core.definition import GO, NATIVE, Dialect
from formicary.runner.core.language.deferred import masked
from formicary.runner.core.language.go.template import parse as parse_go
from formicary.runner.core.language.limits import Budget, Fault
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar, Sequence, compose
from formicary.runner.core.language.run import Doubt, Run, Token
from formicary.runner.core.language.template import Template, parse

_BIG: Final = 32 * 1024
_TREES_KEPT: Final = 8
"""Parsed trees kept for each document: texts that control flow made, tokens included, seen before."""


@dataclass(frozen=True)
class Rendered:
    """A rendering as a tree. `run` is None where the text holds no template: then nothing has moved."""

    tree: Node | None
    run: Run | None

    @property
    def tokens(self) -> list[Token]:
        return [] if self.run is None else self.run.tokens

    @property
    def doubts(self) -> list[Doubt]:
        return [] if self.run is None else self.run.doubts

    def origin(self, index: int) -> int:
        return index if self.run is None or index < 0 else self.run.origin(index)


@dataclass
class Compiled:
    """One document's template, or none where the text holds no tag."""

    text: str
    dialect: Dialect
    template: Template | None
    faults: list[Fault]
    trees: dict[str, Node | None] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        return self.template.names if self.template else frozenset()

    def render(
        self,
        names: Mapping[str, Any],
        tainted: frozenset[str],
        budget: Budget,
        seed: int = 0,
        tokens: list[Token] | None = None,
    ) -> Rendered:
        """Raises Fault, with an offset of the document. New tokens come behind those that are there."""
        if self.template is None:
            return Rendered(self._tree(self.text, budget), None)
        run = Run(dict(names), tainted, budget, seed, tokens=[] if tokens is None else tokens)
        self.template.render(run)
        try:
            return Rendered(self._tree(run.text(), budget), run)
        except Fault as fault:
            fault.offset = run.origin(fault.offset) if fault.offset >= 0 else -1
            raise

    def _tree(self, text: str, budget: Budget) -> Node | None:
        known = self.trees.get(text)
        if known is not None:
            return known
        tree = compose(text, budget)
        if len(self.trees) >= (_TREES_KEPT if len(text) < _BIG else 1):
            self.trees.clear()
        self.trees[text] = tree
        return tree

    def region(self, start: int, end: int) -> int | None:
        """Where a template tag stands between two offsets of the source, or what block holds the first of them."""
        if self.template is None:
            return None
        for low, _ in self.template.tags:
            if start <= low < end:
                return low
        for low, high in self.template.blocks:
            if low < start < high:
                return low
        return None


def compile_document(text: str, dialect: Dialect = NATIVE) -> Compiled:
    if "{{" not in text and "{%" not in text:
        return Compiled(text, dialect, None, [])
    text = masked(text)
    if "{{" not in text and "{%" not in text:
        return Compiled(text, dialect, None, [])
    template, faults = parse_go(text) if dialect == GO else parse(text)
    return Compiled(text, dialect, template, faults)


def end_of(node: Node) -> int:
    """Where the last word of a node ends; the parser's own end of a block lies at the next key."""
    if isinstance(node, Sequence) and node.items:
        return max(map(end_of, node.items[-1:]))
    if isinstance(node, MappingNode) and node.pairs:
        return max(end_of(node.pairs[-1][1]), node.pairs[-1][0].end)
    return node.end if isinstance(node, Scalar) else node.start
