"""Path patterns of artifacts, caches and reports: `*` and `?` within a name, `**` across folders, `[a-z]`. Pure.

What stands between two stars is looked for once, from the left, and never again (`(?>…)`): the first place is as good
as any later one. So no pattern takes long, whatever the names are.
"""

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
    first, *others = _chunks(pattern.strip("/").split("/"))
    text = "/".join(map(_name, first)) + ("/" if first and others else "")
    for chunk in filter(None, others[:-1]):
        text += f"(?>(?:[^/]*/)*?{'/'.join(map(_name, chunk))}/)"
    if others:
        text += f"(?:.*/)?{'/'.join(map(_name, others[-1]))}" if others[-1] else ".*"
    return re.compile(text, re.DOTALL)


def _chunks(parts: list[str]) -> list[list[str]]:
    """What stands between the `**`."""
    chunks: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            chunks.append([])
        else:
            chunks[-1].append(part)
    return chunks


@cache
def below(pattern: str) -> re.Pattern[str]:
    """Matches what the pattern names and everything below it."""
    return re.compile(f"(?:{matcher(pattern).pattern})(?:/.*)?", re.DOTALL)


def _name(part: str) -> str:
    """One name between slashes as a regular expression."""
    first, *others = _fixed(part)
    text = first + "".join(f"(?>[^/]*?{one})" for one in others[:-1] if one)
    return f"{text}[^/]*{others[-1]}" if others else text


def _fixed(part: str) -> list[str]:
    """What stands between the stars: characters, one each."""
    found, at = [""], 0
    while at < len(part):
        char, at = part[at], at + 1
        if char == "*":
            found.append("")
        elif char == "?":
            found[-1] += "[^/]"
        elif char == "[" and (end := part.find("]", at + 1)) > 0:
            inner = part[at:end].replace("\\", "\\\\")
            found[-1] += f"(?!/)[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
            at = end + 1
        else:
            found[-1] += re.escape(char)
    return found
