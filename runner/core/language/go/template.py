"""A Go template checked against the list of what may be written, and made into the same closures as a native one.

Every output becomes an opaque token; control flow sees the real value. What the language does not name is refused at
its place, all of it at once. A file in native style is told so with one sentence: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.language.functions import kind
from formicary.runner.core.language.go.calls import Unreadable, Value
from formicary.runner.core.language.go.functions import NAMES
from formicary.runner.core.language.go.lex import KEYWORDS, OPENERS, Action, Piece, Text, lex
from formicary.runner.core.language.go.pipelines import Pipelines, Scope
from formicary.runner.core.language.limits import MAX_DEPTH, Fault, TooMuch
from formicary.runner.core.language.loops import Step
from formicary.runner.core.language.run import UNDEFINED, Doubt, Expression, Run
from formicary.runner.core.language.template import Template

_MAX_FAULTS: Final = 10
_NO_NAMES: Final[frozenset[str]] = frozenset()
_STATEMENT: Final = re.compile(r"\{%[-+]?\s{0,9}(?:if|elif|else|endif|for|endfor|raw|endraw|set)\b[^\n]{0,60}")
_NAME: Final = re.compile(r"\{\{-?\s{0,9}([A-Za-z_]\w*)(?:[.\[(]|\s{0,9}(?:[|~+]|-?\}\}|==|!=))")
_NATIVE_TOO: Final = frozenset({"true", "false", "nil"})


def parse(source: str) -> tuple[Template | None, list[Fault]]:
    """The template in `source`, and everything that is wrong in it; None only if nothing of it can be used."""
    try:
        pieces = lex(source)
        if native := _native(source, pieces):
            return None, [native]
        builder = _Builder(source, pieces)
        steps = builder.document()
    except Fault as fault:
        return None, [fault]
    tags = tuple((piece.start, piece.end) for piece in pieces if isinstance(piece, Action))
    template = Template(tuple(steps), frozenset(builder.names), tags, tuple(builder.blocks))
    return template, builder.faults[:_MAX_FAULTS]


def _native(source: str, pieces: Sequence[Piece]) -> Fault | None:
    """What a file in native style says of itself."""
    for piece in pieces:
        if isinstance(piece, Text):
            found = _STATEMENT.search(source, piece.start, piece.end)
        else:
            found = _NAME.match(source, piece.start)
            found = None if found and found[1] in NAMES | KEYWORDS | _NATIVE_TOO else found
        if found is not None:
            return Fault(
                found.start(),
                f"This file looks like native templates (`{_whole_tag(source, found.start())}`), not like Go's",
                "write `template: native` on the job to keep them, `{{.Name}}` in Go's style, "
                '`{{"{%"}}` for literal text',
            )
    return None


def _whole_tag(source: str, start: int) -> str:
    ends = [end + 2 for end in (source.find("}}", start), source.find("%}", start)) if start < end < start + 60]
    return source[start : min(ends) if ends else start + 20].split("\n")[0]


@dataclass(frozen=True, slots=True)
class _Head:
    """The pipeline of an action (None: it cannot be read), the names it uses and the variables it makes."""

    value: Value | None
    about: Expression
    names: frozenset[str]
    made: list[str]


class _Builder:
    """Walks over texts and actions; blocks by recursion, of which there is a limit."""

    def __init__(self, source: str, pieces: Sequence[Piece]) -> None:
        self.source = source
        self.pieces = pieces
        self.at = 0
        self.read = 0
        """Words and signs read so far: what a loop's body costs."""
        self.names: set[str] = set()
        self.blocks: list[tuple[int, int]] = []
        self.faults: list[Fault] = []

    def document(self) -> list[Step]:
        steps: list[Step] = []
        while True:
            more, stopped = self.body(Scope(), 0)
            steps += more
            if stopped is None:
                return steps
            self.tell(stopped.start, f"`{{{{{stopped.keyword}}}}}` stands outside of any block", "remove it")

    def tell(self, offset: int, message: str, expected: str) -> None:
        self.faults.append(Fault(offset, message, expected))

    def body(self, scope: Scope, depth: int) -> tuple[list[Step], Action | None]:
        """The steps up to an `else` or `end`, and that one; None at the end of the source."""
        steps: list[Step] = []
        while self.at < len(self.pieces):
            piece = self.pieces[self.at]
            self.at += 1
            if isinstance(piece, Text):
                steps += [_text_step(self.source[low:high], low) for low, high in piece.kept]
                continue
            self.read += 1 + 2 * len(piece.lexemes)
            if piece.fault is not None:
                self.faults.append(piece.fault)
            if piece.keyword in ("else", "end"):
                return steps, piece
            if (step := self.action(piece, scope, depth)) is not None:
                steps.append(step)
        return steps, None

    def action(self, action: Action, scope: Scope, depth: int) -> Step | None:
        if action.comment:
            return None
        if action.keyword in OPENERS:
            if depth >= MAX_DEPTH:
                raise TooMuch(action.start, f"The blocks are nested more than {MAX_DEPTH} deep", "make them simpler")
            return _BLOCKS.get(action.keyword, _Builder.refused)(self, action, scope, depth + 1)
        if action.fault is not None:
            return None
        if action.keyword:
            self.refuse(action)
            return None
        return _output(self.expression(action, scope))

    def refuse(self, action: Action) -> None:
        self.tell(
            action.start,
            f"`{{{{{action.keyword}}}}}` is not part of the template language",
            "statements are if, else, range, with and end",
        )

    def refused(self, action: Action, scope: Scope, depth: int) -> None:
        self.refuse(action)
        stopped: Action | None = action
        while stopped is not None and stopped.keyword != "end":
            _, stopped = self.body(scope, depth)

    # --- expressions

    def expression(self, action: Action, scope: Scope, start: int = 0, variables: int = 0) -> _Head:
        """The pipeline of an action behind the words it begins with, and the variables it makes."""
        made: list[str] = []
        value = None
        if action.fault is None:
            try:
                pipelines = Pipelines(action, scope, start)
                made = pipelines.declared(variables)
                value = pipelines.whole()
            except Unreadable as fault:
                self.faults.append(fault)
        names = value.names if value else _NO_NAMES
        self.names |= names
        about = Expression(action.start, self.source[action.start : action.end], names | scope.enclosing)
        return _Head(value, about, names, made)

    # --- blocks

    def closed(self, opened: Action, stopped: Action | None) -> None:
        """Tell a block that never ends; else note where it does."""
        if stopped is None:
            self.tell(opened.start, f"`{{{{{opened.keyword}}}}}` has no `{{{{end}}}}`", "close the block")
            return
        self.blocks.append((opened.start, stopped.start))
        if len(stopped.lexemes) > 1 and stopped.fault is None:
            self.tell(stopped.start, "Nothing can stand behind `end`", "remove it")

    def condition(self, action: Action, scope: Scope, depth: int) -> Step:
        """`if` with its `else if`s, or `with`."""
        branches: list[_Branch] = []
        otherwise: list[Step] = []
        last: Action | None = action
        stopped: Action | None = None
        while last is not None:
            start = 1 if last is action else 2
            head = self.expression(last, scope, start, 1)
            scope, inner, slots = self.bound(head, action.keyword, scope)
            steps, stopped = self.body(inner, depth)
            branches.append(_Branch(head, slots, tuple(steps)))
            last = self.chained(stopped) if action.keyword == "if" else None
        if stopped is not None and stopped.keyword == "else":
            otherwise, stopped = self.otherwise(stopped, scope, depth)
        self.closed(action, stopped)
        return _condition(branches, tuple(otherwise))

    def chained(self, stopped: Action | None) -> Action | None:
        """The `else if` that a branch stopped at."""
        more = stopped is not None and stopped.keyword == "else" and len(stopped.lexemes) > 1
        return stopped if more and stopped and stopped.lexemes[1].value == "if" else None

    def bound(self, head: _Head, keyword: str, scope: Scope) -> tuple[Scope, Scope, tuple[int, ...]]:
        """What the branches after this one see, what its body sees, and where the value is kept for both."""
        slots = []
        if head.made:
            local = scope.local(head.names)
            slots.append(local.slot)
            scope = scope.with_variables({head.made[0]: local})
        inner = scope
        if keyword == "with":
            local = scope.local(head.names)
            slots.append(local.slot)
            inner = scope.with_dot(local)
        return scope, inner, tuple(slots)

    def otherwise(self, action: Action, scope: Scope, depth: int) -> tuple[list[Step], Action | None]:
        """What follows an `else`, and the `end` of it."""
        if len(action.lexemes) > 1 and action.fault is None:
            self.tell(action.start, "Only `if` can stand behind `else`, and only of an `if`", "nest the blocks")
        steps, stopped = self.body(scope, depth)
        while stopped is not None and stopped.keyword == "else":
            self.tell(stopped.start, "This block has an `else` already", "remove one of the two")
            _, stopped = self.body(scope, depth)
        return steps, stopped

    def loop(self, action: Action, scope: Scope, depth: int) -> Step:
        head = self.expression(action, scope, 1, 2)
        read, dot = self.read, scope.local(head.names)
        made = {name: scope.local(head.names) for name in head.made}
        steps, stopped = self.body(scope.inside(head.names).with_variables(made).with_dot(dot), depth)
        weight = 1 + self.read - read
        otherwise: list[Step] = []
        if stopped is not None and stopped.keyword == "else":
            otherwise, stopped = self.otherwise(stopped, scope, depth)
        self.closed(action, stopped)
        slots = [local.slot for local in made.values()]
        key = slots[0] if len(slots) == 2 else None
        return _Loop(head, key, (dot.slot, *slots[-1:]), tuple(steps), tuple(otherwise), weight)


_BLOCKS: Final[dict[str, Callable[[_Builder, Action, Scope, int], Step | None]]] = {
    "if": _Builder.condition,
    "with": _Builder.condition,
    "range": _Builder.loop,
}


# --- steps


def _text_step(text: str, offset: int) -> Step:
    def step(run: Run) -> None:
        run.write(text, offset)

    return step


def _output(head: _Head) -> Step | None:
    value, about = head.value, head.about
    if value is None:
        return None

    def step(run: Run) -> None:
        run.emit(about, value.evaluate)

    return step


def _condition(branches: Sequence[_Branch], otherwise: tuple[Step, ...]) -> Step:
    def step(run: Run) -> None:
        chosen = next((branch.body for branch in branches if branch.holds(run)), otherwise)
        for inner in chosen:
            inner(run)

    return step


@dataclass(frozen=True, slots=True)
class _Branch:
    """A condition and what it leads to; `slots` keep its value."""

    head: _Head
    slots: tuple[int, ...]
    body: tuple[Step, ...]

    def holds(self, run: Run) -> bool:
        if self.head.value is None:
            return False
        found = run.control(self.head.about, self.head.value.evaluate)
        for slot in self.slots:
            run.frame[slot] = found
        return bool(found)


@dataclass(frozen=True, slots=True)
class _Loop:
    """`range`: the slot of the index or key, those of the item, and what a turn costs."""

    head: _Head
    key: int | None
    items: tuple[int, ...]
    body: tuple[Step, ...]
    otherwise: tuple[Step, ...]
    weight: int

    def __call__(self, run: Run) -> None:
        if self.head.value is None:
            return
        pairs = _pairs(run, self.head.about, run.control(self.head.about, self.head.value.evaluate))
        for name, item in pairs:
            run.budget.turn(self.head.about.offset, self.weight)
            if self.key is not None:
                run.frame[self.key] = name
            for slot in self.items:
                run.frame[slot] = item
            for step in self.body:
                step(run)
        if not pairs:
            for step in self.otherwise:
                step(run)


def _pairs(run: Run, about: Expression, found: object) -> list[tuple[object, object]]:
    """What a loop goes over: index and item, or key and value in the order of the keys, as in Go."""
    if found is UNDEFINED or found is None or found == "":
        return []
    if isinstance(found, dict):
        return sorted(found.items())
    if isinstance(found, list):
        return list(enumerate(found))
    fault = Fault(about.offset, f"`range` goes over lists and mappings, not {kind(found)}", "such as `Iterate 5`")
    run.doubts.append(Doubt(run.size, about, "", fault))
    return []
