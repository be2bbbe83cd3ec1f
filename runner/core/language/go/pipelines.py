"""Pipelines of Go's templates as closures: operands, function calls, `|`, and which names of the context each uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from formicary.runner.core.language.functions import kind, nearest
from formicary.runner.core.language.go.calls import Unreadable, Value, function
from formicary.runner.core.language.go.functions import ELSEWHERE, NAMES
from formicary.runner.core.language.go.lex import KEYWORDS, Action, Lexeme
from formicary.runner.core.language.limits import MAX_DEPTH, Fault
from formicary.runner.core.language.run import UNDEFINED, Evaluate, Run

_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Local:
    """A variable, or the dot within a `range` or `with`: where a run keeps it, and which names it is made of."""

    slot: int
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an action sees. `dot` None is the whole context; `enclosing` are the names of the lists of loops around."""

    variables: Mapping[str, Local] = field(default_factory=dict)
    dot: Local | None = None
    enclosing: frozenset[str] = _NOTHING
    slots: Iterator[int] = field(default_factory=count)

    def local(self, names: frozenset[str]) -> Local:
        return Local(next(self.slots), names)

    def with_variables(self, variables: Mapping[str, Local]) -> Scope:
        return replace(self, variables={**self.variables, **variables})

    def with_dot(self, dot: Local) -> Scope:
        return replace(self, dot=dot)

    def inside(self, names: frozenset[str]) -> Scope:
        return replace(self, enclosing=self.enclosing | names)


class Pipelines:
    """Reads the lexemes of one action."""

    def __init__(self, action: Action, scope: Scope, start: int = 0) -> None:
        self.action = action
        self.lexemes = action.lexemes
        self.scope = scope
        self.at = start
        self.depth = 0

    # --- lexemes

    @property
    def next(self) -> Lexeme | None:
        return self.lexemes[self.at] if self.at < len(self.lexemes) else None

    def sign(self, sign: str) -> bool:
        """Whether this sign comes next; it is taken."""
        found = self.next
        if found is None or not found.is_sign(sign):
            return False
        self.at += 1
        return True

    def fail(self, lexeme: Lexeme | None, message: str, expected: str) -> Unreadable:
        return Unreadable(lexeme.offset if lexeme else self.action.start, message, expected)

    # --- what `range`, `with` and `if` may begin with

    def declared(self, most: int) -> list[str]:
        """The names of `$v :=`, or of `$i, $v :=`."""
        signs = [index for index, lexeme in enumerate(self.lexemes) if lexeme.is_sign(":=") or lexeme.is_sign("=")]
        if not signs:
            return []
        head = self.lexemes[self.at : signs[0]]
        names = [str(lexeme.value) for lexeme in head[::2]]
        commas = [lexeme for lexeme in head[1::2] if not lexeme.is_sign(",")]
        named = all(lexeme.kind == "variable" and lexeme.value != "$" for lexeme in head[::2])
        if not most or commas or not named or len(head) % 2 == 0 or self.lexemes[signs[0]].is_sign("="):
            raise self.fail(
                self.lexemes[signs[0]],
                "A variable cannot be set here",
                "`range $v := …`, `range $i, $v := …`, `with $v := …` and `if $v := …` make variables",
            )
        if len(names) > most:
            raise self.fail(head[0], f"There are at most {most} variables here", "leave the others out")
        self.at = signs[0] + 1
        return names

    # --- pipelines

    def whole(self) -> Value:
        """The pipeline that fills the rest of the action. Raises Unreadable."""
        value = self.pipeline()
        if self.next is not None:
            raise self.fail(self.next, f"`{self.next.value}` cannot stand here", "check the parentheses")
        return self.plain(value)

    def plain(self, value: Value) -> Value:
        if value.root:
            raise self.fail(None, "The whole context is no value", "name what you want: `.Name`")
        return value

    def pipeline(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(self.next, f"Parentheses are nested more than {MAX_DEPTH} deep", "make it simpler")
        value = self.command(None)
        while self.sign("|"):
            value = self.command(value)
        self.depth -= 1
        return value

    def command(self, piped: Value | None) -> Value:
        first = self.next
        if first is None or (first.kind == "sign" and first.value in ("|", ")")):
            raise self.fail(first, "A value is missing here", "write `{{.Name}}`")
        if first.kind == "word" and first.value not in ("true", "false", "nil"):
            return self.call(piped)
        value = self.operand()
        if piped is not None:
            raise self.fail(first, "Only a function can stand behind `|`", "such as `{{.Name | lower}}`")
        if self.next is not None and not (self.next.kind == "sign" and self.next.value in ("|", ")")):
            raise self.fail(self.next, f"`{self.next.value}` cannot stand here", "a function comes first: `eq .Name 1`")
        if first.kind == "word" and first.value == "nil":
            raise self.fail(first, "`nil` alone is no value", "compare with it: `eq .Name nil`")
        return value

    def call(self, piped: Value | None) -> Value:
        word = self.next
        assert word is not None
        self.at += 1
        name = str(word.value)
        if name not in NAMES:
            raise self.unknown(word)
        arguments: list[Value] = []
        while (ahead := self.next) is not None and not (ahead.kind == "sign" and ahead.value in ("|", ")")):
            if not ahead.spaced:
                raise self.fail(ahead, "A blank is missing here", "put one before each argument")
            arguments.append(self.operand())
        if piped is not None:
            arguments.append(piped)
        if name == "index" and arguments and arguments[0].root:
            return self.named(word, arguments)
        return function(name, word.offset, [self.plain(argument) for argument in arguments])

    def named(self, word: Lexeme, arguments: Sequence[Value]) -> Value:
        """`index . "Name"`: names that Go cannot write with a dot. What is tainted must be known, so it is constant."""
        name = arguments[1].constant if len(arguments) > 1 else None
        if not isinstance(name, str):
            raise self.fail(word, "`index` takes a name in quotes here", 'write `index $ "Name"`')
        found = Value(_lookup(name), frozenset({name}))
        if len(arguments) == 2:
            return found
        return function("index", word.offset, [found, *(self.plain(argument) for argument in arguments[2:])])

    def unknown(self, word: Lexeme) -> Unreadable:
        name = str(word.value)
        if name in KEYWORDS:
            return self.fail(word, f"`{name}` cannot stand here", "statements are if, else, range, with and end")
        remedy = ELSEWHERE.get(name) or nearest(name, sorted(NAMES))
        remedy = remedy or f"a name is written with a dot, `.{name[:60]}`; functions are {', '.join(sorted(NAMES))}"
        return self.fail(word, f"The function `{name[:60]}` is not part of the template language", remedy)

    # --- operands

    def operand(self) -> Value:
        lexeme = self.next
        assert lexeme is not None
        value = self._first(lexeme)
        while (ahead := self.next) is not None and ahead.kind == "field" and not ahead.spaced:
            self.at += 1
            if lexeme.kind in ("text", "number", "word"):
                raise self.fail(ahead, f"`{ahead.value}` cannot stand behind a literal", "fields are taken of names")
            value = self.member(value, ahead)
        return value

    def _first(self, lexeme: Lexeme) -> Value:
        self.at += 1
        if lexeme.kind == "field":
            return self.member(self.dot(), lexeme)
        if lexeme.kind == "variable":
            return self.variable(lexeme)
        if lexeme.kind in ("text", "number"):
            return _constant(lexeme.value)
        if lexeme.kind == "word":
            return self._word(lexeme)
        if lexeme.is_sign("."):
            if (ahead := self.next) is not None and ahead.kind == "field" and not ahead.spaced:
                raise self.fail(ahead, "There is a dot too many here", "write `.Name`")
            return self.dot()
        if lexeme.is_sign("("):
            value = self.pipeline()
            if not self.sign(")"):
                raise self.fail(lexeme, "This parenthesis is not closed", "close it with `)`")
            return value
        raise self.fail(lexeme, f"`{lexeme.value}` cannot stand here", "write `{{.Name}}`")

    def _word(self, lexeme: Lexeme) -> Value:
        constants = {"true": True, "false": False, "nil": None}
        if lexeme.value in constants:
            return _constant(constants[str(lexeme.value)])
        if lexeme.value not in NAMES:
            raise self.unknown(lexeme)
        # A function among the arguments of another one is called without any.
        return function(str(lexeme.value), lexeme.offset, [])

    def dot(self) -> Value:
        if self.scope.dot is None:
            return Value(lambda run: UNDEFINED, root=True)
        return _kept(self.scope.dot)

    def variable(self, lexeme: Lexeme) -> Value:
        if lexeme.value == "$":
            return Value(lambda run: UNDEFINED, root=True)
        local = self.scope.variables.get(str(lexeme.value))
        if local is None:
            known = nearest(str(lexeme.value), list(self.scope.variables))
            raise self.fail(lexeme, f"There is no variable `{str(lexeme.value)[:60]}` here", known or "check its name")
        return _kept(local)

    def member(self, owner: Value, lexeme: Lexeme) -> Value:
        name = str(lexeme.value)[1:]
        if owner.root:
            return Value(_lookup(name), frozenset({name}))
        return Value(_member(owner.evaluate, name, lexeme.offset), owner.names)


def _constant(value: Any) -> Value:
    return Value(lambda run: value, constant=value)


def _kept(local: Local) -> Value:
    slot = local.slot
    return Value(lambda run: run.frame.get(slot, UNDEFINED), local.names)


def _lookup(name: str) -> Evaluate:
    def lookup(run: Run) -> Any:
        try:
            return run.names[name]
        except KeyError:
            run.missing.append(name)
            return UNDEFINED

    return lookup


def _member(owner: Evaluate, name: str, offset: int) -> Evaluate:
    def member(run: Run) -> Any:
        value = owner(run)
        if value is UNDEFINED or value is None:
            return UNDEFINED
        if not isinstance(value, dict):
            raise Fault(offset, f"`.{name[:60]}` cannot be taken of {kind(value)}", "fields are taken of mappings")
        if name not in value:
            run.missing.append(name)
        return value.get(name, UNDEFINED)

    return member
