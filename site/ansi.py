"""Terminal output as HTML: everything is escaped, only SGR colours are rendered, every other control is dropped (T15).

Colours are classes and never styles, because the pages allow no inline style: of 256 and of true colours the nearest of
the sixteen is taken. Direction overrides, which make text read other than it is, are shown as replacement characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import Final

# CSI … final byte; OSC, DCS, SOS, PM, APC up to BEL or ST (or to the end); charset and other short escapes.
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)(?P<args>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_OVERRIDES: Final = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_FLAGS: Final = {1: "sb", 2: "sd", 3: "si", 4: "su", 9: "sx"}
_UNFLAGS: Final = {22: ("sb", "sd"), 23: ("si",), 24: ("su",), 29: ("sx",)}
_SIXTEEN: Final = (
    (0, 0, 0), (205, 49, 49), (13, 158, 90), (190, 160, 0), (36, 114, 200), (188, 63, 188),
    (17, 168, 205), (200, 200, 200), (102, 102, 102), (241, 76, 76), (35, 209, 139), (245, 245, 67),
    (59, 142, 234), (214, 112, 214), (41, 184, 219), (255, 255, 255),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """What the SGR codes so far have set."""

    fore: int | None = None
    back: int | None = None
    flags: frozenset[str] = frozenset()
    inverse: bool = False

    def classes(self) -> str:
        fore, back = (self.back, self.fore) if self.inverse else (self.fore, self.back)
        names = sorted(self.flags)
        names += [f"f{fore}"] if fore is not None else []
        names += [f"b{back}"] if back is not None else []
        return " ".join(names + (["sv"] if self.inverse and fore is None and back is None else []))


PLAIN: Final = Style()


def plain(text: str) -> str:
    """`text` without any control; not escaped."""
    return _OVERRIDES.sub("\ufffd", _CONTROLS.sub("", _ESCAPES.sub("", _visible(text))))


def to_html(text: str, style: Style = PLAIN) -> tuple[str, Style]:
    """One line as HTML, and the style that holds behind it."""
    pieces, text, at = [], _visible(text), 0
    for match in _ESCAPES.finditer(text):
        pieces.append(_span(text[at : match.start()], style))
        at = match.end()
        if match["final"] == "m":
            style = _apply(style, match["args"])
    pieces.append(_span(text[at:], style))
    return "".join(pieces), style


def _visible(text: str) -> str:
    """What a terminal shows of a line that carriage returns overwrite: the last text."""
    return text.rstrip("\r").rpartition("\r")[2]


def _span(text: str, style: Style) -> str:
    text = escape(_OVERRIDES.sub("\ufffd", _CONTROLS.sub("", text)))
    names = style.classes()
    return f'<span class="{names}">{text}</span>' if text and names else text


def _apply(style: Style, args: str) -> Style:
    if args.strip("0123456789;:"):
        return style
    codes = iter([int(part) if 0 < len(part) < 6 else 0 for part in args.replace(":", ";").split(";")])
    for code in codes:
        style = _one(style, code, codes)
    return style


def _one(style: Style, code: int, rest: Iterator[int]) -> Style:
    if code == 0:
        return PLAIN
    if code in _FLAGS:
        return replace(style, flags=style.flags | {_FLAGS[code]})
    if code in _UNFLAGS:
        return replace(style, flags=style.flags - set(_UNFLAGS[code]))
    if code in (7, 27):
        return replace(style, inverse=code == 7)
    return _colour(style, code, rest)


def _colour(style: Style, code: int, rest: Iterator[int]) -> Style:
    if code in (38, 48):
        name = _extended(rest)
        return replace(style, fore=name) if code == 38 else replace(style, back=name)
    if code in (39, 49):
        return replace(style, fore=None) if code == 39 else replace(style, back=None)
    for first, bright in ((30, 0), (90, 8)):
        if first <= code < first + 8:
            return replace(style, fore=code - first + bright)
        if first + 10 <= code < first + 18:
            return replace(style, back=code - first - 10 + bright)
    return style


def _extended(rest: Iterator[int]) -> int | None:
    kind = next(rest, 0)
    if kind == 5:
        return _of_256(next(rest, 0))
    if kind == 2:
        return _nearest((next(rest, 0), next(rest, 0), next(rest, 0)))
    return None


def _of_256(code: int) -> int:
    if code < 16:
        return code
    if code >= 232:
        grey = min((code - 232) * 10 + 8, 255)
        return _nearest((grey, grey, grey))
    code -= 16
    levels = (0, 95, 135, 175, 215, 255)
    return _nearest((levels[code // 36 % 6], levels[code // 6 % 6], levels[code % 6]))


def _nearest(colour: tuple[int, int, int]) -> int:
    def distance(index: int) -> int:
        return sum((one - other) ** 2 for one, other in zip(colour, _SIXTEEN[index], strict=True))

    return min(range(16), key=distance)
