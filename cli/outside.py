"""Everything that requests are told to outside this process: a publisher, and what is owed to it, for each place.

Each function below makes the `Outside`s of one kind of place from the settings, none where they name none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from formicary.cli.house import Inside, Outside
from formicary.site.publish import SitePublisher, site_effect

Making = Callable[[Inside], Iterator[Outside]]


def outside(inside: Inside) -> list[Outside]:
    """All of them."""
    return [one for make in _MAKING for one in make(inside)]


def _site(inside: Inside) -> Iterator[Outside]:
    if inside.settings.site is not None:
        publisher = SitePublisher(inside.store, inside.settings.site, inside.logs)
        yield Outside(publisher, site_effect, start=publisher.publish_all, gone=publisher.prune)


_MAKING: Final[tuple[Making, ...]] = (_site,)
