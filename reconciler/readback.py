"""Open pull requests are read back from their forge now and then: a lost hook costs delay, never a check (D5).

What is read becomes a delivery in the ledger like any other, so the same judgement and the same causes hold.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import anyio

from formicary.runner.core.errors import ToldToWait, Undeliverable, WorldError
from formicary.runner.core.records import Delivery, Fact, PullRequest, Repository, SeenRef
from formicary.runner.publish import MOST_PULLS
from formicary.runner.store import Store, Tx

OpenPulls = Callable[[Repository], Awaitable[list[PullRequest]]]
EVERY: Final = 300.0
"""Seconds between two readings of a repository."""
LATER: Final = 3600.0
"""The same, where it cannot be read: no token, or one that may not."""
LONGEST: Final = 120.0
"""Seconds that one reading may take."""
SETTLED: Final = 60.0
"""Seconds after which a forge's list shows what the forge has told."""
EVENT: Final = "pull_request"

log = logging.getLogger("formicary.reconciler")


class ReadBack:
    """`open_pulls` asks a repository's forge. One instance for all repositories; `claim` one before its `look`."""

    def __init__(self, store: Store, open_pulls: OpenPulls, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._store = store
        self._open_pulls = open_pulls
        self._due: dict[int, float] = {}
        self._busy: set[int] = set()

    def claim(self, repository: Repository) -> bool:
        """Whether it is time to read this one's, and nobody does so; whoever is told so does."""
        early = repository.id in self._busy or self._clock() < self._due.get(repository.id, 0.0)
        if early or not (repository.forge and repository.slug):
            return False
        self._busy.add(repository.id)
        return True

    async def look(self, repository: Repository) -> bool:
        """Read them; True where the ledger has something new. What keeps us from it is said, and tried again later. It
        runs beside the looks at branches, and keeps none of them waiting."""
        wait = EVERY
        try:
            known = self._store.read().open_pull_requests(repository.id)
            with anyio.fail_after(LONGEST):
                found = await self._open_pulls(repository)
            return await self._store.write(lambda tx: note(tx, repository, found, known))
        except Undeliverable as error:
            log.info("the pull requests of %s cannot be read back: %s", repository.name, error)
            wait = LATER
        except (WorldError, TimeoutError) as error:
            log.info("the pull requests of %s are read back later: %s", repository.name, error)
            wait = error.retry_after if isinstance(error, ToldToWait) else EVERY
        except Exception:  # what a forge answers is no reason to end the looks at all repositories (D8)
            log.exception("reading the pull requests of %s back failed", repository.name)
        finally:
            self._due[repository.id] = self._clock() + wait * (1 + random.uniform(0, 0.2))
            self._busy.discard(repository.id)
        return False


def note(tx: Tx, repository: Repository, found: Sequence[PullRequest], known: Sequence[PullRequest]) -> bool:
    """Within a change: what nobody has told of yet is told now; True if there was any. On first sight of a repository
    everything that is open is old news, as its branches are. `known`: those that were open here before it was asked."""
    if tx.repository(repository.id) is None:
        return False
    told: list[Delivery] = []
    for pull in (one.model_copy(update={"repository_id": repository.id}) for one in found):
        before = tx.pull_request(repository.id, pull.number)
        if repository.seen_at is None:
            _old_news(tx, pull, before)
        elif before is None or before.head_commit != pull.head_commit or before.state != "open":
            told.append(_delivery(repository, pull, _action(before), tx.now))
    if len(found) < MOST_PULLS:
        told += (_delivery(repository, pull, "closed", tx.now) for pull in _gone(tx, found, known))
    new = [tx.add_delivery(one)[1] for one in told]
    return any(new)


def _old_news(tx: Tx, pull: PullRequest, before: PullRequest | None) -> None:
    if before is None:
        tx.put_pull_request(pull)
        tx.put_refs(
            [SeenRef(repository_id=pull.repository_id, ref=ref_of(pull), commit=pull.head_commit, generation=1)]
        )


def _gone(tx: Tx, found: Sequence[PullRequest], known: Sequence[PullRequest]) -> Iterator[PullRequest]:
    """Those that were open and are no longer, unless a hook has told something of them meanwhile. One of which the
    forge told just now may not be in its list yet."""
    there = {pull.number for pull in found}
    for pull in known:
        settled = pull.updated_at < tx.now - SETTLED
        if pull.number not in there and settled and tx.pull_request(pull.repository_id, pull.number) == pull:
            yield pull.model_copy(update={"state": "closed"})


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
