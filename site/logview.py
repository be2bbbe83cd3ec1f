"""A log as a page shows it: lines with numbers and times, foldable groups, annotations, colours; nothing unescaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from markupsafe import Markup

from formicary.site import ansi, times
from formicary.site.logtail import Line, Tail, read_tail

_COMMAND: Final = re.compile(
    r"^::(?P<name>group|endgroup|error|warning|notice|add-mask)(?P<args> [^:\n]*)?::(?P<text>.*)$"
)
_SUSPECT: Final = re.compile(r"(?i)\b(?:error|failed|failure|fatal|exception|traceback|panic|assert\w*|not found)\b")
_QUIET: Final = re.compile(r"(?i)\b(?:0|no) (?:errors?|failed|failures?)\b")
EXCERPT: Final = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """A line ready for the page. `kind`: out, cmd, sys, error, warning, notice; `place` is file:line."""

    number: int
    clock: str
    kind: str
    html: Markup
    place: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """Here a group begins."""

    number: int
    clock: str
    title: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Here the group ends."""


Item = Shown | Opened | Closed


@dataclass(slots=True)
class Shaper:
    """Lines in, items out; keeps the colours that are on and whether a group is open."""

    began: float = 0.0
    style: ansi.Style = ansi.PLAIN
    grouped: bool = False

    def shape(self, line: Line) -> list[Item]:
        command = _COMMAND.match(ansi.plain(line.text)) if line.stream == "out" else None
        if command is None:
            return [self._text(line)]
        if command["name"] in ("group", "endgroup"):
            return self._group(line, command["name"], command["text"])
        if command["name"] == "add-mask":
            return [self._shown(line, "sys", Markup("::add-mask::•••"))]
        place = _place(command["args"] or "")
        return [self._shown(line, command["name"], Markup.escape(command["text"]), place)]

    def _group(self, line: Line, name: str, title: str) -> list[Item]:
        items: list[Item] = [Closed()] if self.grouped else []
        self.grouped = name == "group"
        if self.grouped:
            items.append(Opened(line.number, times.clock(line.at - self.began), title.strip() or "group"))
        return items

    def _text(self, line: Line) -> Shown:
        if line.stream != "out":
            return self._shown(line, line.stream, Markup.escape(ansi.plain(line.text)))
        html, self.style = ansi.to_html(line.text, self.style)
        return self._shown(line, "out", Markup(html))  # to_html escapes

    def _shown(self, line: Line, kind: str, html: Markup, place: str = "") -> Shown:
        return Shown(line.number, times.clock(line.at - self.began), kind, html, place)


def _place(args: str) -> str:
    pairs = dict(part.strip().partition("=")[::2] for part in args.split(","))
    name, line = pairs.get("file", ""), pairs.get("line", "")
    return f"{name}:{line}" if name and line else name


@dataclass(frozen=True, slots=True)
class LogPart:
    """What the log template shows: the last items of the log, and how many lines are ahead of them."""

    items: tuple[Item, ...] = ()
    total: int = 0
    hidden: int = 0
    size: int = 0
    cursor: str = "0-0-0"
    began: float = 0.0
    damaged: str = ""
    grouped: bool = False
    annotations: tuple[Shown, ...] = field(default=())


def log_part(path: Path, *, ended: bool) -> LogPart:
    """The end of the log at `path`."""
    tail = read_tail(path, ended=ended)
    shaper = Shaper(tail.began or 0.0)
    items = _all(shaper, tail.lines)
    return LogPart(
        items=items,
        total=tail.total,
        hidden=tail.hidden,
        size=tail.size,
        cursor=str(tail.cursor),
        began=tail.began or 0.0,
        damaged=tail.damaged,
        grouped=shaper.grouped,
        annotations=tuple(item for item in items if isinstance(item, Shown) and item.kind in ("error", "warning"))[:20],
    )


def shape(lines: Iterable[Line], began: float) -> tuple[Item, ...]:
    """All items of `lines`, an open group closed at the end."""
    return _all(Shaper(began), lines)


def _all(shaper: Shaper, lines: Iterable[Line]) -> tuple[Item, ...]:
    items = [item for line in lines for item in shaper.shape(line)]
    return tuple([*items, Closed()] if shaper.grouped else items)


def failing_lines(path: Path) -> tuple[Shown, ...]:
    """The lines of a failed attempt's log to read first: from the first suspicious one, else the last ones."""
    tail = read_tail(path, ended=True, max_lines=400)
    out = [line for line in tail.lines if line.stream == "out" and ansi.plain(line.text).strip()]
    first = next((index for index, line in enumerate(out) if _suspicious(line)), None)
    start = max(len(out) - EXCERPT, 0) if first is None else max(first - 1, 0)
    return _items_of(tail, out[start : start + EXCERPT])


def _items_of(tail: Tail, lines: list[Line]) -> tuple[Shown, ...]:
    return tuple(item for item in shape(lines, tail.began or 0.0) if isinstance(item, Shown))


def _suspicious(line: Line) -> bool:
    text = ansi.plain(line.text)
    if text.startswith("::"):
        return text.startswith("::error")
    return bool(_SUSPECT.search(text)) and not _QUIET.search(text)
