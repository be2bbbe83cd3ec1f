"""What a script says in the file $FORMICARY_OUTPUT: `name=value` lines, and `name<<EOF` for several lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_OUTPUTS: Final = 1 << 20
"""Bytes of all outputs of one attempt together."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def parse(data: bytes) -> tuple[dict[str, str], list[str]]:
    """The outputs, and a sentence for everything that is not one."""
    if len(data) > MAX_OUTPUTS:
        return {}, [f"$FORMICARY_OUTPUT holds {len(data)} bytes; no output was taken, the limit is {MAX_OUTPUTS}."]
    outputs: dict[str, str] = {}
    warnings: list[str] = []
    for name, value in _pairs(iter(data.decode("utf-8", "replace").split("\n")), warnings):
        if _NAME.fullmatch(name):
            outputs[name] = value
        else:
            warnings.append(f"Output {name[:100]!r} was not taken: a name is letters, digits and _, up to 100.")
    return outputs, warnings


def limited(outputs: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Those with a valid name, as long as they fit; a sentence for the others."""
    kept: dict[str, str] = {}
    warnings: list[str] = []
    size = 0
    for name, value in outputs.items():
        size += len(name) + len(value.encode("utf-8", "surrogateescape"))
        if not _NAME.fullmatch(name):
            warnings.append(f"Output {name[:100]!r} was not taken: a name is letters, digits and _, up to 100.")
        elif size > MAX_OUTPUTS:
            warnings.append(f"Output {name} was not taken: all outputs together may have {MAX_OUTPUTS} bytes.")
        else:
            kept[name] = value
    return kept, warnings


def _pairs(lines: Iterator[str], warnings: list[str]) -> Iterator[tuple[str, str]]:
    for raw in lines:
        line = raw.rstrip("\r")
        name, equals, value = line.partition("=")
        heredoc, arrow, end = line.partition("<<")
        if arrow and len(heredoc) < len(name):
            yield heredoc.strip(), _heredoc(lines, heredoc.strip(), end.strip(), warnings)
        elif equals:
            yield name.strip(), value
        elif line.strip():
            warnings.append(f"$FORMICARY_OUTPUT: {line[:100]!r} is neither name=value nor name<<EOF.")


def _heredoc(lines: Iterator[str], name: str, end: str, warnings: list[str]) -> str:
    taken: list[str] = []
    for line in lines:
        if line.rstrip("\r") == end:
            return "\n".join(taken)
        taken.append(line)
    warnings.append(f"$FORMICARY_OUTPUT: {name}<<{end} is not ended by a line {end!r}; it was taken to the end.")
    return "\n".join(taken).rstrip("\n")
