"""Everything that requests are told to outside this process: a publisher, and what is owed to it, for each place.

Each function below makes the `Outside`s of one kind of place from the settings, none where they name none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from formicary.cli.house import Inside, Outside
from formicary.cli.sites import site
from formicary.cli.ways import ways_of
from formicary.runner.core.errors import Problem
from formicary.runner.core.records import Repository
from formicary.runner.publish.forges import close_all, forges_of
from formicary.runner.publish.guard import Guard, Reach
from formicary.runner.publish.messages import MessagePublisher
from formicary.runner.publish.statuses import StatusPublisher
from formicary.runner.publish.webhook import WebhookPublisher
from formicary.runner.queen.arriving import plugins
from formicary.runner.telling.breakage import Composer
from formicary.runner.telling.escalation import EscalationPublisher, escalation_effect
from formicary.runner.telling.lifecycle import LifecycleEffect
from formicary.runner.telling.notices import NotifyEffect, NotifyPublisher
from formicary.runner.telling.outward import Outward
from formicary.runner.telling.statuses import status_effect, sync_owed

Making = Callable[[Inside], Iterator[Outside]]


def outside(inside: Inside) -> list[Outside]:
    """All of them."""
    return [one for make in _MAKING for one in make(inside)]


def _webhooks(inside: Inside) -> Iterator[Outside]:
    guard = Guard(Reach.of(inside.settings.allow_networks))
    publisher = WebhookPublisher(inside.store.read, _outward(inside).hook, guard, inside.mask)
    yield Outside(publisher, LifecycleEffect())


def _statuses(inside: Inside) -> Iterator[Outside]:
    """Of every repository whose forge takes them, with that one's own token."""

    def problems_of(repository: Repository, commit: str) -> Sequence[Problem]:
        found = inside.sources.definitions(repository.path, commit, repository.dialect)
        return plugins.judged(inside.store.read(), repository, found, inside.settings.bundle_id).problems

    forges = forges_of(inside.credential)
    publisher = StatusPublisher(
        read=inside.store.read,
        forges=forges,
        job_of=lambda request: inside.queen().job_of(request),
        why=lambda request_id: inside.queen().why(request_id),
        problems_of=problems_of,
        mask=inside.mask,
        url=inside.url,
    )
    yield Outside(publisher, status_effect, judged=sync_owed, close=lambda: close_all(forges))


def _notifications(inside: Inside) -> Iterator[Outside]:
    """In two steps: who is to be told, and then each of them."""
    outward = _outward(inside)
    composer = Composer(inside.store, inside.logs, inside.sources, outward, inside.mask)
    yield Outside(NotifyPublisher(inside.store, outward), NotifyEffect())
    yield Outside(EscalationPublisher(inside.store, outward), escalation_effect)
    yield Outside(MessagePublisher(ways_of(inside.settings), composer.message, inside.mask))


def _outward(inside: Inside) -> Outward:
    return Outward(inside.store, lambda: inside.queen().secrets, time.time, inside.url)


_MAKING: Final[tuple[Making, ...]] = (site, _webhooks, _notifications, _statuses)
