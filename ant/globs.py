"""Path patterns of artifacts and caches: `*` and `?` within a name, `**` across folders, `[a-z]`. Pure."""

from __future__ import annotations

import re
from functools import cache

_MAGIC = re.compile(r"[*?\[]")


def is_glob(pattern: str) -> bool:
    return _MAGIC.search(pattern) is not None


def fixed_folder(pattern: str) -> str:
    """The folder in which everything lies that the pattern can match."""
    fixed: list[str] = []
    for part in pattern.split("/")[:-1]:
        if is_glob(part):
            break
        fixed.append(part)
    return "/".join(fixed)


@cache
def matcher(pattern: str) -> re.Pattern[str]:
    """Matches what the pattern names, whole."""
    parts = pattern.strip("/").split("/")
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:.*/)?"
        else:
            text += _name(part) + ("" if last else "/")
    return re.compile(text, re.DOTALL)


@cache
def below(pattern: str) -> re.Pattern[str]:
    """Matches what the pattern names and everything below it."""
    return re.compile(f"(?:{matcher(pattern).pattern})(?:/.*)?", re.DOTALL)


def _name(part: str) -> str:
    """One name between slashes as a regular expression."""
    text, at = "", 0
    while at < len(part):
        char, at = part[at], at + 1
        if char == "*":
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif char == "[" and (end := part.find("]", at + 1)) > 0:
            inner = part[at:end].replace("\\", "\\\\")
            text += f"(?!/)[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
            at = end + 1
        else:
            text += re.escape(char)
    return text
