"""The part of a transaction about everything but requests: repositories, definitions, artifacts, deliveries, tokens,
and the outbox."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from formicary.runner.core.errors import Conflict, NotFound
from formicary.runner.core.records import (
    DEFAULT_ORGANIZATION,
    TRIGGER,
    Artifact,
    Audit,
    Definition,
    Delivery,
    JobResource,
    OutboxEntry,
    PullRequest,
    Record,
    Repository,
    Secret,
    SeenRef,
    Token,
    Version,
)
from formicary.runner.store import rows
from formicary.runner.store.cache import Overlay
from formicary.runner.store.calls import SqliteCallsTx
from formicary.runner.store.errorcodes import SqliteErrorCodesTx
from formicary.runner.store.plugins import SqlitePluginsTx
from formicary.runner.store.reader import SqliteReader
from formicary.runner.store.reports import SqliteReportsTx
from formicary.runner.store.rows import Shape, changed
from formicary.runner.store.sql import SQL

R = TypeVar("R", bound=Record)

_COALESCED: Final = "an earlier look at the repository had seen all that it names"
_UNWANTED: Final = "no job there wants what has moved"


class CatalogueTx(SqliteCallsTx, SqliteErrorCodesTx, SqlitePluginsTx, SqliteReportsTx, SqliteReader):
    """Writes of the catalogue."""

    now: float
    learnt: Overlay

    def _add(self, shape: Shape[R], name: str, record: R) -> R:
        """Insert it; the same record with its new id."""
        (new_id,) = self._row(name, shape.encode(record))
        return changed(record, id=new_id)

    def _save_by_id(self, shape: Shape[R], name: str, record: R) -> R:
        values = shape.encode(record)
        if self._execute(SQL[name], values).rowcount != 1:
            raise NotFound(f"There is no {shape.record.__name__.lower()} {values['id']}.")
        return record

    # Repositories

    def put_repository(self, repository: Repository) -> Repository:
        try:
            if repository.id:
                return self._save_by_id(rows.REPOSITORY, "save_repository", repository)
            return self._add(rows.REPOSITORY, "add_repository", repository)
        except sqlite3.IntegrityError as error:
            raise Conflict(f"There is another repository called {repository.name}; choose another name.") from error

    def delete_repository(self, repository_id: int) -> None:
        self._execute(SQL["delete_repository"], {"id": repository_id})

    def put_refs(self, refs: Sequence[SeenRef]) -> None:
        for seen in refs:
            self._execute(SQL["put_ref"], rows.REF.encode(seen))

    # Definitions

    def put_version(self, version: Version) -> Version:
        keys = rows.VERSION.encode(version)
        known = self._one(rows.VERSION, "version_of_digest", keys)
        if known is not None:
            return known
        (last,) = self._row("last_version_number", keys) or (0,)
        return self._add(rows.VERSION, "add_version", changed(version, version=last + 1))

    def put_definition(self, definition: Definition) -> Definition:
        if definition.id:
            return self._save_by_id(rows.DEFINITION, "save_definition", definition)
        return self._add(rows.DEFINITION, "add_definition", definition)

    def delete_definition(self, definition_id: int) -> None:
        self._execute(SQL["delete_definition"], {"id": definition_id})

    def set_cron_last(self, definition_id: int, at: float) -> None:
        self._execute(SQL["set_cron_last"], {"definition_id": definition_id, "last": at})

    # Artifacts

    def add_artifact(self, artifact: Artifact) -> Artifact:
        return self._add(rows.ARTIFACT, "add_artifact", artifact)

    def delete_artifacts(self, ids: Sequence[int]) -> None:
        for artifact_id in ids:
            self._execute(SQL["delete_artifact"], {"id": artifact_id})

    def forget_digests(self, digests: Sequence[str]) -> None:
        for digest in digests:
            self._execute(SQL["forget_digest"], {"digest": digest})

    # Deliveries

    def add_delivery(self, delivery: Delivery) -> tuple[Delivery, bool]:
        row = self._row("add_delivery", rows.DELIVERY.encode(delivery))
        if row is not None:
            return changed(delivery, id=row[0]), True
        first = self.delivery(delivery.forge, delivery.delivery_key)
        assert first is not None, "its key was refused as known"
        return first, False

    def save_delivery(self, delivery: Delivery) -> None:
        self._save_by_id(rows.DELIVERY, "save_delivery", delivery)

    def settle_deliveries(
        self, repository_id: int, moved: Mapping[str, Collection[int]], upto: int, later: Collection[str] = ()
    ) -> None:
        for delivery in self.accepted_deliveries(repository_id):
            if delivery.id > upto or delivery.forge == TRIGGER or delivery.fact.get("pull_request"):
                continue
            named = delivery.fact.get("refs") or named_refs(delivery.body)
            # One that is replayed keeps what it led to the first time.
            new = (one for ref in named for one in moved.get(ref, ()))
            made = tuple(dict.fromkeys((*delivery.request_ids, *new)))
            if not made and any(ref in later for ref in named):
                continue
            unwanted = any(ref in moved for ref in named)
            nothing = ("ignored", _UNWANTED) if unwanted else ("coalesced", _COALESCED)
            verdict, reason = ("handled", "") if made else nothing
            self.save_delivery(changed(delivery, verdict=verdict, reason=reason, request_ids=made))

    def put_pull_request(self, pull_request: PullRequest) -> None:
        self._execute(SQL["put_pull_request"], rows.PULL_REQUEST.encode(pull_request))

    # Secrets

    def put_secret(self, secret: Secret, sealed: str) -> tuple[Secret, bool]:
        known = self._one(rows.SECRET, "secret_of_scope", rows.SECRET.encode(secret))
        if known is None:
            new = changed(secret, created_at=self.now, updated_at=self.now)
            (new_id,) = self._row("add_secret", rows.SECRET.encode(new) | {"sealed": sealed})
            return changed(new, id=new_id), True
        kept = changed(secret, id=known.id, created_at=known.created_at, updated_at=self.now)
        self._execute(SQL["save_secret"], rows.SECRET.encode(kept) | {"sealed": sealed})
        return kept, False

    def delete_secret(self, secret_id: int) -> bool:
        return self._execute(SQL["delete_secret"], {"id": secret_id}).rowcount > 0

    # Shared resources

    def put_resource(self, resource: JobResource) -> JobResource:
        new = changed(resource, updated_at=self.now, created_at=resource.created_at if resource.id else self.now)
        try:
            if new.id:
                return self._save_by_id(rows.RESOURCE, "save_resource", new)
            return self._add(rows.RESOURCE, "add_resource", new)
        except sqlite3.IntegrityError as error:
            called = f"`{resource.resource_type}`" + (f" of the name `{resource.name}`" if resource.name else "")
            raise Conflict(
                f"There is a resource {called} already; change that one, or give this one a name."
            ) from error

    def delete_resource(self, resource_id: int) -> bool:
        return self._execute(SQL["delete_resource"], {"id": resource_id}).rowcount > 0

    # Tokens

    def add_token(self, token: Token) -> Token:
        return self._add(rows.TOKEN, "add_token", token)

    def delete_token(self, token_id: int) -> bool:
        return self._execute(SQL["delete_token"], {"id": token_id}).rowcount > 0

    def touch_token(self, token_id: int, at: float) -> None:
        self._execute(SQL["touch_token"], {"id": token_id, "at": at})

    def add_audit(self, audit: Audit) -> None:
        self._execute(SQL["add_audit"], rows.AUDIT.encode(changed(audit, at=self.now)))

    # Outbox

    def owe(
        self,
        kind: str,
        key: str,
        payload: Mapping[str, Any],
        *,
        due_at: float = 0.0,
        organization_id: str = DEFAULT_ORGANIZATION,
    ) -> None:
        values = {"kind": kind, "key": key, "due_at": due_at, "organization_id": organization_id, "now": self.now}
        self._execute(SQL["owe"], {**values, "payload": rows.to_json(payload)})
        self.learnt.owed = True

    def next_seq(self, organization_id: str) -> int:
        return int(self._row("next_seq", {"organization_id": organization_id})[0])

    def settle(self, entry_id: int) -> None:
        self._execute(SQL["settle"], {"id": entry_id})

    def defer(self, entry_id: int, *, due_at: float, error: str, dead: bool = False, tried: bool = True) -> None:
        values = {"id": entry_id, "due_at": due_at, "error": error, "dead": int(dead), "tried": int(tried)}
        self._execute(SQL["defer"], values)

    def resend(self, entry_id: int) -> OutboxEntry:
        entry = self._one(rows.OUTBOX, "resend", {"id": entry_id, "now": self.now})
        if entry is None:
            raise NotFound(f"There is nothing owed with the number {entry_id}; it may have been sent by now.")
        self.learnt.owed = True
        return entry


def named_refs(body: str) -> list[str]:
    """The refs that a delivery's body names, each once: its `ref`, and those of its `refs`. Outsiders write bodies."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return []
    parts = [said, *_list(said.get("refs"))] if isinstance(said, dict) else []
    named = [part.get("ref") for part in parts if isinstance(part, dict)]
    return list(dict.fromkeys(ref for ref in named if isinstance(ref, str)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
