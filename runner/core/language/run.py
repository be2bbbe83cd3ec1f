"""One rendering: the text it has made so far, where each piece comes from, and the tokens that stand for values."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from formicary.runner.core.language.functions import text_of
from formicary.runner.core.language.limits import (
    MAX_RENDERED,
    TOKEN_CLOSE,
    TOKEN_OPEN,
    Budget,
    Fault,
    Missing,
    TooMuch,
)

TOKEN: Final = re.compile(f"{TOKEN_OPEN}([0-9]{{1,7}}){TOKEN_CLOSE}")


class Undefined:
    """What a missing name is while an expression is evaluated: false, empty, and equal to nothing."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


UNDEFINED: Final = Undefined()


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression of the source, and every name that it and the lists of the loops around it use."""

    offset: int
    source: str
    names: frozenset[str]

    def place_of(self, name: str) -> int:
        found = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", self.source)
        return self.offset + (found.start() if found else 0)


@dataclass(frozen=True, slots=True)
class Token:
    """A value on its way into the tree. `missing` names what was not there, `fault` what went wrong."""

    value: Any
    text: str
    about: Expression
    tainted: bool = False
    missing: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A decision of control flow that stood on a missing name or failed, and where in the rendered text it stands."""

    index: int
    about: Expression
    missing: str
    fault: Fault | None


Evaluate = Callable[["Run"], Any]


@dataclass(slots=True)
class Run:
    names: dict[str, Any]
    tainted: frozenset[str]
    budget: Budget
    seed: int = 0
    """Where `Random` begins: the same one gives the same text."""
    frame: dict[int, Any] = field(default_factory=dict)
    """What variables of the go dialect hold."""
    rolls: int = 0
    parts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    size: int = 0
    shown: int = 0
    tokens: list[Token] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def roll(self, low: int, high: int) -> int:
        """A number in [low, high), another one each time; all of them follow from the seed."""
        self.rolls += 1
        drawn = sha256(f"{self.seed}:{self.rolls}".encode()).digest()
        return low + int.from_bytes(drawn[:16], "big") % (high - low)

    def write(self, text: str, offset: int) -> None:
        self.parts.append(text)
        self.starts.append(self.size)
        self.offsets.append(offset)
        self.size += len(text)
        self._count(len(text), offset)

    def _count(self, size: int, offset: int) -> None:
        self.shown += size
        self.budget.render(offset, size)
        if self.shown > MAX_RENDERED:
            raise TooMuch(
                offset, "The rendered text is longer than 1 MiB", "read long values from the environment in the script"
            )

    def _value(self, about: Expression, evaluate: Evaluate) -> tuple[Any, str, Fault | None]:
        self.missing.clear()
        try:
            value = evaluate(self)
        except TooMuch:
            raise
        except Missing as fault:
            # What it stands on may be known later; the fault is told only when it should be known by then.
            return UNDEFINED, (self.missing or [fault.message])[0], Fault(about.offset, fault.message, fault.expected)
        except Fault as fault:
            return UNDEFINED, "", Fault(about.offset, fault.message, fault.expected)
        return value, self.missing[0] if self.missing else "", None

    def emit(self, about: Expression, evaluate: Evaluate) -> None:
        """Put a token for the value of an expression."""
        value, missing, fault = self._value(about, evaluate)
        if value is UNDEFINED:
            value = ""
        try:
            text = text_of(value)
        except RecursionError:
            value, text, fault = "", "", Fault(about.offset, "This value is nested too deeply", "make it flatter")
        tainted = not self.tainted.isdisjoint(about.names)
        mark = f"{TOKEN_OPEN}{len(self.tokens)}{TOKEN_CLOSE}"
        self.tokens.append(Token(value, text, about, tainted, missing, fault))
        self.write(mark, about.offset)
        self._count(len(text), about.offset)

    def control(self, about: Expression, evaluate: Evaluate) -> Any:
        """The value that control flow goes by."""
        value, missing, fault = self._value(about, evaluate)
        if missing or fault:
            self.doubts.append(Doubt(self.size, about, missing, fault))
        return value

    def text(self) -> str:
        return "".join(self.parts)

    def origin(self, index: int) -> int:
        """Where in the source a character of the rendered text comes from."""
        at = bisect_right(self.starts, index) - 1
        if at < 0:
            return index
        inside = index - self.starts[at]
        return self.offsets[at] + (0 if self.parts[at].startswith(TOKEN_OPEN) else min(inside, len(self.parts[at])))
