"""A document and the fragments that it includes, read as one: their keys are defaults under its own, places stay true.

Every part is a template and a text of its own, so that nothing opened in one can be closed in another. Offsets of the
source go on from the document into its fragments; indexes of the rendered parts begin a `SPACE` apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from formicary.runner.core.language.limits import MAX_NODES, MAX_TAGS, Budget, Fault, TooMuch
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.language.render import Compiled, Rendered
from formicary.runner.core.language.run import Doubt, Expression, Run, Token
from formicary.runner.core.language.template import Template

SPACE: Final = 1 << 24
_OF_THE_JOB: Final = frozenset({"job_type", "include", "template"})


@dataclass(frozen=True)
class Part:
    """The document itself (its path is empty), or a fragment; `base` is where it begins in the offsets of all."""

    path: str
    base: int
    compiled: Compiled


@dataclass
class Joined(Compiled):
    """Behaves as one compiled document."""

    parts: tuple[Part, ...] = ()
    last: tuple[list[Node | None], Node | None] = field(default_factory=lambda: ([], None))

    def part_of(self, offset: int) -> Part:
        return next(part for part in reversed(self.parts) if part.base <= max(offset, 0))

    def render(
        self,
        names: Mapping[str, Any],
        tainted: frozenset[str],
        budget: Budget,
        seed: int = 0,
        tokens: list[Token] | None = None,
    ) -> Rendered:
        run = Run({}, tainted, budget, seed)
        trees = []
        for number, part in enumerate(self.parts):
            before = len(run.tokens)
            try:
                one = part.compiled.render(names, tainted, budget, seed + number, run.tokens)
            except Fault as fault:
                raise _moved(fault, part.base) or fault from None
            _take(run, one, part, number * SPACE, before)
            trees.append(one.tree)
        return Rendered(self._merged(run, trees, budget), run)

    def _merged(self, run: Run, trees: list[Node | None], budget: Budget) -> Node | None:
        known, merged = self.last
        if len(known) == len(trees) and all(one is other for one, other in zip(known, trees, strict=True)):
            return merged
        merged = trees[0]
        for number in reversed(range(1, len(trees))):
            fragment = _shifted(trees[number], number * SPACE, budget, {})
            if fragment is not None:
                _check(run, fragment)
                merged = _over(merged, fragment)
        self.last = trees, merged
        return merged


def join(own: Compiled, fragments: Iterable[tuple[str, Compiled]]) -> Joined:
    """The document with its fragments, in their order: later ones win over earlier ones, and it over all."""
    parts, base = [Part("", 0, own)], len(own.text) + 1
    for path, compiled in fragments:
        parts.append(Part(path, base, compiled))
        base += len(compiled.text) + 1
    text = "\n".join(part.compiled.text for part in parts)
    faults = [_moved(fault, part.base) or fault for part in parts for fault in part.compiled.faults]
    if any(part.compiled.template is None and part.compiled.faults for part in parts):
        template = None
    else:
        template = _template(parts)
    if template is not None and len(template.tags) > MAX_TAGS:
        faults.append(Fault(0, f"The file and its fragments hold more than {MAX_TAGS:,} template tags", "write fewer"))
        template = None
    return Joined(text, own.dialect, template, faults, parts=tuple(parts))


def _template(parts: Iterable[Part]) -> Template | None:
    """Where the tags and blocks of all parts stand; each part is rendered by its own."""
    there = [(part.base, part.compiled.template) for part in parts if part.compiled.template is not None]
    if not there:
        return None
    return Template(
        (),
        frozenset().union(*(one.names for _, one in there)),
        tuple((low + base, high + base) for base, one in there for low, high in one.tags),
        tuple((low + base, high + base) for base, one in there for low, high in one.blocks),
    )


def _take(run: Run, one: Rendered, part: Part, start: int, before: int) -> None:
    """Add a rendering to that of all, at its place."""
    if one.run is None:
        pieces = [(part.compiled.text, 0, 0)]
    else:
        pieces = list(zip(one.run.parts, one.run.starts, one.run.offsets, strict=True))
    for text, index, offset in pieces:
        run.parts.append(text)
        run.starts.append(start + index)
        run.offsets.append(part.base + offset)
    if not part.base or one.run is None:
        run.doubts += one.doubts
        return
    known: dict[int, Expression] = {}
    for at in range(before, len(run.tokens)):
        token = run.tokens[at]
        about = known.setdefault(id(token.about), replace(token.about, offset=token.about.offset + part.base))
        run.tokens[at] = replace(token, about=about, fault=_moved(token.fault, part.base))
    for doubt in one.doubts:
        about = replace(doubt.about, offset=doubt.about.offset + part.base)
        run.doubts.append(Doubt(doubt.index + start, about, doubt.missing, _moved(doubt.fault, part.base)))


def _moved(fault: Fault | None, base: int) -> Fault | None:
    if fault is None or not base:
        return fault
    return type(fault)(max(fault.offset, 0) + base, fault.message, fault.expected)


def _check(run: Run, fragment: Node) -> None:
    if not isinstance(fragment, MappingNode):
        raise Fault(run.origin(fragment.start), "A fragment is a mapping of keys", "write `key: value`")
    for key, _ in fragment.pairs:
        if key.text in _OF_THE_JOB:
            told = f"`{key.text}` may not stand in a fragment"
            raise Fault(run.origin(key.start), told, "say it in the job that includes this file")


def _shifted(node: Node | None, by: int, budget: Budget, seen: dict[int, Node]) -> Node | None:
    """The tree with its places moved; what an anchor shares stays shared."""
    if node is None or id(node) in seen:
        return None if node is None else seen[id(node)]
    budget.nodes -= 1
    if budget.nodes < 0:
        told = f"The file and its fragments hold more than {MAX_NODES:,} values"
        raise TooMuch(-1, told, "split the job, or include less")
    if isinstance(node, Scalar):
        moved: Node = Scalar(node.text, node.plain, node.start + by, node.end + by, node.token)
    elif isinstance(node, Sequence):
        moved = Sequence(node.start + by, node.end + by, [_moved_node(item, by, budget, seen) for item in node.items])
    else:
        moved = MappingNode(node.start + by, node.end + by)
        for key, value in node.pairs:
            own = Scalar(key.text, key.plain, key.start + by, key.end + by, key.token)
            moved.pairs.append((own, _moved_node(value, by, budget, seen)))
    seen[id(node)] = moved
    return moved


def _moved_node(node: Node, by: int, budget: Budget, seen: dict[int, Node]) -> Node:
    return _shifted(node, by, budget, seen) or node


def _over(own: Node | None, default: Node) -> Node:
    """Mappings are merged, key by key and into the depth; of anything else the own one counts."""
    if own is None:
        return default
    if not isinstance(own, MappingNode) or not isinstance(default, MappingNode):
        return own
    below = {key.text: value for key, value in default.pairs}
    pairs = [(key, _over(value, below.pop(key.text)) if key.text in below else value) for key, value in own.pairs]
    pairs += [(key, value) for key, value in default.pairs if key.text in below]
    return MappingNode(own.start, own.end, pairs)
