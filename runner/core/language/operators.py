"""How values compare and add up; what has no meaning is a fault and never a guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from formicary.runner.core.language.functions import kind, size_of, text_of
from formicary.runner.core.language.limits import MAX_INT, SECRET_OPEN, Fault
from formicary.runner.core.language.run import UNDEFINED, Run


def secret(value: Any) -> bool:
    return isinstance(value, str) and SECRET_OPEN in value


def holds(sign: str, left: Any, right: Any, run: Run, offset: int) -> bool:
    if secret(left) or secret(right):
        raise Fault(offset, "A secret cannot be compared in a template", "compare it in the script")
    if left is UNDEFINED or right is UNDEFINED:
        return sign in ("ne", "notin")
    run.budget.spend(offset, (size_of(left) + size_of(right)) >> 6)
    if sign in ("eq", "ne"):
        return (left == right) is (sign == "eq")
    if sign in ("in", "notin"):
        return within(left, right, offset) is (sign == "in")
    if kind(left) != kind(right) or not isinstance(left, (str, int, float)):
        raise Fault(
            offset,
            f"{kind(left).capitalize()} and {kind(right)} have no order",
            "make both numbers with `| int`, or both texts",
        )
    return bool(_ORDERS[sign](left, right))


_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda a, b: a < b,
    "lteq": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gteq": lambda a, b: a >= b,
}


def within(part: Any, whole: Any, offset: int) -> bool:
    if isinstance(whole, str) and not isinstance(part, (list, dict)):
        return text_of(part) in whole
    if isinstance(whole, dict):
        return not isinstance(part, (list, dict)) and text_of(part) in whole
    if isinstance(whole, list):
        return part in whole
    raise Fault(offset, f"`in` looks into text, lists and mappings, not {kind(whole)}", "check its right side")


def weigh(value: Any, run: Run, offset: int) -> None:
    """Pay for all that a value holds. A list may hold another one twice, and so on: its text grows without end."""
    inside = [value]
    while inside:
        one = inside.pop()
        if isinstance(one, str):
            run.budget.produce(offset, len(one))
        elif isinstance(one, (list, dict)):
            run.budget.spend(offset, 1 + 2 * len(one))
            inside.extend(one if isinstance(one, list) else (*one, *one.values()))


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def bounded(number: int | float, offset: int) -> int | float:
    if isinstance(number, int) and abs(number) > MAX_INT:
        raise Fault(offset, "This number is too large", "numbers have at most 64 bits")
    return number
