"""The ledger of deliveries: each is on disk before it is answered (D1), one seen before starts nothing (T10), and what
follows from it is the reconciler's: it reads the ledger and git, and finds the same however often it is woken."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Final, NamedTuple, NoReturn

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from formicary.runner.core.errors import Conflict, NotFound
from formicary.runner.core.records import DEFAULT_ORGANIZATION, TRIGGER, Delivery, Fact, Repository
from formicary.runner.queen.changes import Change
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.store import Tx
from formicary.webhook.operations import Call, reply
from formicary.webhook.parts import Door

logger = logging.getLogger("formicary.webhook")

ACCEPTED: Final = "accepted"
_IDLE: Final = frozenset({"ping", "other"})
"""Events that nothing follows from, however often they are looked at."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


class Accepted(BaseModel):
    """Which delivery it is, and which requests it has led to so far."""

    delivery_id: int
    duplicate: bool
    request_ids: tuple[int, ...]


def delivery_key(call: Call, header: str) -> str:
    """What the sender calls this delivery. Raises HTTPException 400."""
    return named(call.request.headers.get(header, ""), header)


def named(key: str, header: str) -> str:
    """The same, of what was found there."""
    if not _KEY.fullmatch(key):
        raise HTTPException(400, f"The header {header} must name the delivery (1 to 200 visible characters).")
    return key


class Came(NamedTuple):
    """A hook's call whose signature is good: what the sender calls it, its raw body, that as text, and what it says."""

    forge: str
    key: str
    body: bytes
    text: str
    fact: Fact

    def delivery(self, repository: Repository | None, at: float, ignored: str) -> Delivery:
        fact = self.fact
        return Delivery(
            organization_id=repository.organization_id if repository else DEFAULT_ORGANIZATION,
            forge=self.forge,
            delivery_key=f"{repository.id if repository else 0}:{self.key}",
            repository_id=repository.id if repository else None,
            event=f"{fact.event}.{fact.action}" if fact.action else fact.event,
            body=self.text,
            body_digest=hashlib.sha256(self.body).hexdigest(),
            fact=fact.model_dump(mode="json") if fact.slug else {},
            received_at=at,
            verdict="ignored" if ignored else ACCEPTED,
            reason=ignored,
        )


async def take(door: Door, came: Came, repository: Repository | None, ignored: str = "") -> Response:
    """Write it down, answer, and wake who reads the ledger. `ignored` says why nothing follows from it."""
    return await take_delivery(door, came.delivery(repository, door.clock(), ignored))


async def take_delivery(door: Door, delivery: Delivery) -> Response:
    """The same, of a delivery that is put together already."""
    delivery, new = await write_down(door, delivery)
    door.verdicts[delivery.verdict if new else "duplicate"] += 1
    if new:
        process(door, delivery)
    answer = Accepted(delivery_id=delivery.id, duplicate=not new, request_ids=delivery.request_ids)
    return reply(answer, 202 if new else 200)


async def write_down(door: Door, delivery: Delivery) -> tuple[Delivery, bool]:
    """Once by its key; what tells of a fact that cannot be read back, once by its body too: the key is not signed."""

    def change(tx: Tx) -> tuple[Delivery, bool]:
        if delivery.repository_id is not None and delivery.fact.get("pull_request"):
            first = tx.delivery_of_body(delivery.repository_id, delivery.body_digest)
            if first is not None:
                return first, False
        return tx.add_delivery(delivery)

    return await door.store.write(change)


async def replay(door: Door, delivery_id: int, by: str, also: Also = nothing_else) -> Delivery:
    """Have a delivery looked at again as if it had just come; the delivery as it is until then.

    It stays the delivery it was, so whatever it caused has the same cause, and no second request is made of it (T10).
    What it led to stays in the ledger too. Raises NotFound, Conflict where its repository is watched no longer, or a
    call of a trigger was refused unread.
    """

    def change(tx: Tx) -> Delivery:
        delivery = tx.delivery_by_id(delivery_id)
        if delivery is None:
            raise NotFound(f"There is no delivery {delivery_id}.")
        if delivery.repository_id is None or tx.repository(delivery.repository_id) is None:
            raise Conflict(
                f"Delivery {delivery_id} is of no repository that is watched; watch it, and have the forge deliver it "
                "again."
            )
        if delivery.forge == TRIGGER and not delivery.fact:
            raise Conflict(
                f"Nobody has proven who made call {delivery_id}, so nothing of it was kept; have it made again."
            )
        if delivery.forge != TRIGGER and delivery.event.partition(".")[0] in _IDLE:
            return delivery
        also(tx)
        again = delivery.model_copy(update={"verdict": ACCEPTED, "reason": ""})
        tx.save_delivery(again)
        return again

    delivery = await door.store.write(change)
    logger.warning("delivery %d (%s) is replayed, asked for by %s", delivery.id, delivery.forge, by)
    process(door, delivery)
    return delivery


def process(door: Door, delivery: Delivery) -> None:
    """What is on disk has come, or is to be looked at again: whoever reads the ledger is woken."""
    if delivery.repository_id is not None and delivery.verdict == ACCEPTED:
        door.reconciler.wake(delivery.repository_id)
    door.queen.changes.publish(Change("delivery", delivery.organization_id, delivery.repository_id))


def refuse(door: Door, sentence: str) -> NoReturn:
    """Wrong signature, no secret, nothing there by that name: one status, so that it tells nothing."""
    door.verdicts["bad_signature"] += 1
    logger.warning("a hook call was refused: %s", sentence)
    raise HTTPException(401, sentence)
