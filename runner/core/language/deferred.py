"""Templates of a job's `triggers` wait for a call: until then they are text, in which nothing is a sign of YAML.

The block is found in the text, before anything is rendered or parsed: it begins with a line `triggers:` at the margin.
Each character of a tag that YAML could take for a sign stands as one of the reserved ones, so that no place moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from formicary.runner.core.definition import GO, Dialect, Value
from formicary.runner.core.language.go.template import parse as parse_go
from formicary.runner.core.language.limits import MAX_RENDERED, Budget, Fault
from formicary.runner.core.language.run import TOKEN, Run, Token
from formicary.runner.core.language.template import Template, parse

_KEY: Final = re.compile(r"^triggers:(?=[ \t\n]|\Z)", re.M)
#: Where the value of a key at the margin ends: at the next line that begins with anything but these.
_NEXT: Final = re.compile(r"^(?![ \t\n#\]}]|-[ \t\n]|\Z)", re.M)
_OPENS: Final = re.compile(r"\{[{%]")
_CLOSES: Final = {"{{": "}}", "{%": "%}"}
_SIGNS: Final = [code for code in range(0x21, 0x7F) if not chr(code).isalnum()]
_MASK: Final = {code: 0x10F000 + code for code in _SIGNS}
_UNMASK: Final = {masked: code for code, masked in _MASK.items()}
_MASKED: Final = re.compile("[\U0010f021-\U0010f07e]")


def masked(text: str) -> str:
    """One document's text, the tags of its `triggers` made harmless. As long as before."""
    key = _KEY.search(text)
    if key is None:
        return text
    after = _NEXT.search(text, key.end())
    end = after.start() if after else len(text)
    parts, last = [], 0
    for low, high in _tags(text, key.end(), end):
        parts += [text[last:low], text[low:high].translate(_MASK)]
        last = high
    return "".join([*parts, text[last:]]) if parts else text


def _tags(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Each tag by itself; one that is never closed is left for who reads templates to tell."""
    never: set[str] = set()
    for found in _OPENS.finditer(text, start, end):
        if found.start() < start or found[0] in never:
            continue
        close = text.find(_CLOSES[found[0]], found.end(), end)
        if close < 0:
            never.add(found[0])
            continue
        start = close + 2
        if found[0] == "{{" or text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip():
            yield found.start(), start  # a statement that begins a line is for who reads templates to refuse


def unmasked(text: str) -> str:
    """The text as it was written."""
    return text if text.isascii() else text.translate(_UNMASK)


def is_masked(text: str) -> bool:
    return not text.isascii() and _MASKED.search(text) is not None


@dataclass(frozen=True, slots=True)
class Filled:
    """What a template came to. `value` is plain data where it was one expression and nothing else (of the native
    dialect); `tainted`: outsiders had a hand in it; `missing`: a name that was not there."""

    value: Value
    text: str
    tainted: bool = False


@lru_cache(maxsize=512)
def template(text: str, dialect: Dialect) -> tuple[Template | None, tuple[Fault, ...]]:
    """The template of one value, and what is wrong with it; None where it holds no tag, or cannot be read at all."""
    if "{{" not in text and "{%" not in text:
        return None, ()
    found, faults = parse_go(text) if dialect == GO else parse(text)
    return found, tuple(faults)


def fill(text: str, dialect: Dialect, names: Mapping[str, Any], budget: Budget) -> Filled:
    """Render one value with these names, all of which outsiders can write. Raises Fault: a missing name is one in the
    native dialect, and empty in the go dialect."""
    found, faults = template(text, dialect)
    if faults:
        raise faults[0]
    if found is None:
        return Filled(text, text)
    run = Run(dict(names), frozenset(names), budget)
    found.render(run)
    for doubt in run.doubts:
        _judge(doubt.fault, doubt.missing, dialect)
    for token in run.tokens:
        _judge(token.fault, token.missing, dialect)
    made = run.text()
    tainted = any(token.tainted for token in run.tokens)
    whole = TOKEN.fullmatch(made)
    text = TOKEN.sub(lambda one: run.tokens[int(one[1])].text, made)
    if len(text) > MAX_RENDERED:
        raise Fault(-1, "What it comes to is longer than 1 MiB")
    return Filled(_value(run.tokens[int(whole[1])], dialect) if whole else text, text, tainted)


def _value(token: Token, dialect: Dialect) -> Value:
    return token.text if dialect == GO else token.value


def _judge(fault: Fault | None, missing: str, dialect: Dialect) -> None:
    if fault is not None:
        raise fault
    if missing and dialect != GO:
        remedy = f"write `{missing} | default('')` if it may be missing"
        raise Fault(-1, f"There is no `{missing[:100]}` in what was sent", remedy)
