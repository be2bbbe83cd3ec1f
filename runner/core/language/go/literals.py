"""Literals of Go's templates: quoted and raw texts, whole numbers and fractions, as Go reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from formicary.runner.core.language.limits import MAX_INT, RESERVED_FIRST, RESERVED_LAST, Fault

NUMBER: Final = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)"
)
_QUOTED: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_RAW: Final = re.compile(r"`[^`]*`")
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.S
)
_SHORT: Final[Mapping[str, str]] = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_MAX_DIGITS: Final = 40


def quoted(source: str, at: int) -> tuple[str, int]:
    """The text that begins at `at` with `"` or a backtick, and where it ends. Raises Fault."""
    found = (_RAW if source[at] == "`" else _QUOTED).match(source, at)
    if found is None:
        raise Fault(at, "This text is not closed", f"close it with `{source[at]}`" if source[at] == '"' else "close it")
    text = found[0][1:-1] if source[at] == "`" else _unescaped(found[0][1:-1], at)
    if any(RESERVED_FIRST <= char <= RESERVED_LAST or char == "\0" for char in text):
        raise Fault(at, "This text holds an escape for a NUL or a reserved character", "leave the character out")
    return text, found.end()


def _unescaped(text: str, at: int) -> str:
    """Go's escapes; `\\377` and `\\xff` are bytes of UTF-8."""
    if "\\" not in text:
        return text
    parts, last = bytearray(), 0
    for found in _ESCAPE.finditer(text):
        parts += text[last : found.start()].encode()
        parts += _escape(found, at)
        last = found.end()
    try:
        return (parts + text[last:].encode()).decode()
    except UnicodeDecodeError:
        raise Fault(at, "The escapes of this text are not UTF-8", 'write the character itself, such as "é"') from None


def _escape(found: re.Match[str], at: int) -> bytes:
    short, octal, byte, small, large, _ = found.groups()
    if short:
        return _SHORT[short].encode()
    if octal or byte:
        code = int(octal, 8) if octal else int(byte, 16)
        if code < 256:
            return bytes([code])
    elif small or large:
        code = int(small or large, 16)
        if code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code).encode()
    raise Fault(at, f"`{found[0][:20]}` is not an escape that Go knows", "write `\\\\` for a backslash")


def number(word: str, at: int, after: str) -> int | float:
    """What Go takes the word for: a fraction where it holds a point or an exponent. Raises Fault."""
    bad = Fault(at, f"`{word[:40]}{after.strip()}` is not a number", "write digits, such as `5` or `-2.5`")
    if len(word) > _MAX_DIGITS:
        raise Fault(at, "This number is too large", "numbers have at most 64 bits")
    if after and (after.isalnum() or after in "_."):
        raise bad
    try:
        value = _whole(word) if _is_whole(word) else float(word)
    except ValueError:
        raise bad from None
    if abs(value) > MAX_INT if isinstance(value, int) else abs(value) == float("inf"):
        raise Fault(at, "This number is too large", "numbers have at most 64 bits")
    return value


def _is_whole(word: str) -> bool:
    return word.lstrip("+-")[:2].lower() == "0x" or not any(sign in word for sign in ".eE")


def _whole(word: str) -> int:
    digits = word.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    return int(word, 8) if octal else int(word, 0)
