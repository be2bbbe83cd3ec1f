"""Calls of `webhook` triggers: whose they are, and the request that a call leads to, one however often it is looked at.

The door writes a call down; from there it is carried out of the ledger, at once and again after a start, and needs
nothing of the forge. It runs the registered definition at the tracked branch, as a schedule does.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import (
    FormicaryError,
    NotFound,
    RequestRefused,
    SetupError,
    UserError,
    WorldError,
)
from formicary.runner.core.heard import Heard, hear
from formicary.runner.core.records import TRIGGER, Definition, Delivery, JobRequest, NewRequest, Repository, SyncState
from formicary.runner.core.records import Version as StoredVersion
from formicary.runner.core.webhooks import WebhookTrigger
from formicary.runner.queen.arriving.called import BODY, FORM, JSON, Called
from formicary.runner.queen.arriving.registered import registered_request, tracked_git
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.changes import Change, Changes
from formicary.runner.queen.secrets import Secrets
from formicary.runner.queen.told import Told
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.queen")

EVENT: Final = "webhook"
MOST_FIELDS: Final = 1000
_HALF_CHARACTER: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Triggered:
    """`version` gives a stored version and its definition; `created` is told of the requests that were made."""

    def __init__(
        self,
        store: Store,
        sources: Sources,
        secrets: Secrets,
        version: Callable[[int], tuple[StoredVersion, JobDefinition | None] | None],
        created: Callable[[Iterable[JobRequest]], Awaitable[None]],
        told: Told,
        changes: Changes,
    ) -> None:
        self._store = store
        self._sources = sources
        self._secrets = secrets
        self._version = version
        self._created = created
        self._told = told
        self._changes = changes
        self._named: defaultdict[str, set[int]] = defaultdict(set)
        """Job → its definitions that have such triggers: whoever calls what is not there costs next to nothing."""

    # Whose call it is

    def look(self, definitions: Iterable[Definition] | None = None) -> None:
        """Know which of these definitions (default: all) can be called; call it when one has changed."""
        for definition in self._store.read().definitions() if definitions is None else definitions:
            version = self._version(definition.version_id) if definition.version_id is not None else None
            job = version[1] if version else None
            if job is not None and job.triggers.webhook:
                self._named[definition.job_type].add(definition.id)
            elif definition.job_type in self._named:
                self._named[definition.job_type].discard(definition.id)

    def called(self, job_type: str, name: str, repository: str = "") -> list[Called]:
        """The triggers of this name of registered jobs of this name: of one repository (its name or number) if one is
        named, else of all."""
        reader = self._store.read()
        found: list[Called] = []
        for definition_id in sorted(self._named.get(job_type, ())):
            definition = reader.definition(definition_id)
            if definition is None or definition.repository_id is None:
                continue
            place = reader.repository(definition.repository_id)
            if place is not None and repository in ("", place.name, str(place.id)):
                found += self._of(place, definition, name)
        return found

    def _of(self, repository: Repository, definition: Definition, name: str) -> list[Called]:
        if definition.version_id is None or definition.state is SyncState.ORPHANED:
            return []
        version = self._version(definition.version_id)
        stored, job = version or (None, None)
        if stored is None or job is None:
            return []
        triggers = [one for one in job.triggers.webhook if one.name == name]
        return [
            Called(repository, definition, job, one, stored.dialect, *self._secret(repository, definition, one))
            for one in triggers
        ]

    def _secret(
        self, repository: Repository, definition: Definition, trigger: WebhookTrigger
    ) -> tuple[bytes | None, str]:
        """What a caller has to know; None with the reason: then nobody may call (T9)."""
        name = trigger.secret_config
        if not trigger.auth or not name:
            return None, "the trigger has no `auth`, so nobody may call it"
        seen = self._secrets.seen_by(_as_request(repository, definition))
        if name in seen.refused:
            return None, f"the secret `{name}` is not for its calls: {seen.refused[name]}"
        if name not in seen.secrets:
            return None, f"there is no secret `{name}` for this job; set it: formicary secrets set {name}"
        try:
            value = self._secrets.values(seen, [name])[name].encode()
        except FormicaryError as error:
            return None, f"the secret `{name}` cannot be had: {error}"
        return (value, "") if value else (None, f"the secret `{name}` is empty")

    # What it leads to

    def heard(self, called: Called, delivery: Delivery) -> Heard:
        """What a call comes to; blocks for what its templates cost. Raises RequestRefused."""
        return heard_of(called, delivery)

    async def carry_out(self, repository_id: int) -> None:
        """Every call of this repository's triggers that is accepted and not carried out yet. One that cannot be now is
        looked at again."""
        waiting = [one for one in self._store.read().accepted_deliveries(repository_id) if one.forge == TRIGGER]
        for delivery in waiting:
            try:
                await self._carry_out(delivery)
            except (SetupError, WorldError, NotFound) as error:  # its commit may be on its way
                log.warning("delivery %d has to wait: %s", delivery.id, error)
            except UserError as error:
                await self._settle(delivery, "refused", str(error))
            except Exception as error:  # one that is poisoned keeps no other from being carried out (D8)
                log.exception("delivery %d cannot be carried out", delivery.id)
                await self._settle(delivery, "refused", f"Formicary failed here: {type(error).__name__}")

    async def _carry_out(self, delivery: Delivery) -> None:
        called = self._meant(delivery)
        if isinstance(called, str):
            return await self._settle(delivery, "ignored", called)
        heard = await anyio.to_thread.run_sync(heard_of, called, delivery)
        if heard.unwanted:
            return await self._settle(delivery, "ignored", heard.unwanted)
        git = await anyio.to_thread.run_sync(tracked_git, self._sources, called.repository, called.definition, EVENT)
        new = _request(called, heard, git, delivery)
        await self._created(await self._store.write(lambda tx: self._make(tx, delivery, called.job, new)))
        self._changed(delivery)

    def _meant(self, delivery: Delivery) -> Called | str:
        """The trigger that it called, as it is now; or why nothing comes of it."""
        job_type, name = str(delivery.fact.get("job_type", "")), str(delivery.fact.get("trigger", ""))
        found = self.called(job_type, name, str(delivery.repository_id))
        mine = next((one for one in found if one.repository.id == delivery.repository_id), None)
        if mine is None:
            return f"`{job_type}` has no webhook trigger `{name}` any more"
        return f"`{job_type}` is disabled" if mine.definition.disabled else mine

    def _make(self, tx: Tx, delivery: Delivery, job: JobDefinition, new: NewRequest) -> list[JobRequest]:
        request, fresh = tx.create_request(new)
        if fresh:
            self._told.created(tx, request, job)
        again = not fresh and request.id not in delivery.request_ids
        reason = f"request {request.id} was made of the same `dedup_key` before" if again else ""
        ids = tuple(dict.fromkeys((*delivery.request_ids, request.id)))
        update = {"verdict": "coalesced" if again else "handled", "reason": reason, "request_ids": ids}
        tx.save_delivery(delivery.model_copy(update=update))
        return [request] if fresh else []

    async def _settle(self, delivery: Delivery, verdict: str, reason: str) -> None:
        update = {"verdict": verdict, "reason": reason}
        await self._store.write(lambda tx: tx.save_delivery(delivery.model_copy(update=update)))
        self._changed(delivery)

    def _changed(self, delivery: Delivery) -> None:
        self._changes.publish(Change("delivery", delivery.organization_id, delivery.repository_id))


def heard_of(called: Called, delivery: Delivery) -> Heard:
    """What a call in the ledger comes to. Raises RequestRefused, about BODY where that cannot be read."""
    try:
        body = parsed(str(delivery.fact.get("type", JSON)), delivery.body)
    except ValueError as error:
        raise RequestRefused(f"its body cannot be read: {error}", field=BODY) from error
    headers: Mapping[str, str] = delivery.fact.get("headers") or {}
    return hear(called.trigger, called.dialect, body, headers)


def parsed(kind: str, text: str) -> Any:
    """The body as plain data: JSON, or the fields of a form. Raises ValueError."""
    if kind == FORM:
        return _fields(text)
    if not text.strip():
        return {}
    try:
        found = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if _HALF_CHARACTER.search(text):
        json.dumps(found, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _fields(text: str) -> dict[str, Any]:
    """A field that comes once is a text, one that comes several times a list of them."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8"):
        known = found.get(name)
        found[name] = value if known is None else [*known, value] if isinstance(known, list) else [known, value]
    return found


def _request(called: Called, heard: Heard, git: dict[str, object], delivery: Delivery) -> NewRequest:
    """One a cause: the `dedup_key`, else the delivery (T10)."""
    trigger, repository = called.trigger, called.repository
    key = f"key:{heard.dedup_key}" if trigger.dedup_key else f"delivery:{delivery.id}"
    return registered_request(
        called.definition,
        called.job,
        repository,
        git,
        event=EVENT,
        cause="\n".join(("trigger", str(repository.id), called.job.job_type, trigger.name, key)),
        created_by=f"webhook {trigger.name}",
        given=heard.params,
        tainted=heard.tainted,
    )


def _as_request(repository: Repository, definition: Definition) -> JobRequest:
    """What a request of a call would be, as far as its secrets go."""
    return JobRequest(
        id=0,
        created_at=0.0,
        version_id=definition.version_id or 0,
        organization_id=definition.organization_id,
        repository_id=repository.id,
        job_type=definition.job_type,
        event=EVENT,
        ref=f"refs/heads/{repository.tracked_branch}",
    )
