"""View model and links in, HTML out. The same templates make static files and live pages; all text is escaped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from formicary.site import times
from formicary.site.links import Link
from formicary.site.logview import Closed, Item, Opened, Shown
from formicary.site.status import Status
from formicary.site.views import Cell, JobView, LogView, RepositoryView, RequestRow, RequestView, View

STATIC: Final = {
    "formicary.css": "text/css; charset=utf-8",
    "formicary.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
}
#: What a page opened from disk has: nothing that talks to a server.
STATIC_SITE: Final = ("formicary.css", "formicary.js")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_TONES: Final = {"ok": "#2f9e5b", "bad": "#d93a2f", "run": "#2a8fc7", "wait": "#c79a1b", "off": "#8d8478"}


@dataclass(frozen=True, slots=True)
class Chrome:
    """What only live pages have. `watch`: address of the events that say this page has changed; `tail`: of the log's
    new lines; `csrf`: what forms send back; `run`, `cancel`: addresses of the actions this reader may use; `vote`:
    below it are `/approve` and `/reject`, of the tasks in `ballots`."""

    live: bool = False
    watch: str = ""
    tail: str = ""
    csrf: str = ""
    run: str = ""
    restart: str = ""
    vote: str = ""
    ballots: frozenset[str] = frozenset()
    cancel: str = ""
    logout: str = ""


NO_CHROME: Final = Chrome()


def render(page: str, view: View, link: Link, chrome: Chrome = NO_CHROME, *, fragment: bool = False) -> str:
    """The page called `page` (a template's name without its ending); as a `fragment`, only what is inside its main."""
    template = _environment().get_template(f"{page}.html")
    frame = "fragment.html" if fragment else "base.html"
    return template.render(view=view, link=link, chrome=chrome, frame=frame, favicon=favicon(_status_of(view)))


def render_lines(items: list[Shown]) -> str:
    """Lines of a log that are added to a page which is open."""
    return str(_macro("line", items))


def render_group(item: Opened) -> str:
    """The head of a group that is added to a page which is open."""
    return str(_macro("group", [item]))


def _macro(name: str, items: Iterable[Item]) -> str:
    macro = getattr(_macros(), name)
    return "".join(macro(item) for item in items)


@lru_cache(maxsize=8192)
def _row(row: RequestRow, href: str, repository: bool) -> Markup:
    """A row stands on many pages, and hardly ever changes."""
    return Markup(_macros().run(row, href, repository))  # the macro has escaped


@lru_cache(maxsize=8192)
def _cell(cell: Cell, href: str) -> Markup:
    return Markup(_macros().cell(cell, href))  # the macro has escaped


def _macros() -> Any:
    return _environment().get_template("macros.html").module


@lru_cache(maxsize=1)
def static_files() -> dict[str, bytes]:
    folder = files("formicary.site").joinpath("static")
    return {name: folder.joinpath(name).read_bytes() for name in STATIC}


@lru_cache(maxsize=1)
def static_version() -> str:
    return hashlib.sha256(b"".join(static_files().values())).hexdigest()[:10]


@lru_cache(maxsize=8)
def favicon(status: Status | None) -> str:
    """The nest's cell in the colour of what the page is about."""
    colour = _TONES[status.tone] if status else "#c4621a"
    marks = {"ok": "M5 8.2l2.2 2.2L11.2 6", "bad": "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"}
    mark = marks.get(status.tone if status else "", "M8 4.4v.1M8 8v.1M8 11.5v.1")
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path fill='{colour}' "
        f"d='M8 .5l6.5 3.75v7.5L8 15.5l-6.5-3.75v-7.5z'/><path d='{mark}' fill='none' stroke='#fff' "
        "stroke-width='2' stroke-linecap='round'/></svg>"
    )
    return "data:image/svg+xml," + quote(svg)


def _status_of(view: View) -> Status | None:
    match view:
        case RequestView():
            return view.row.status
        case LogView():
            return view.attempt.status
        case JobView():
            return view.latest.status if view.latest else None
        case RepositoryView():
            return view.card.health
        case _:
            return None


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("formicary.site", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
        finalize=_visible,
    )
    environment.filters.update(
        stamp=times.stamp, shown=times.shown, duration=times.duration, size=times.size, percent=_percent
    )
    environment.globals.update(row_html=_row, cell_html=_cell)
    environment.tests.update(
        opened=lambda item: isinstance(item, Opened),
        closed=lambda item: isinstance(item, Closed),
    )
    return environment


def _visible(value: object) -> object:
    """Text without controls; what turns the direction of text is shown as what it is, unreadable (T15)."""
    if type(value) is str and _CONTROLS.search(value):
        return _CONTROLS.sub("\ufffd", value)
    return value


def _percent(share: float) -> str:
    """Never 100 % while something failed, never 0 % while something succeeded."""
    if 0 < share < 1:
        share = min(max(share, 0.01), 0.99)
    return f"{share * 100:.0f} %"
