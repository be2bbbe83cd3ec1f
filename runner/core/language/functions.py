"""The filters, tests and functions that a template may use: plain data in, plain data out, each bounded by its input.

What could make something bigger than its arguments (`replace`, `join`, `range`, …) works out the size first.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from formicary.runner.core.language.limits import MAX_INT, MAX_RENDERED, MAX_TURNS


class Refused(Exception):
    """The arguments do not fit; the text says which and why. Whoever evaluates knows the place."""


class Absent(Refused):
    """What cannot be done without is missing; it may be there when its time has come."""


def text_of(value: Any) -> str:
    """A value as text, the way a script or YAML writes it: true and false small, nothing as empty, lists as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def kind(value: Any) -> str:
    """What an error calls a value."""
    names = {str: "text", bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), "nothing")


def nearest(name: str, known: Sequence[str]) -> str:
    """ "did you mean …?", or nothing."""
    close = difflib.get_close_matches(name[:100], known, 1, 0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def size_of(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, dict)) else 1


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise Refused(f"takes text, not {kind(value)}")
    return text_of(value)


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, str):
        return list(value)
    raise Refused(f"takes a list, not {kind(value)}")


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"takes a number, not {kind(value)}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"takes a whole number, not {kind(value)}")
    return value


def _fits(size: int) -> None:
    if size > MAX_RENDERED:
        raise Refused("would make more than 1 MiB")


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if not old:
        raise Refused("takes a text to look for that is not empty")
    _fits(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def _join(value: Any, separator: Any = "") -> str:
    parts, between = [text_of(item) for item in _list(value)], _text(separator)
    _fits(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def _split(value: Any, separator: Any = None) -> list[str]:
    if separator == "":
        raise Refused("takes a separator that is not empty")
    return _text(value).split(None if separator is None else _text(separator))


def _truncate(value: Any, length: Any = 255, killwords: Any = True, end: Any = "...") -> str:
    """As Jinja's, but words are always cut; the end may also come second."""
    text, most = _text(value), _whole(length)
    last = _text(killwords if isinstance(killwords, str) else end)
    return text if len(text) <= most else text[: max(most - len(last), 0)] + last


def _int(value: Any, default: Any = 0) -> int:
    try:
        number = int(value) if isinstance(value, (int, float)) else int(_text(value).strip()[:30])
    except (ValueError, OverflowError):
        return _whole(default)
    return number if abs(number) <= MAX_INT else _whole(default)


def _float(value: Any, default: Any = 0.0) -> float:
    try:
        number = float(value if isinstance(value, (int, float)) else _text(value).strip()[:400])
    except (ValueError, OverflowError):
        return float(_number(default))
    return number if abs(number) < float("inf") else float(_number(default))


def _round(value: Any, digits: Any = 0) -> int | float:
    digits = _whole(digits)
    if abs(digits) > 15:
        raise Refused("takes at most 15 digits")
    return round(_number(value), digits) if digits else round(_number(value))


def _sort(value: Any, reverse: Any = False) -> list[Any]:
    items = _list(value)
    if not all(isinstance(item, (int, float)) for item in items) and not all(isinstance(item, str) for item in items):
        raise Refused("takes a list of texts or a list of numbers")
    return sorted(items, reverse=bool(reverse))


def _unique(value: Any) -> list[Any]:
    seen: set[str] = set()
    found = []
    for item in _list(value):
        mark = json.dumps(item)
        if mark not in seen:
            seen.add(mark)
            found.append(item)
    return found


def _extreme(pick: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def extreme(value: Any, *more: Any) -> Any:
        items = _sort([value, *more] if more or not isinstance(value, list) else value)
        if not items:
            raise Refused("takes a list that is not empty")
        return pick(items)

    return extreme


def _end(index: int) -> Callable[[Any], Any]:
    def end(value: Any) -> Any:
        items = value if isinstance(value, (str, list)) else _list(value)
        return items[index] if items else ""

    return end


def _length(value: Any) -> int:
    if not isinstance(value, (str, list, dict)):
        raise Refused(f"takes text, a list or a mapping, not {kind(value)}")
    return len(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"takes a mapping, not {kind(value)}")
    return value


def _reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else _list(value)[::-1]


def _basename(value: Any) -> str:
    return _text(value).rstrip("/").rpartition("/")[2]


def _dirname(value: Any) -> str:
    return _text(value).rstrip("/").rpartition("/")[0]


_DATE: Final = re.compile(r"(?:[^%\x00]|%[YmdHMSjyBbAaeZz%])*\Z")


def _date(value: Any, form: Any = "%Y-%m-%d") -> str:
    """Seconds since 1970 as a date in UTC. Only plain letters: some C libraries take a width, which could be huge."""
    form = _text(form)
    if len(form) > 100 or not _DATE.match(form):
        raise Refused("takes a format of %Y %m %d %H %M %S %j %y %B %b %A %a %e %Z %z")
    try:
        return datetime.fromtimestamp(_number(value), UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        raise Refused("takes seconds since 1970") from None


def _contains(value: Any, part: Any) -> bool:
    return _text(part) in value if isinstance(value, str) else part in _list(value)


def _sum(value: Any) -> int | float:
    return sum(_number(item) for item in _list(value))


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": lambda value: abs(_number(value)),
    "basename": _basename,
    "capitalize": lambda value: _text(value).capitalize(),
    "contains": _contains,
    "count": _length,
    "date": _date,
    "dirname": _dirname,
    "endswith": lambda value, part: _text(value).endswith(_text(part)),
    "first": _end(0),
    "float": _float,
    "int": _int,
    "items": lambda value: [[key, item] for key, item in _mapping(value).items()],
    "join": _join,
    "keys": lambda value: list(_mapping(value)),
    "last": _end(-1),
    "length": _length,
    "list": lambda value: list(_list(value)),
    "lower": lambda value: _text(value).lower(),
    "max": _extreme(lambda items: items[-1]),
    "min": _extreme(lambda items: items[0]),
    "removeprefix": lambda value, part: _text(value).removeprefix(_text(part)),
    "removesuffix": lambda value, part: _text(value).removesuffix(_text(part)),
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "sort": _sort,
    "split": _split,
    "startswith": lambda value, part: _text(value).startswith(_text(part)),
    "string": text_of,
    "sum": _sum,
    "title": lambda value: _text(value).title(),
    "tojson": lambda value: json.dumps(value, ensure_ascii=False),
    "trim": lambda value: _text(value).strip(),
    "truncate": _truncate,
    "unique": _unique,
    "upper": lambda value: _text(value).upper(),
    "values": lambda value: list(_mapping(value).values()),
}
#: These know about missing values and secrets, so the evaluator does them itself.
OWN_FILTERS: Final = frozenset({"default", "d"})
OWN_TESTS: Final = frozenset({"defined", "undefined"})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TESTS: Final[Mapping[str, Callable[..., bool]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "contains": _contains,
    "divisibleby": lambda value, number: _whole(value) % (_whole(number) or 1) == 0,
    "endswith": lambda value, part: _text(value).endswith(_text(part)),
    "even": lambda value: _whole(value) % 2 == 0,
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float),
    "in": lambda value, within: _contains(within, value),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "mapping": lambda value: isinstance(value, dict),
    "none": lambda value: value is None,
    "number": _is_number,
    "odd": lambda value: _whole(value) % 2 == 1,
    "sequence": lambda value: isinstance(value, list),
    "startswith": lambda value, part: _text(value).startswith(_text(part)),
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
}


def _range(*bounds: Any) -> list[int]:
    if not 1 <= len(bounds) <= 3 or (len(bounds) == 3 and bounds[2] == 0):
        raise Refused("takes an end, or start and end, or start, end and a step that is not 0")
    numbers = range(*map(_whole, bounds))
    if abs(numbers.stop - numbers.start) > MAX_INT or len(numbers) > MAX_TURNS:
        raise Refused(f"makes at most {MAX_TURNS:,} numbers")
    return list(numbers)


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "max": FILTERS["max"],
    "min": FILTERS["min"],
    "range": _range,
}
