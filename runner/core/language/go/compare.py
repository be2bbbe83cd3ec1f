"""How values compare in Go's templates: `eq` of several, orders within one kind only, and never a guess between kinds.

Source: text/template/funcs.go. Whole numbers and fractions are kinds of their own; lists and mappings do not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from formicary.runner.core.language.functions import kind, size_of
from formicary.runner.core.language.limits import Fault, Missing
from formicary.runner.core.language.operators import secret
from formicary.runner.core.language.run import UNDEFINED, Run

_KINDS: Final[Mapping[type, str]] = {bool: "true/false", int: "whole", float: "fraction", str: "text"}
_REMEDY: Final = "compare text with text and numbers with numbers; `atoi` makes a number of a text"


def _kind(value: Any) -> str:
    if value is UNDEFINED or value is None:
        return "nothing"
    return _KINDS.get(type(value), "other")


def _equal(left: Any, right: Any, offset: int) -> bool:
    one, other = _kind(left), _kind(right)
    if one == "nothing" or other == "nothing":
        return one == other
    if one != other or one == "other":
        raise Fault(offset, f"`eq` cannot compare {_told(left)} with {_told(right)}", _REMEDY)
    return bool(left == right)


def _less(left: Any, right: Any, offset: int) -> bool:
    if left is UNDEFINED or right is UNDEFINED:
        raise Missing(
            offset, "A value that is not there has no order", "give one: `default 0 .Name`, or ask `if .Name`"
        )
    one, other = _kind(left), _kind(right)
    if one != other or one not in ("whole", "fraction", "text"):
        raise Fault(offset, f"{_told(left).capitalize()} and {_told(right)} have no order", _REMEDY)
    return bool(left < right)


def _told(value: Any) -> str:
    if isinstance(value, float):
        return "a fraction"
    return "nothing" if value is UNDEFINED else kind(value)


def eq(values: Sequence[Any], offset: int) -> bool:
    return any(_equal(values[0], value, offset) for value in values[1:])


COMPARISONS: Final[Mapping[str, Callable[[Sequence[Any], int], bool]]] = {
    "eq": eq,
    "ne": lambda values, offset: not eq(values, offset),
    "lt": lambda values, offset: _less(values[0], values[1], offset),
    "le": lambda values, offset: _less(values[0], values[1], offset) or eq(values, offset),
    "gt": lambda values, offset: not (_less(values[0], values[1], offset) or eq(values, offset)),
    "ge": lambda values, offset: not _less(values[0], values[1], offset),
}


def compare(name: str, values: Sequence[Any], run: Run, offset: int) -> bool:
    if any(secret(value) for value in values):
        raise Fault(offset, "A secret cannot be compared in a template", "compare it in the script")
    run.budget.spend(offset, sum(map(size_of, values)) >> 6)
    return COMPARISONS[name](values, offset)
