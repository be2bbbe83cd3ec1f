"""What hooks delivered, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Delivery, Role
from formicary.webhook import ledger
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment
from formicary.webhook.operations import Call, Operation

PATH: Final = "/api/deliveries"


class DeliveryView(shared.View):
    id: int
    organization_id: str
    forge: str
    delivery_key: str
    repository_id: int | None
    event: str
    body_digest: str
    received_at: datetime | None
    verdict: str
    reason: str
    request_ids: tuple[int, ...]


class DeliveryWithBody(DeliveryView):
    """The body is kept 30 days."""

    body: str


def view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(**_fields(delivery))


def _fields(delivery: Delivery) -> dict[str, object]:
    fields = delivery.model_dump(exclude={"body", "received_at"})
    return {**fields, "received_at": moment(delivery.received_at)}


async def show_list(call: Call) -> Listed[DeliveryView]:
    page = call.door.store.read().deliveries(
        organization_id=call.caller.organization_id,
        repository_id=call.caller.repository_id,
        page=call.query.page,
        page_size=call.query.page_size,
    )
    return shared.listed(page, view)


def _delivery_of(call: Call) -> Delivery:
    """The delivery of the path, if the caller may see it."""
    delivery_id = call.number()
    delivery = call.door.store.read().delivery_by_id(delivery_id)
    if delivery is None or not call.caller.sees(delivery):
        raise NotFound(f"There is no delivery {delivery_id}.")
    return delivery


async def replay(call: Call) -> DeliveryView:
    delivery = _delivery_of(call)
    about = {"repository_id": delivery.repository_id, "subject": f"{delivery.forge} {delivery.event}"}
    also = shared.traced(call, "delivery.replay", delivery=delivery.id, **about)
    return view(await ledger.replay(call.door, delivery.id, shared.who(call), also))


async def show(call: Call) -> DeliveryWithBody:
    delivery = _delivery_of(call)
    return DeliveryWithBody(**_fields(delivery), body=call.door.mask(delivery.body))


_TAG: Final = "Deliveries"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List deliveries, newest first",
        show_list,
        tag=_TAG,
        query=shared.PageQuery,
        answer=Listed[DeliveryView],
        errors=(422,),
    ),
    Operation(
        "GET",
        PATH + "/{id:int}",
        "One delivery with its body",
        show,
        tag=_TAG,
        role=Role.MAINTAINER,
        answer=DeliveryWithBody,
        errors=(404,),
    ),
    Operation(
        "POST",
        PATH + "/{id:int}/replay",
        "Look at it again as if it had just come; it makes no second request of one cause",
        replay,
        tag=_TAG,
        role=Role.MAINTAINER,
        answer=DeliveryView,
        status=202,
        errors=(404, 409),
    ),
)
