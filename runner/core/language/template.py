"""A template checked against the list of what may be written, and made into closures that are run with a budget.

Jinja2 reads the text (its sandboxed environment; nothing is ever compiled to Python) and this file walks the tree: what
is not named here cannot be said. Every output expression becomes an opaque token, a constant or a missing name too;
control flow sees the real value. As the text pieces keep their offsets, no position is lost in loops and trims.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from formicary.runner.core.language import expressions
from formicary.runner.core.language.expressions import Scope
from formicary.runner.core.language.limits import MAX_LEXEMES, MAX_TAGS, NO_COMMENT, Fault, TooMuch
from formicary.runner.core.language.loops import Loop, Step
from formicary.runner.core.language.run import Evaluate, Expression, Run

_JINJA: Final = ImmutableSandboxedEnvironment(
    # `{#` is shell (`${#A[@]}`): a comment begins with what no file may hold.
    comment_start_string=NO_COMMENT + "#",
    comment_end_string="#" + NO_COMMENT,
    keep_trailing_newline=True,
    autoescape=False,
)
_GO: Final = re.compile(
    r"\{\{-?\s*(?:\.[A-Za-z_]|\$|/\*|\.\s*-?\}\}|(?:end|else)\s*-?\}\}"
    r"|(?:range|not|eq|ne|and|or|index|len|printf)\s+[.$]|(?:if|with|else if)\s+[.$\w(])"
)
_MAX_BAD: Final = 10
"""So many bad outputs are told; after that nothing more is looked for."""
#: Tags by themselves, to find the bad ones; bounded, as some are never closed.
_TAG: Final = re.compile(
    r"\{\{(?P<output>.{0,999}?)\}\}|\{%[-+]?\s{0,99}+(?P<keyword>\w{0,99}+)(?P<rest>.{0,999}?)%\}", re.DOTALL
)
_RAW: Final = re.compile(r"\{%[-+]?\s{0,99}+(raw|endraw)\b")
#: Statements that open or close something: blanking one would only make another error.
_STATEMENTS: Final = frozenset(
    {"else", "endif", "endfor", "raw", "endraw", "set", "endset", "macro", "endmacro", "block", "endblock", "call"}
    | {"endcall", "filter", "endfilter", "with", "endwith", "autoescape", "endautoescape", "include", "import", "from"}
    | {"extends"}
)


@dataclass(frozen=True)
class Template:
    """A checked template: what to do, and where its tags and blocks stand in the source."""

    steps: tuple[Step, ...]
    names: frozenset[str]
    tags: tuple[tuple[int, int], ...]
    blocks: tuple[tuple[int, int], ...]
    """From the opening to the closing tag of each `if` and `for`."""

    def render(self, run: Run) -> None:
        for step in self.steps:
            step(run)


def parse(source: str) -> tuple[Template | None, list[Fault]]:
    """The template in `source`, and everything that is wrong in it; None only if nothing of it can be used."""
    faults: list[Fault] = []
    try:
        pieces = _Pieces(source)
        tree = _JINJA.parse(source)
    except Fault as fault:
        return None, [fault]
    except (TemplateSyntaxError, ValueError, RecursionError) as error:
        if _GO.search(plain := _without_raw(source)):
            return None, [_told(error, plain)]
        faults, source = _without_bad_tags(source)
        if len(faults) >= _MAX_BAD:
            return None, faults
        if faults:
            again, more = parse(source)
            return again, faults + more
        return None, [_told(error, source)]
    # Jinja would take `{{ if .X }}` and `{{ end }}` for names.
    if any(_GO.match(source, offset) for offset in pieces.outputs):
        return None, [*faults, _told(ValueError(), source)]
    builder = _Builder(source, pieces, faults)
    try:
        steps = builder.body(tree.body, Scope())
    except RecursionError:
        return None, [*faults, Fault(-1, "The templates are nested too deeply", "make them simpler")]
    template = Template(tuple(steps), frozenset(builder.names), tuple(pieces.tags), tuple(pieces.blocks))
    return template, faults


def _without_bad_tags(source: str) -> tuple[list[Fault], str]:
    """The faults of single tags, and a source of the same length without them, so that the rest can be checked."""
    faults: list[Fault] = []
    text = source
    for found in islice(_TAG.finditer(_without_raw(source)), MAX_TAGS):
        fault, instead = _checked(found)
        if fault is None:
            continue
        if len(instead) > len(found[0]):
            break
        faults.append(fault)
        text = text[: found.start()] + instead + text[found.end() :]
        if len(faults) == _MAX_BAD:
            break
    return faults, text


def _without_raw(source: str) -> str:
    """What is between raw and endraw is no tag, whatever it looks like."""
    parts, start, inside = [], 0, False
    for found in _RAW.finditer(source):
        if (found[1] == "raw") is inside:
            continue
        parts.append(" " * (found.start() - start) if inside else source[start : found.start()])
        start, inside = found.start(), not inside
    parts.append(" " * (len(source) - start) if inside else source[start:])
    return "".join(parts)


def _checked(tag: re.Match[str]) -> tuple[Fault | None, str]:
    """What is wrong with one tag by itself, and what of its length may stand there instead."""
    keyword, inside = tag["keyword"], "output" if tag["output"] is not None else "rest"
    if inside == "output":
        sample, filler = tag[0], "''"
    elif keyword in ("if", "elif"):
        sample, filler = f"{{% if{tag['rest']}%}}{{% endif %}}", " ''"
    elif keyword == "for":
        sample, filler = f"{{% for{tag['rest']}%}}{{% endfor %}}", " a in''"
    elif keyword is None or keyword in _STATEMENTS:
        return None, ""
    else:
        sample, filler = tag[0], ""
    try:
        _JINJA.parse(sample)
    except (TemplateSyntaxError, ValueError, RecursionError) as error:
        fault = _told(error, tag[0])
        fault.offset = tag.start()
        head = tag[0][: tag.start(inside) - tag.start()] + filler
        instead = head.ljust(len(tag[0]) - 2) + tag[0][-2:] if filler else " " * len(tag[0])
        return fault, instead
    return None, ""


def _whole_tag(source: str, start: int) -> str:
    end = source.find("}}", start)
    return source[start : end + 2 if start < end < start + 60 else start + 20].split("\n")[0]


def _told(error: Exception, source: str) -> Fault:
    if go := _GO.search(source):
        return Fault(
            go.start(),
            f"This file looks like Go templates (`{_whole_tag(source, go.start())}`), and it is read as a native one",
            "write `template: go` on the job to keep them, `{{ Name }}` in native style, {% raw %} around literal text",
        )
    if not isinstance(error, TemplateSyntaxError):
        return Fault(-1, "A template holds too long a number or is nested too deeply", "make it simpler")
    offset = 0
    for _ in range(error.lineno - 1):
        offset = source.find("\n", offset) + 1
    line_end = source.find("\n", offset)
    tag = re.search(r"\{[{%]", source[offset : len(source) if line_end < 0 else line_end])
    message = (error.message or "it cannot be read").split("\n")[0][:200].rstrip(".")
    return Fault(
        offset + (tag.start() if tag else 0),
        f"This template is not valid: {message[:1].lower()}{message[1:]}",
        "templates are `{{ name }}`, `{% if %}`, `{% for %}`; put {% raw %} … {% endraw %} around text that is none",
    )


@dataclass
class _Pieces:
    """Where the text pieces and tags of a source begin; found by following Jinja's own lexer."""

    source: str
    texts: list[tuple[int, int]] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    control: list[int] = field(default_factory=list)
    """Offsets of the tags `if`, `elif` and `for`, in order."""
    tags: list[tuple[int, int]] = field(default_factory=list)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    lone: list[tuple[int, int]] = field(default_factory=list)
    """Lines that hold nothing but statements: they leave no empty line behind."""

    def __post_init__(self) -> None:
        statements = list(self._follow())
        self.lone = _lone_lines(self.source, statements)

    def _lexemes(self) -> Iterator[tuple[int, str, str]]:
        offset = 0
        for count, (_, lexeme, value) in enumerate(_JINJA.lex(self.source)):
            # The lexer drops white space at trim marks; everything else comes through as it is.
            while not self.source.startswith(value, offset):
                offset += 1
            yield offset, lexeme, value
            if lexeme in ("integer", "float") and len(value) > 40:
                raise Fault(offset, "This number is too large", "numbers have at most 64 bits")
            offset += len(value)
            if count > MAX_LEXEMES:
                raise TooMuch(offset, "The templates of this file are too long", "split the file")

    def _follow(self) -> Iterator[tuple[int, int]]:
        opened = 0
        keyword = ""
        stack: list[int] = []
        for offset, lexeme, value in self._lexemes():
            if lexeme == "data":
                self.texts.append((offset, offset + len(value)))
            elif lexeme in ("variable_begin", "block_begin"):
                opened, keyword = offset, ""
                if lexeme == "variable_begin":
                    self.outputs.append(offset)
            elif lexeme in ("variable_end", "block_end"):
                self.tags.append((opened, offset + len(value)))
                if lexeme == "block_end":
                    # A trim mark takes white space with it that is no part of the tag.
                    yield opened, offset + len(value.rstrip())
            elif lexeme in ("raw_begin", "raw_end"):
                self.tags.append((offset, offset + len(value)))
                yield offset, offset + len(value.rstrip())
            elif lexeme == "name" and not keyword:
                keyword = value
                self._statement(value, opened, stack)
            if len(self.tags) > MAX_TAGS:
                raise TooMuch(offset, f"The file holds more than {MAX_TAGS:,} template tags", "split the file")

    def _statement(self, keyword: str, opened: int, stack: list[int]) -> None:
        if self.source.startswith("{{", opened):
            return
        if keyword in ("if", "elif", "for"):
            self.control.append(opened)
        if keyword in ("if", "for"):
            stack.append(opened)
        elif keyword in ("endif", "endfor") and stack:
            self.blocks.append((stack.pop(), opened))

    def kept(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """A piece of text without the lines that held only statements."""
        for low, high in self.lone:
            if high <= start:
                continue
            if low >= end:
                break
            if low > start:
                yield start, low
            start = min(high, end)
        if start < end:
            yield start, end


def _lone_lines(source: str, statements: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if not statements:
        return []
    masked, last = [], 0
    for start, end in statements:
        masked.append(source[last:start] + " " * (end - start))
        last = end
    text = "".join(masked) + source[last:]
    lone: list[tuple[int, int]] = []
    for start, end in statements:
        low, high = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        high = len(text) if high < 0 else high + 1
        if text[low:high].strip() or (lone and lone[-1][1] > low):
            continue
        lone.append((low, high))
    return lone


class _Builder:
    """Makes steps of Jinja's tree. The tree's texts, outputs and controls come in the order of the source."""

    def __init__(self, source: str, pieces: _Pieces, faults: list[Fault]) -> None:
        self.source = source
        self.pieces = pieces
        self.faults = faults
        self.texts = iter(pieces.texts)
        self.outputs = iter(pieces.outputs)
        self.control = iter(pieces.control)
        self.names: set[str] = set()

    def body(self, statements: Iterable[nodes.Node], scope: Scope) -> list[Step]:
        steps: list[Step] = []
        for node in statements:
            if isinstance(node, nodes.Output):
                for part in node.nodes:
                    steps.extend(self.text() if isinstance(part, nodes.TemplateData) else [self.output(part, scope)])
            elif isinstance(node, nodes.If):
                steps.append(self.condition(node, scope))
            elif isinstance(node, nodes.For):
                steps.append(self.loop(node, scope))
            else:
                self.refuse(node)
        return steps

    def refuse(self, node: nodes.Node) -> None:
        offset = 0
        for _ in range((node.lineno or 1) - 1):
            offset = self.source.find("\n", offset) + 1
        tag = self.source.find("{%", offset)
        word = re.match(r"\{%[-+]?\s*(\w+)", self.source[max(tag, 0) :])
        name = word[1] if word else type(node).__name__.lower()
        self.faults.append(
            Fault(
                offset if tag < 0 else tag,
                f"`{{% {name} %}}` is not part of the language",
                "statements are if/elif/else, for/else and raw",
            )
        )
        # What is inside would be told against the wrong places.
        for inner in node.find_all((nodes.Output, nodes.If, nodes.For)):
            if isinstance(inner, nodes.Output):
                for part in inner.nodes:
                    next(self.texts if isinstance(part, nodes.TemplateData) else self.outputs, None)
            else:
                next(self.control, None)

    def text(self) -> list[Step]:
        start, end = next(self.texts)
        return [_text_step(self.source[low:high], low) for low, high in self.pieces.kept(start, end)]

    def expression(self, node: nodes.Node, scope: Scope, offset: int) -> tuple[Evaluate, Expression]:
        end = re.compile(r"[%}]\}").search(self.source, offset)
        evaluate = expressions.build(node, scope, offset, self.faults)
        used = scope.names_of(node)
        self.names |= used
        about = Expression(offset, self.source[offset : end.end() if end else offset + 60], used | scope.enclosing)
        return evaluate, about

    def output(self, node: nodes.Node, scope: Scope) -> Step:
        evaluate, about = self.expression(node, scope, next(self.outputs))

        def step(run: Run) -> None:
            run.emit(about, evaluate)

        return step

    def condition(self, node: nodes.If, scope: Scope) -> Step:
        branches = []
        for branch in (node, *node.elif_):
            test, about = self.expression(branch.test, scope, next(self.control))
            branches.append((test, about, tuple(self.body(branch.body, scope))))
        otherwise = tuple(self.body(node.else_, scope))

        def step(run: Run) -> None:
            chosen = next((body for test, about, body in branches if run.control(about, test)), otherwise)
            for inner in chosen:
                inner(run)

        return step

    def loop(self, node: nodes.For, scope: Scope) -> Step:
        items, about = self.expression(node.iter, scope, next(self.control))
        targets = _targets(node, about.offset, self.faults)
        inner = scope.inside((*targets, "loop"), about.names)
        test = None if node.test is None else self.expression(node.test, inner, about.offset)[0]
        body = tuple(self.body(node.body, inner))
        otherwise = tuple(self.body(node.else_, scope))
        inside = list(node.find_all(nodes.Node))
        counts = any(isinstance(name, nodes.Name) and name.name == "loop" for name in inside)
        return Loop(items, about, targets, test, body, otherwise, 1 + len(inside), counts)


def _text_step(text: str, offset: int) -> Step:
    def step(run: Run) -> None:
        run.write(text, offset)

    return step


def _targets(node: nodes.For, offset: int, faults: list[Fault]) -> tuple[str, ...]:
    names = node.target.items if isinstance(node.target, nodes.Tuple) else [node.target]
    if node.recursive or not all(isinstance(name, nodes.Name) for name in names):
        faults.append(Fault(offset, "This form of `for` is not part of the language", "write `{% for item in list %}`"))
        return ()
    return tuple(name.name for name in names if isinstance(name, nodes.Name))
