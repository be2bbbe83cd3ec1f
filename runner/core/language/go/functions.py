"""The functions of the go dialect, in the order of arguments of the original: plain data in, plain data out, bounded.

A missing name is empty text to a function that takes text; what needs a number and gets nothing is told. Unlike in
other collections for Go's templates the text comes first and the prefix second: `trimPrefix .Ref "refs/heads/"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from formicary.runner.core.language.functions import Absent, Refused, kind, text_of
from formicary.runner.core.language.go.printf import printf
from formicary.runner.core.language.limits import MAX_INT, MAX_RENDERED, MAX_TURNS
from formicary.runner.core.language.run import UNDEFINED

_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,25}")


def _text(value: Any) -> str:
    """Lists and mappings as JSON, as the original hands them to a task's templates."""
    return "" if value is UNDEFINED else text_of(value)


def _whole(value: Any) -> int:
    if value is UNDEFINED:
        raise Absent("takes a whole number, and there is none")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"takes a whole number, not {'a fraction' if isinstance(value, float) else kind(value)}")
    return value


def _iterate(count: Any) -> list[int]:
    if not 0 <= _whole(count) <= MAX_TURNS:
        raise Refused(f"counts from 0 to at most {MAX_TURNS:,}")
    return list(range(count))


def _add(one: Any, other: Any) -> int:
    total = _whole(one) + _whole(other)
    if abs(total) > MAX_INT:
        raise Refused("makes too large a number")
    return total


def _dict(*pairs: Any) -> dict[str, Any]:
    if len(pairs) % 2 or not all(isinstance(key, str) for key in pairs[::2]):
        raise Refused("takes pairs of a text and a value")
    return {key: "" if value is UNDEFINED else value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if len(text) + text.count(old) * max(len(new) - len(old), 0) > MAX_RENDERED:
        raise Refused("would make more than 1 MiB")
    return text.replace(old, new)


def _atoi(value: Any) -> int:
    """As the original: digits at the beginning, and 0 where there are none."""
    found = _DIGITS.match(_text(value).strip())
    number = int(found[0]) if found else 0
    return number if abs(number) <= MAX_INT else 0


def _length(value: Any) -> int:
    """Bytes of a text, as in Go; items of a list or mapping."""
    if value is UNDEFINED or value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass"))
    if not isinstance(value, (list, dict)):
        raise Refused(f"takes text, a list or a mapping, not {kind(value)}")
    return len(value)


def index(value: Any, *keys: Any) -> Any:
    """One item after the other; UNDEFINED where a mapping has no such key. Raises Refused."""
    for key in keys:
        if value is UNDEFINED or value is None or key is UNDEFINED:
            return UNDEFINED
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise Refused(f"takes a text to look into a mapping, not {kind(key)}")
            value = value.get(key, UNDEFINED)
        else:
            value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    if not isinstance(value, (list, str)):
        raise Refused(f"looks into mappings, lists and text, not {kind(value)}")
    items = value.encode(errors="surrogatepass") if isinstance(value, str) else value
    if not 0 <= _whole(key) < len(items):
        raise Refused(f"has no item {key}: there are {len(items)}, counted from 0")
    return items[key]


#: What each function does, and between how many and how many arguments it takes.
FUNCTIONS: Final[Mapping[str, tuple[Callable[..., Any], int, int]]] = {
    "Add": (_add, 2, 2),
    "Dict": (_dict, 0, 200),
    "Iterate": (_iterate, 1, 1),
    "Unescape": (lambda value: value, 1, 1),
    "atoi": (_atoi, 1, 1),
    "contains": (lambda value, part: _text(part) in _text(value), 2, 2),
    "hasPrefix": (lambda value, part: _text(value).startswith(_text(part)), 2, 2),
    "hasSuffix": (lambda value, part: _text(value).endswith(_text(part)), 2, 2),
    "index": (index, 1, 20),
    "len": (_length, 1, 1),
    "lower": (lambda value: _text(value).lower(), 1, 1),
    "printf": (printf, 1, 100),
    "replace": (_replace, 3, 3),
    "trimPrefix": (lambda value, part: _text(value).removeprefix(_text(part)), 2, 2),
    "trimSuffix": (lambda value, part: _text(value).removesuffix(_text(part)), 2, 2),
    "upper": (lambda value: _text(value).upper(), 1, 1),
}
#: These decide which of their arguments count, or need what only a rendering has.
OWN: Final[Mapping[str, tuple[int, int]]] = {
    "and": (1, 100),
    "default": (2, 2),
    "eq": (2, 100),
    "ge": (2, 2),
    "gt": (2, 2),
    "le": (2, 2),
    "lt": (2, 2),
    "ne": (2, 2),
    "not": (1, 1),
    "or": (1, 100),
    "Random": (2, 2),
}
NAMES: Final = frozenset(FUNCTIONS) | frozenset(OWN)
#: Functions of the original that ask or tell its server; what does that here.
ELSEWHERE: Final[Mapping[str, str]] = {
    "CountByJobTypeAndState": "limit with `max_concurrency`",
    "SubmitJob": "start other jobs from a task with FORK_JOB",
    "SubmitJobsFromJSON": "start other jobs from a task with FORK_JOB",
}
#: They leave the token of a secret whole.
KEEP_SECRETS: Final = frozenset({"Dict", "Unescape", "printf"})


def random_between(low: Any, high: Any) -> tuple[int, int]:
    """The bounds of `Random`: from `low` to below `high`. Raises Refused."""
    low, high = _whole(low), _whole(high)
    if low >= high:
        raise Refused("takes a smaller and a larger number")
    return low, high
