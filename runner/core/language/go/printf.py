"""Go's `printf`, as far as it can be bounded: `%s %v %q %d %x %X %f %t %%`, with flags, width and precision.

What Go would write into the text as `%!d(string=x)` is an error here. Lists and mappings are written as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from formicary.runner.core.language.functions import Absent, Refused, kind, text_of
from formicary.runner.core.language.operators import secret
from formicary.runner.core.language.run import UNDEFINED

MAX_WIDTH: Final = 200
_VERB: Final = re.compile(r"%(?P<flags>[-+ 0#]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.?)", re.S)
_FLAGS: Final[Mapping[str, str]] = {
    "s": "-",
    "v": "-0",
    "q": "-",
    "d": "-+ 0",
    "x": "-0#",
    "X": "-0#",
    "f": "-+ 0",
    "t": "-",
}
_SHORT: Final[Mapping[str, str]] = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}


def printf(form: Any, *values: Any) -> str:
    """The text. Raises Refused."""
    if not isinstance(form, str) or secret(form):
        raise Refused("takes a text with verbs such as `%s` first")
    given = iter(values)
    parts, last = [], 0
    for found in _VERB.finditer(form):
        parts += [form[last : found.start()], _written(found, given)]
        last = found.end()
    if next(given, _verb) is not _verb:
        raise Refused("is given more values than its text has verbs")
    return "".join([*parts, form[last:]])


def _written(found: re.Match[str], given: Iterator[Any]) -> str:
    verb, shown = found["verb"], found[0]
    if verb == "%":
        return "%"
    flags, width, precision = _shape(found)
    value = next(given, _verb)
    if value is _verb:
        raise Refused(f"has no value for `{shown}`")
    if secret(value) and shown not in ("%s", "%v"):
        raise Refused(f"puts a secret in with `%s` only, not with `{shown}`")
    try:
        text = _VERBS[verb](value, flags, precision)
    except TypeError:
        if value is UNDEFINED:
            raise Absent(f"has nothing to write with `{shown}`") from None
        raise Refused(f"cannot write {_kind(value)} with `{shown}`") from None
    return _padded(text, flags, width, verb)


def _shape(found: re.Match[str]) -> tuple[frozenset[str], int, int | None]:
    """Flags, width and precision of a verb. Raises Refused."""
    verb, shown = found["verb"], found[0]
    if verb not in _VERBS or not verb:
        raise Refused(f"knows no verb `{shown[:20]}`; there are `%s %v %q %d %x %X %f %t %%`")
    flags = frozenset(found["flags"])
    if extra := flags.difference(_FLAGS[verb]):
        raise Refused(f"knows no `{min(extra)}` before `{verb}`")
    width = int(found["width"][:9] or 0)
    precision = None if found["precision"] is None else int(found["precision"][:9] or 0)
    if width > MAX_WIDTH or (precision or 0) > MAX_WIDTH:
        raise Refused(f"takes a width of at most {MAX_WIDTH}, not `{shown[:20]}`")
    return flags, width, precision


def _kind(value: Any) -> str:
    return "a fraction" if isinstance(value, float) else kind(value)


def _padded(text: str, flags: frozenset[str], width: int, verb: str) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb in "dxXfv" and text[:1] not in ("", " "):
        sign = text[:1] if text[0] in "+-" else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _text(value: Any, flags: frozenset[str], precision: int | None) -> str:
    text = "" if value is UNDEFINED else text_of(value)
    return text if precision is None else text[:precision]


def _any(value: Any, flags: frozenset[str], precision: int | None) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _text(value, flags, precision)
    if isinstance(value, int):
        return _whole(value, flags, precision)
    return _signed(_shortest(value) if precision is None else f"{value:.{precision}g}", flags)


def _shortest(value: float) -> str:
    """As Go's `%v`: the shortest digits, with an exponent from 1e+06 on and below 1e-4."""
    mantissa, _, exponent = f"{Decimal(repr(value)):e}".partition("e")
    if value and not -4 <= int(exponent) < 6:
        whole, _, rest = mantissa.partition(".")
        rest = rest.rstrip("0")
        return f"{whole}{'.' if rest else ''}{rest}e{int(exponent):+03d}"
    return repr(value).removesuffix(".0")


def _signed(text: str, flags: frozenset[str]) -> str:
    if text.startswith("-"):
        return text
    return ("+" if "+" in flags else " " if " " in flags else "") + text


def _whole(value: Any, flags: frozenset[str], precision: int | None) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    sign = "-" if value < 0 else ""
    return _signed(sign + str(abs(value)).rjust(precision or 0, "0"), flags)


def _hex(upper: bool) -> Callable[[Any, frozenset[str], int | None], str]:
    def hexed(value: Any, flags: frozenset[str], precision: int | None) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, str)) or precision is not None:
            raise TypeError
        head = "0x" if "#" in flags else ""
        if isinstance(value, str):
            text = (head if value else "") + value.encode(errors="surrogatepass").hex()
        else:
            text = f"{'-' if value < 0 else ''}{head}{abs(value):x}"
        return text.upper() if upper else text

    return hexed


def _fraction(value: Any, flags: frozenset[str], precision: int | None) -> str:
    if not isinstance(value, float):
        raise TypeError
    return _signed(f"{value:.{6 if precision is None else precision}f}", flags)


def _flag(value: Any, flags: frozenset[str], precision: int | None) -> str:
    if not isinstance(value, bool):
        raise TypeError
    return text_of(value)


def _quoted(value: Any, flags: frozenset[str], precision: int | None) -> str:
    """As strconv.Quote."""
    if value is not UNDEFINED and not isinstance(value, str):
        raise TypeError
    text = _text(value, flags, precision)
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_VERBS: Final[Mapping[str, Callable[[Any, frozenset[str], int | None], str]]] = {
    "s": _text,
    "v": _any,
    "q": _quoted,
    "d": _whole,
    "x": _hex(False),
    "X": _hex(True),
    "f": _fraction,
    "t": _flag,
}


def _verb() -> None:
    """Nothing: what `next` gives back when there are no more values."""
