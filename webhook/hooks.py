"""Hooks: check the signature over the raw bytes, write the delivery down, answer, wake the reconciler. Nothing else.

The delivery is on disk before 202 (D1). Nothing hangs on the wake-up: the reconciler looks by itself too, and sees the
same. A delivery seen before is answered 200 with the first one's id and the request ids that it has by now (T10). A
body whose signature is wrong is never parsed (T9).
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Final, NoReturn

import anyio
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from formicary.runner.core.records import Delivery, Repository
from formicary.runner.queen.changes import Change
from formicary.webhook.datafolder import known_hook_secret
from formicary.webhook.forges import commit
from formicary.webhook.operations import Call, Operation, reply
from formicary.webhook.parts import Door

logger = logging.getLogger("formicary.webhook")

FORGE: Final = "commit"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_LARGE: Final = 1 << 20


class Accepted(BaseModel):
    """Which delivery it is, and which requests it has led to so far."""

    delivery_id: int
    duplicate: bool
    request_ids: tuple[int, ...]


async def on_commit(call: Call) -> Response:
    door, request = call.door, call.request
    body = await request.body()
    repository = await _signer(door, request, body)
    key = request.headers.get(commit.DELIVERY, "")
    if not _KEY.fullmatch(key):
        raise HTTPException(
            400, "The header X-Formicary-Delivery must name the delivery (1 to 200 visible characters)."
        )
    said = commit.CommitHook.model_validate_json(body)
    if not commit.means(said.repository, repository_id=repository.id, name=repository.name, path=repository.path):
        _refuse(door)
    delivery, new = await _write_down(door, repository, key, body)
    door.verdicts["accepted" if new else "duplicate"] += 1
    if new:
        door.reconciler.wake(repository.id)
        door.queen.changes.publish(Change("delivery", repository.organization_id, repository.id))
    answer = Accepted(delivery_id=delivery.id, duplicate=not new, request_ids=delivery.request_ids)
    return reply(answer, 202 if new else 200)


async def _signer(door: Door, request: Request, body: bytes) -> Repository:
    """The repository whose secret signed this. A secret speaks for its own repository only."""
    repositories = {repository.id: repository for repository in door.store.read().repositories()}
    known = {id_: known_hook_secret(door.data, repository) for id_, repository in repositories.items()}
    secrets = {id_: secret for id_, secret in known.items() if secret}
    signature = request.headers.get(commit.SIGNATURE, "")
    if len(body) * len(secrets) > _LARGE:
        found = await anyio.to_thread.run_sync(commit.signer, secrets, body, signature)
    else:
        found = commit.signer(secrets, body, signature)
    if found is None:
        _refuse(door)
    return repositories[found]


def _refuse(door: Door) -> NoReturn:
    """Wrong signature, no secret, unknown repository: one answer, so that it tells nothing."""
    door.verdicts["bad_signature"] += 1
    logger.warning("a hook call was refused: its signature fits no watched repository")
    raise HTTPException(401, "The signature fits no watched repository. Run `formicary hook install` there again.")


async def _write_down(door: Door, repository: Repository, key: str, body: bytes) -> tuple[Delivery, bool]:
    delivery = Delivery(
        organization_id=repository.organization_id,
        forge=FORGE,
        delivery_key=f"{repository.id}:{key}",
        repository_id=repository.id,
        event="commit",
        body=body.decode("utf-8", "replace"),
        body_digest=hashlib.sha256(body).hexdigest(),
        received_at=door.clock(),
    )
    return await door.store.write(lambda tx: tx.add_delivery(delivery))


OPERATIONS: Final = (
    Operation(
        "POST",
        "/hooks/commit",
        "A local repository's hook: its refs have moved",
        on_commit,
        tag="Hooks",
        role=None,
        signed=True,
        body=commit.CommitHook,
        answer=Accepted,
        status=202,
        errors=(400, 401, 413, 422),
    ),
)
