"""Calls of `webhook` triggers: proof first, over the raw bytes; then what it comes to, on disk, and the answer.

A trigger without a secret takes no call (T9); that it was called all the same is noted once an hour, without what was
sent. A call that its definition does not want, or that does not fit it, stands in the ledger with the reason.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.responses import Response

from formicary.runner.core.errors import Conflict, RequestRefused
from formicary.runner.core.records import TRIGGER, Delivery
from formicary.runner.core.webhooks import RateLimit, safe_headers
from formicary.runner.queen.arriving.called import BODY, FORM, JSON, Called
from formicary.webhook.forges import github, signature
from formicary.webhook.ledger import ACCEPTED, Accepted, process, refuse, take_delivery, write_down
from formicary.webhook.operations import Call, Operation
from formicary.webhook.parts import Door

_KEYS: Final = (
    "x-formicary-delivery",
    "webhook-id",
    "idempotency-key",
    "x-github-delivery",
    "x-gitea-delivery",
)
"""Headers that name a delivery, the first of them that is there."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_BEARER: Final = re.compile(r"bearer +", re.I)
_UNPROVEN: Final = "No trigger here takes this call: check the address, and the secret at both ends."
_HOUR: Final = 3600
_TAKEN: Final = frozenset({ACCEPTED, "handled", "coalesced"})
"""Verdicts of calls that counted."""
_LOOKED_AT: Final = 1000


async def on_trigger(call: Call) -> Response:
    door, body = call.door, await call.request.body()
    parameters = call.request.path_params
    found = door.queen.triggered.called(call.text("job_type"), call.text("name"), parameters.get("repository", ""))
    headers = call.request.headers
    proven = await anyio.to_thread.run_sync(_proven, found, headers, body)
    if not proven:
        await _note_those_without_secret(door, found)
        refuse(door, _UNPROVEN)
    if len(proven) > 1:
        where = f"/hooks/trigger/REPOSITORY/{call.text('job_type')}/{call.text('name')}"
        raise Conflict(f"Several repositories have this job, this trigger and this secret; call {where}")
    return await _take(door, proven[0], headers, body)


async def on_trigger_of(call: Call) -> Response:
    """Of the job of one repository."""
    return await on_trigger(call)


def _proven(found: Sequence[Called], headers: Mapping[str, str], body: bytes) -> list[Called]:
    """All are tried, however early one fits."""
    return [one for one in found if proves(one, headers, body)]


def proves(called: Called, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the call knows the secret of this trigger. Takes as long where it does not."""
    secret, trigger = called.secret, called.trigger
    said = headers.get(trigger.where, "").strip()
    if secret is None or not said:
        return False
    if trigger.auth == "hmac_sha256":
        given = said.lower() if said.startswith("sha256=") else f"sha256={said.lower()}"
        return hmac.compare_digest(signature.sign(secret, body).encode(), given.encode("latin-1", "replace"))
    given = said if trigger.header else _BEARER.sub("", said, count=1)
    return hmac.compare_digest(secret, given.encode("latin-1", "replace"))


async def _take(door: Door, called: Called, headers: Mapping[str, str], body: bytes) -> Response:
    delivery = _delivery(door, called, headers, body)
    known = door.store.read().delivery(TRIGGER, delivery.delivery_key)
    if known is not None:
        return await take_delivery(door, known)
    wrong = ""
    try:
        heard = await anyio.to_thread.run_sync(door.queen.triggered.heard, called, delivery)
        unwanted = f"`{called.job.job_type}` is disabled" if called.definition.disabled else heard.unwanted
    except RequestRefused as error:
        if error.field == BODY:
            raise HTTPException(400, f"The call is refused: {error}.") from error
        wrong = unwanted = str(error)
    if unwanted:
        update = {"verdict": "refused" if wrong else "ignored", "reason": unwanted}
        answer = await take_delivery(door, delivery.model_copy(update=update))
        if wrong:
            raise HTTPException(422, f"The call does not fit the trigger: {wrong}.")
        return answer
    if called.trigger.rate_limit is not None:
        _within_rate(door, called, called.trigger.rate_limit)
    return await take_delivery(door, delivery)


def _within_rate(door: Door, called: Called, limit: RateLimit) -> None:
    """Raises 429 with Retry-After. What was taken before this process began counts too."""
    trigger = (called.definition.id, called.trigger.name)
    if not door.rates.knows(trigger):
        door.rates.remember(trigger, _ages(door, called))
    try:
        door.rates.take(trigger, limit)
    except HTTPException:
        door.verdicts["limited"] += 1
        raise


def _ages(door: Door, called: Called) -> list[float]:
    """How long ago (s) the calls of it were taken that are among the newest deliveries, the oldest first."""
    newest = door.store.read().deliveries(repository_id=called.repository.id, page_size=_LOOKED_AT).records
    event, now = f"{called.job.job_type}/{called.trigger.name}", door.clock()
    taken = [one for one in newest if (one.forge, one.event) == (TRIGGER, event) and one.verdict in _TAKEN]
    return [now - one.received_at for one in reversed(taken)]


def _delivery(door: Door, called: Called, headers: Mapping[str, str], body: bytes) -> Delivery:
    """What is written down. Raises HTTPException 400, 415 for what is no text, or of another kind."""
    kind, text = _read(headers.get("content-type", ""), body)
    job_type, trigger = called.job.job_type, called.trigger
    return Delivery(
        organization_id=called.definition.organization_id,
        forge=TRIGGER,
        delivery_key=f"{called.repository.id}:{job_type}:{trigger.name}:{_key(headers)}",
        repository_id=called.repository.id,
        event=f"{job_type}/{trigger.name}",
        body=text,
        body_digest=hashlib.sha256(body).hexdigest(),
        fact={
            "job_type": job_type,
            "trigger": trigger.name,
            "type": kind,
            "headers": safe_headers(headers, trigger),
        },
        received_at=door.clock(),
        verdict=ACCEPTED,
    )


def _read(content_type: str, body: bytes) -> tuple[str, str]:
    kind = content_type.partition(";")[0].strip().lower()
    said = {github.JSON: JSON, github.FORM: FORM, "": JSON}.get(kind, JSON if kind.endswith("+json") else "")
    if not said:
        raise HTTPException(415, f"Send the call as {github.JSON} or {github.FORM}.")
    try:
        return said, body.decode("utf-8")
    except ValueError as error:
        raise HTTPException(400, f"The body cannot be read: {error}") from error


def _key(headers: Mapping[str, str]) -> str:
    """What the sender calls this delivery; a call that he does not name is one by itself."""
    said = next((headers[name] for name in _KEYS if headers.get(name)), "")
    if said and not _KEY.fullmatch(said):
        raise HTTPException(400, "The header that names the delivery takes 1 to 200 visible characters.")
    return said or f"unnamed-{secrets.token_hex(12)}"


async def _note_those_without_secret(door: Door, found: Sequence[Called]) -> None:
    """In the ledger, where somebody looks who wonders why nothing happens; nothing of what was sent, which nobody has
    proven, and once an hour."""
    now = door.clock()
    for called in found:
        if called.secret is not None:
            continue
        job_type, trigger = called.job.job_type, called.trigger.name
        noted = Delivery(
            organization_id=called.definition.organization_id,
            forge=TRIGGER,
            delivery_key=f"{called.repository.id}:{job_type}:{trigger}:refused-{now // _HOUR:.0f}",
            repository_id=called.repository.id,
            event=f"{job_type}/{trigger}",
            received_at=now,
            verdict="refused",
            reason=called.why,
        )
        noted, new = await write_down(door, noted)
        if new:
            process(door, noted)


_ERRORS: Final = (400, 401, 409, 413, 415, 422, 429)

OPERATIONS: Final = tuple(
    Operation(
        "POST",
        path,
        summary,
        handler,
        tag="Hooks",
        role=None,
        signed=True,
        answer=Accepted,
        status=202,
        errors=_ERRORS,
    )
    for path, handler, summary in (
        ("/hooks/trigger/{job_type}/{name}", on_trigger, "A job's `webhook` trigger is called, as its definition says"),
        (
            "/hooks/trigger/{repository}/{job_type}/{name}",
            on_trigger_of,
            "The same, of the job of one repository (its name or id)",
        ),
    )
)
