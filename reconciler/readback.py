"""Open pull requests are read back from their forge now and then: a lost hook costs delay, never a check (D5).

What is read becomes a delivery in the ledger like any other, so the same judgement and the same causes hold.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import Delivery, Fact, PullRequest, Repository, SeenRef
from formicary.runner.store import Store, Tx

OpenPulls = Callable[[Repository], Awaitable[list[PullRequest]]]
EVERY: Final = 300.0
"""Seconds between two readings of a repository."""
LATER: Final = 3600.0
"""The same, where it cannot be read: no token, or one that may not."""
EVENT: Final = "pull_request"

log = logging.getLogger("formicary.reconciler")


class ReadBack:
    """`open_pulls` asks a repository's forge. One instance for all repositories; `look` before each look at one."""

    def __init__(self, store: Store, open_pulls: OpenPulls, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._store = store
        self._open_pulls = open_pulls
        self._due: dict[int, float] = {}

    async def look(self, repository: Repository) -> None:
        """Read them, if it is time; what keeps us from it is said and does not keep its branches from being seen."""
        now = self._clock()
        if not (repository.forge and repository.slug) or now < self._due.get(repository.id, 0.0):
            return
        wait = EVERY
        try:
            found = await self._open_pulls(repository)
            await self._store.write(lambda tx: note(tx, repository, found))
        except Undeliverable as error:
            log.info("the pull requests of %s cannot be read back: %s", repository.name, error)
            wait = LATER
        except WorldError as error:
            log.info("the pull requests of %s are read back later: %s", repository.name, error)
            wait = error.retry_after if isinstance(error, ToldToWait) else EVERY
        self._due[repository.id] = now + wait * (1 + random.uniform(0, 0.2))


def note(tx: Tx, repository: Repository, found: Sequence[PullRequest]) -> None:
    """Within a change: what nobody has told of yet is told now. On first sight of a repository everything that is open
    is old news, as its branches are."""
    for pull in (one.model_copy(update={"repository_id": repository.id}) for one in found):
        before = tx.pull_request(repository.id, pull.number)
        if repository.seen_at is None:
            seen = SeenRef(repository_id=repository.id, ref=ref_of(pull), commit=pull.head_commit, generation=1)
            tx.put_pull_request(pull)
            tx.put_refs([seen])
        elif before is None or before.head_commit != pull.head_commit or before.state != "open":
            tx.add_delivery(_delivery(repository, pull, _action(before), tx.now))


def _action(before: PullRequest | None) -> str:
    if before is None:
        return "opened"
    return "synchronize" if before.state == "open" else "reopened"


def _delivery(repository: Repository, pull: PullRequest, action: str, now: float) -> Delivery:
    fact = Fact(event=EVENT, action=action, slug=repository.slug, sender=pull.author, pull_request=pull)
    return Delivery(
        organization_id=repository.organization_id,
        forge=repository.forge,
        delivery_key=f"{repository.id}:read:{pull.number}:{pull.head_commit}:{action}:{pull.updated_at:.0f}",
        repository_id=repository.id,
        event=f"{EVENT}.{action}",
        fact=fact.model_dump(mode="json"),
        received_at=now,
    )


def ref_of(pull: PullRequest) -> str:
    """What its head is called here, whatever the forge calls it."""
    return f"refs/pull/{pull.number}/head"


def there(repository: Repository, ref: str) -> str:
    """What the forge calls such a ref."""
    return ref.replace("refs/pull/", "refs/merge-requests/", 1) if repository.forge == "gitlab" else ref
