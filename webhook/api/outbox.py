"""What is owed to the outside: what is still to be sent, and dead letters, which can be sent again (D10)."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import OutboxEntry, Role
from formicary.runner.store import Tx
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment
from formicary.webhook.operations import Call, Operation

logger = logging.getLogger("formicary.webhook")

PATH: Final = "/api/outbox"
State = Literal["living", "dead"]


class OutboxView(shared.View):
    """Something owed. `kind`: a commit status, a notification, a page …; `key` says of what; `request_id`: because of
    which request, where it is of one. `living` is tried again at `due_at`; `dead` was given up. `error`: why the last
    try failed."""

    id: int
    organization_id: str
    kind: str
    key: str
    request_id: int | None
    state: State
    attempts: int
    created_at: datetime | None
    due_at: datetime | None
    error: str


class OutboxQuery(shared.PageQuery):
    state: State | None = Field(default=None, description="`living`: still to be sent; `dead`: given up.")
    kind: str | None = Field(default=None, max_length=100)


def view(call: Call, entry: OutboxEntry) -> OutboxView:
    """What is sent is not shown: it may hold what only its receiver is to know."""
    mask = call.door.mask
    return OutboxView(
        id=entry.id,
        organization_id=entry.organization_id,
        kind=entry.kind,
        key=mask(entry.key),
        request_id=_request_of(entry),
        state="dead" if entry.dead else "living",
        attempts=entry.attempts,
        created_at=moment(entry.created_at) if entry.created_at else None,
        due_at=None if entry.dead else moment(entry.due_at or call.door.clock()),
        error=mask(entry.error),
    )


def _request_of(entry: OutboxEntry) -> int | None:
    event = entry.payload.get("event")
    found = event.get("request_id") if isinstance(event, dict) else entry.payload.get("request_id")
    return found if isinstance(found, int) else None


async def show_list(call: Call) -> Listed[OutboxView]:
    query: OutboxQuery = call.query
    page = call.door.store.read().outbox(
        organization_id=call.caller.organization_id,
        kind=query.kind,
        dead=None if query.state is None else query.state == "dead",
        page=query.page,
        page_size=query.page_size,
    )
    return shared.listed(page, lambda entry: view(call, entry))


async def resend(call: Call) -> OutboxView:
    """The worker hears of it by the commit."""
    entry_id = call.number()
    entry = call.door.store.read().outbox_entry(entry_id)
    if entry is None or entry.organization_id != call.caller.organization_id:
        raise NotFound(f"There is nothing owed with the number {entry_id}; it may have been sent by now.")
    also = shared.traced(call, "outbox.resend", subject=f"{entry.kind} {call.door.mask(entry.key)}")

    def change(tx: Tx) -> OutboxEntry:
        also(tx)
        return tx.resend(entry_id)

    again = await call.door.store.write(change)
    logger.warning("%s %s is sent again, asked for by %s", entry.kind, call.door.mask(entry.key), shared.who(call))
    return view(call, again)


_TAG: Final = "Outbox"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List what is owed to the outside, newest first",
        show_list,
        tag=_TAG,
        everything=True,
        query=OutboxQuery,
        answer=Listed[OutboxView],
        errors=(422,),
    ),
    Operation(
        "POST",
        PATH + "/{id:int}/resend",
        "Send a dead letter again, or one that waits at once; it gets a new id",
        resend,
        tag=_TAG,
        role=Role.MAINTAINER,
        everything=True,
        answer=OutboxView,
        status=202,
        errors=(404,),
    ),
)
