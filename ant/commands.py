"""Workflow commands (`::set-output name=K::V`, `::warning::`…) read out of the output, which goes on unchanged.

A command stands at the start of a line. It is read from what was masked already, so no secret gets into an output.
`::add-mask::` is the masker's; `::group::` and whatever else begins with `::` is for those who read the log.
"""

from __future__ import annotations

import re
from typing import Final

MAX_LINE: Final = 64 * 1024
MAX_WARNINGS: Final = 100
MAX_WARNING: Final = 2000
_COMMAND: Final = re.compile(r"::([a-z][a-z-]*)(?:[ ]+([^:]*(?::(?!:)[^:]*)*))?::(.*)", re.DOTALL)


class Commands:
    """Collects the outputs and warnings that a task's output says."""

    def __init__(self) -> None:
        self.outputs: dict[str, str] = {}
        self.warnings: list[str] = []
        self._tail: bytes | None = b""
        """The last line so far, as long as it may be a command."""

    def feed(self, data: bytes) -> None:
        if self._tail:
            data = self._tail + data
        at = 0 if self._tail is not None and data.startswith(b"::") else self._next(data, 0)
        while at >= 0:
            end = data.find(b"\n", at)
            if end < 0:
                break
            self._obey(data[at:end])
            at = self._next(data, end)
        self._keep(data)

    def close(self) -> None:
        """The output, or that of an item, has ended, maybe without a newline."""
        if self._tail:
            self._obey(self._tail)
        self._tail = b""

    @staticmethod
    def _next(data: bytes, start: int) -> int:
        # Most output has no colon, or few: one byte is looked for many times quicker than three.
        colon = data.find(b":", start)
        found = data.find(b"\n::", max(colon - 1, start)) if colon >= 0 else -1
        return found + 1 if found >= 0 else -1

    def _keep(self, data: bytes) -> None:
        newline = data.rfind(b"\n")
        if newline < 0 and self._tail is None:
            return
        size = len(data) - newline - 1
        may_be = size <= MAX_LINE and data.startswith(b"::"[:size], newline + 1)
        self._tail = data[newline + 1 :] if may_be else None

    def _obey(self, line: bytes) -> None:
        match = _COMMAND.fullmatch(line.decode("utf-8", "replace").rstrip("\r"))
        if match is None:
            return
        name, properties, value = match[1], _properties(match[2] or ""), _unescape(match[3])
        if name == "set-output" and properties.get("name"):
            self.outputs[properties["name"]] = value
        elif name in ("error", "warning") and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(_warning(name, properties, value)[:MAX_WARNING])


def _properties(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {key.strip(): _unescape(value).replace("%3A", ":").replace("%2C", ",") for key, _, value in pairs}


def _unescape(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _warning(name: str, properties: dict[str, str], value: str) -> str:
    place = ":".join(part for part in (properties.get("file"), properties.get("line")) if part)
    return f"{name}: {place}: {value}" if place else f"{name}: {value}"
