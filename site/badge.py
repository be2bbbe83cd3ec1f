"""A small badge, `ci | passing`, as SVG without scripts, fonts or colours that only some can tell apart."""

from __future__ import annotations

from html import escape
from typing import Final

from formicary.runner.core.states import State

_WORDS: Final = {
    State.COMPLETED: ("passing", "#1f6b3a"),
    State.SKIPPED: ("skipped", "#5f574d"),
    State.CANCELLED: ("cancelled", "#5f574d"),
    State.FAILED: ("failing", "#b3261e"),
}
_UNKNOWN: Final = ("no runs", "#5f574d")
_NARROW: Final = frozenset("ijltfrI.,:;|!'()[] ")
_WIDE: Final = frozenset("mwMW@%…")


def badge(label: str, state: State | None) -> str:
    """The badge of a job whose latest ended run is `state` (None: there is none)."""
    word, colour = _WORDS.get(state, _UNKNOWN) if state else _UNKNOWN
    label = "".join(char if char.isprintable() else "\ufffd" for char in label)
    label = label if len(label) <= 40 else label[:39] + "…"
    left, right = _width(label) + 28, _width(word) + 14
    name = escape(f"{label}: {word}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}">'
        f'<title>{name}</title><rect width="{left + right}" height="20" rx="3" fill="#3a2f25"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="{colour}"/>'
        '<path d="M11 4l5.2 3v6L11 16l-5.2-3V7z" fill="#f2a65a"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="21" y="14" textLength="{left - 28}">{escape(label)}</text>'
        f'<text x="{left + 7}" y="14" textLength="{right - 14}">{word}</text></g></svg>\n'
    )


def _width(text: str) -> int:
    """About what the text takes at 11 pixels; textLength makes it exact."""
    return round(sum(4.2 if char in _NARROW else 10 if char in _WIDE else 7 for char in text))
