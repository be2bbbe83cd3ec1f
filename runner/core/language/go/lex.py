"""Cuts a source into text and actions (`{{ … }}`) as Go's text/template does, trim marks and comments included.

Texts keep their offsets. An action that cannot be read is kept with its fault, so that the rest can be checked too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from formicary.runner.core.language.go.literals import NUMBER, number, quoted
from formicary.runner.core.language.limits import MAX_LEXEMES, MAX_TAGS, Fault, TooMuch

Kind = Literal["field", "variable", "word", "text", "number", "sign"]
Literal_ = str | int | float
_SPACE: Final = " \t\r\n"
_SKIPPED: Final = re.compile(r"[ \t\r\n]*")
_COMMENT: Final = re.compile(r"/\*.*?\*/", re.S)
_FIELD: Final = re.compile(r"\.\w+")
_VARIABLE: Final = re.compile(r"\$\w*")
_WORD: Final = re.compile(r"[^\W\d]\w*")
_SIGN: Final = re.compile(r":=|[()|=,.]")
#: What may follow a word, a field or a variable without a blank between.
_ENDS: Final = frozenset(" \t\r\n.,|:()=}")
_BEHIND_COMMENT: Final = ("}}", " -}}", "\t-}}", "\r-}}", "\n-}}")
_CHARACTER: Final = re.compile(r"'(?:[^'\\\n]|\\.)*'?")
#: Words that open a block; `define` and `block` are refused, but their `end` is theirs.
OPENERS: Final = frozenset({"if", "range", "with", "define", "block"})
KEYWORDS: Final = OPENERS | {"else", "end", "template", "break", "continue"}


@dataclass(frozen=True, slots=True)
class Lexeme:
    """One word or sign of an action. `spaced`: white space stands before it."""

    kind: Kind
    value: Literal_
    offset: int
    spaced: bool

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self.value == sign


@dataclass(slots=True)
class Text:
    """A piece of text, and the parts of it that are written: whole lines of nothing but statements leave no line."""

    start: int
    end: int
    kept: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Action:
    """One `{{ … }}`; a comment has no lexemes and is not an empty action."""

    start: int
    end: int = 0
    lexemes: list[Lexeme] = field(default_factory=list)
    fault: Fault | None = None
    comment: bool = False

    @property
    def keyword(self) -> str:
        first = self.lexemes[0] if self.lexemes else None
        return str(first.value) if first and first.kind == "word" and first.value in KEYWORDS else ""

    @property
    def statement(self) -> bool:
        """Whether it puts nothing into the text."""
        return self.comment or bool(self.keyword)


Piece = Text | Action


def lex(source: str) -> list[Piece]:
    """Texts and actions in their order. Raises TooMuch, and Fault for an action that is never closed."""
    pieces = list(_Lexer(source).pieces())
    _leave_out_lone_lines(source, pieces)
    return pieces


class _Lexer:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.count = 0
        self.spaced = False

    def pieces(self) -> Iterator[Piece]:
        source, actions, trimmed = self.source, 0, False
        while True:
            opened = source.find("{{", self.at)
            end = len(source) if opened < 0 else opened
            yield self.text(self.at, end, trimmed, opened)
            if opened < 0:
                return
            action, trimmed = self.action(opened)
            yield action
            actions += 1
            if actions > MAX_TAGS:
                raise TooMuch(opened, f"The file holds more than {MAX_TAGS:,} template tags", "split the file")

    def text(self, start: int, end: int, trimmed: bool, opened: int) -> Text:
        """The text up to an action, less what the trim marks on both sides take."""
        source = self.source
        if trimmed:
            start = min(_skip(source, start), end)
        if opened >= 0 and self.trims_left(opened):
            end = start + len(source[start:end].rstrip(_SPACE))
        return Text(start, max(start, end))

    def trims_left(self, opened: int) -> bool:
        mark = self.source[opened + 2 : opened + 4]
        return len(mark) == 2 and mark[0] == "-" and mark[1] in _SPACE

    def action(self, opened: int) -> tuple[Action, bool]:
        """The action, and whether what follows it is trimmed."""
        action = Action(opened)
        self.at = opened + (4 if self.trims_left(opened) else 2)
        if self.source.startswith("/*", self.at):
            return self.comment(action)
        try:
            while (closed := self.closed(opened)) is None:
                action.lexemes.append(self.lexeme())
        except TooMuch:
            raise
        except Fault as fault:
            action.fault = fault
            action.end = self.at = self.resume(opened)
            return action, False
        action.end = self.at
        return action, closed

    def comment(self, action: Action) -> tuple[Action, bool]:
        found = _COMMENT.match(self.source, self.at)
        if found is None:
            raise Fault(action.start, "This comment is not closed", "close it with `*/}}`")
        self.at = found.end()
        closed = self.closed(action.start)
        if closed is None or self.source[found.end() : self.at] not in _BEHIND_COMMENT:
            raise Fault(action.start, "A comment must fill its tag", "write `{{/* … */}}` and nothing else in the tag")
        action.comment, action.end = True, self.at
        return action, closed

    def closed(self, opened: int) -> bool | None:
        """None where the tag goes on; else whether it is closed here with a trim mark."""
        source, start = self.source, self.at
        self.at = _skip(source, start)
        self.spaced = self.at > start
        if source.startswith("}}", self.at):
            self.at += 2
            return False
        if self.spaced and source.startswith("-}}", self.at):
            self.at += 3
            return True
        if self.at >= len(source):
            raise Fault(opened, "This template tag is not closed", 'close it with `}}`; literal braces are `{{"{{"}}`')
        return None

    def lexeme(self) -> Lexeme:
        self.count += 1
        at, source = self.at, self.source
        if self.count > MAX_LEXEMES:
            raise TooMuch(at, "The templates of this file are too long", "split the file")
        if source[at] in '"`':
            value, self.at = quoted(source, at)
            return Lexeme("text", value, at, self.spaced)
        if found := NUMBER.match(source, at):
            self.at = found.end()
            return Lexeme("number", number(found[0], at, source[self.at : self.at + 1]), at, self.spaced)
        for kind, pattern in _WORDS:
            if found := pattern.match(source, at):
                self.at = found.end()
                self.ended(at, found[0])
                return Lexeme(kind, found[0], at, self.spaced)
        if found := _SIGN.match(source, at):
            self.at = found.end()
            return Lexeme("sign", found[0], at, self.spaced)
        raise self.unknown(at)

    def ended(self, start: int, word: str) -> None:
        after = self.source[self.at : self.at + 1]
        if after and after not in _ENDS:
            shown = f"`{after}`"
            remedy = f'a name with a dash is taken with `index $ "{word.lstrip(".$")[:40]}-…"`' if after == "-" else ""
            raise Fault(start, f"{shown} cannot stand right behind `{word[:60]}`", remedy or "put a blank between them")

    def unknown(self, at: int) -> Fault:
        if found := _CHARACTER.match(self.source, at):
            return Fault(at, f"`{found[0][:40]}` is not part of the template language", 'quote text with `"`')
        return Fault(at, f"`{self.source[at]}` is not part of the template language", "see the list of what may stand")

    def resume(self, opened: int) -> int:
        """Where to read on behind an action that cannot be read."""
        end = self.source.find("}}", max(self.at, opened + 2))
        return len(self.source) if end < 0 else end + 2


_WORDS: Final[Sequence[tuple[Kind, re.Pattern[str]]]] = (("field", _FIELD), ("variable", _VARIABLE), ("word", _WORD))


def _skip(source: str, at: int) -> int:
    found = _SKIPPED.match(source, at)
    return found.end() if found else at


def _leave_out_lone_lines(source: str, pieces: Sequence[Piece]) -> None:
    """Go leaves an empty line where a statement stood alone, and the original takes all empty lines out of what it has
    rendered; here only those go. Trim marks were heeded before, so their lines are what is left of them."""
    line = _Line()
    for piece in pieces:
        if isinstance(piece, Action):
            line.statement, line.solid = line.statement or piece.statement, line.solid or not piece.statement
            continue
        at = piece.start
        while (newline := source.find("\n", at, piece.end)) >= 0:
            line.take(source, piece, at, newline + 1)
            line.end()
            at = newline + 1
        line.take(source, piece, at, piece.end)
    line.end()


@dataclass(slots=True)
class _Line:
    """The line that is being read, over all pieces that it lies in."""

    parts: list[tuple[Text, int, int]] = field(default_factory=list)
    statement: bool = False
    solid: bool = False

    def take(self, source: str, piece: Text, start: int, end: int) -> None:
        if start < end:
            self.parts.append((piece, start, end))
            self.solid = self.solid or not source[start:end].isspace()

    def end(self) -> None:
        if self.solid or not self.statement:
            for piece, start, end in self.parts:
                if piece.kept and piece.kept[-1][1] == start:
                    piece.kept[-1] = piece.kept[-1][0], end
                else:
                    piece.kept.append((start, end))
        self.parts, self.statement, self.solid = [], False, False
