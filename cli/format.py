"""How things look on a terminal: times, states, tables, harmless text, and a sign of life for what takes long."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import click

from formicary.site.times import duration

COLOURS: Final = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "SKIPPED": "yellow",
    "EXECUTING": "cyan",
    "STARTED": "cyan",
    "READY": "cyan",
    "Synced": "green",
    "OutOfSync": "yellow",
    "Invalid": "red",
    "Orphaned": "yellow",
}
MARKS: Final = {"COMPLETED": "✓", "SKIPPED": "·", "FAILED": "✗", "CANCELLED": "✗"}
#: Jobs in these states will not change any more.
ENDED: Final = frozenset({"COMPLETED", "FAILED", "SKIPPED", "CANCELLED"})
SUCCESS: Final = frozenset({"COMPLETED", "SKIPPED"})

_SGR: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_ESCAPES: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[PX^_].*?(?:\x1b\\|$)"  # device strings
    r"|\x1b\[[0-?]*[ -/]*[@-~]?"  # cursor and screen
    r"|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]",
    re.S,
)
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PATIENCE: Final = 1.0


def moment(said: str | None) -> float | None:
    """A time of the API as seconds since the epoch."""
    return datetime.fromisoformat(said).timestamp() if said else None


def age(said: str | None, now: float | None = None) -> str:
    at = moment(said)
    if at is None:
        return ""
    passed = (time.time() if now is None else now) - at
    return "now" if passed < 1 else f"{duration(passed)} ago"


def took(began: str | None, ended: str | None, now: float | None = None) -> str:
    """How long it took, or takes so far."""
    start, end = moment(began), moment(ended)
    if start is None:
        return ""
    if end is None:
        end = time.time() if now is None else now
    return duration(end - start)


def state(name: str) -> str:
    return click.style(name, fg=COLOURS.get(name))


def dim(text: str) -> str:
    return click.style(text, dim=True)


def one_line(text: str) -> str:
    """The first line, without what would move the cursor."""
    return harmless(" ".join(text.split("\n", 1)[0].split()))


def harmless(text: str) -> str:
    """Text that somebody else wrote: colours stay, whatever else steers a terminal goes (T15)."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    parts = _SGR.split(text)
    return "".join(part if _SGR.fullmatch(part) else _ESCAPES.sub("", part) for part in parts)


def width(text: str) -> int:
    """Columns on a terminal."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    return sum(_columns(character) for character in plain)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def columns() -> int:
    """How wide the terminal is; what is no terminal is as wide as it gets."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def table(rows: Sequence[Sequence[str]], heads: Sequence[str] = (), *, wide: int | None = None) -> str:
    """Aligned columns, two spaces apart; the last one is cut where the terminal ends."""
    wide = wide or columns()
    shown = [[dim(head) for head in heads], *rows] if heads and rows else list(rows)
    if not shown:
        return ""
    widths = [max(width(row[index]) for row in shown) for index in range(len(shown[0]))]
    return "\n".join(_row(row, widths, wide) for row in shown)


def _row(row: Sequence[str], widths: Sequence[int], wide: int) -> str:
    cells = [cell + " " * (room - width(cell)) for cell, room in zip(row[:-1], widths[:-1], strict=True)]
    head = "".join(f"{cell}  " for cell in cells)
    return (head + cut(row[-1], max(wide - width(head), 8))).rstrip()


def cut(text: str, room: int) -> str:
    """The text, or its beginning with an ellipsis where it has no room."""
    if width(text) <= room:
        return text
    plain, used = "", 0
    for character in click.unstyle(text):
        used += _columns(character)
        if used > room - 1:
            break
        plain += character
    return plain + "…"


def as_json(data: Any) -> str:
    import json

    return json.dumps(data, indent=2, ensure_ascii=False)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner after a second, on terminals only; call what it gives to change the words."""
    if not sys.stderr.isatty():
        yield lambda _words: None
        return
    words, ended = [text], threading.Event()

    def spin() -> None:
        turn = 0
        while not ended.wait(_PATIENCE if turn == 0 else 0.1):
            sys.stderr.write(f"\r\x1b[K{_SPINNER[turn % len(_SPINNER)]} {words[0]} ")
            sys.stderr.flush()
            turn += 1
        if turn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    thread = threading.Thread(target=spin, name="spinner", daemon=True)
    thread.start()
    try:
        yield lambda new: words.__setitem__(0, new)
    finally:
        ended.set()
        thread.join()
