"""What can be read from SQLite. Every call is one look at the newest committed state and leaves no cursor open: an open
one would hold its snapshot, and the write-ahead log could not be folded back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from formicary.runner.core.definition import Matrix
from formicary.runner.core.errors import LostError
from formicary.runner.core.execution import Execution, Plan
from formicary.runner.core.graph import with_matrices
from formicary.runner.core.records import (
    DEFAULT_ORGANIZATION,
    Artifact,
    Audit,
    Definition,
    Delivery,
    JobRequest,
    JobResource,
    Lease,
    OutboxEntry,
    Page,
    PullRequest,
    Repository,
    Secret,
    SeenRef,
    Token,
    Version,
)
from formicary.runner.core.states import State
from formicary.runner.store import Outstanding, lists, rows
from formicary.runner.store.calls import SqliteCallsReader
from formicary.runner.store.errorcodes import SqliteErrorCodesReader
from formicary.runner.store.looking import page_of
from formicary.runner.store.parts import execution_of
from formicary.runner.store.plugins import SqlitePluginsReader
from formicary.runner.store.reports import SqliteReportsReader
from formicary.runner.store.seal import no_key
from formicary.runner.store.sql import SQL

#: As many waiting requests as one look returns; the oldest come first, so the others get their turn.
MAX_WAITING = 100_000


class SqliteReader(SqliteCallsReader, SqliteErrorCodesReader, SqlitePluginsReader, SqliteReportsReader):
    """The `Reader` of one connection."""

    # Requests and their executions

    def request(self, request_id: int) -> JobRequest | None:
        return self._one(rows.REQUEST, "request", {"id": request_id})

    def request_before(self, request: JobRequest, states: tuple[State, State]) -> JobRequest | None:
        names = ("organization_id", "repository_id", "job_type", "ref", "id")
        keys = {name: getattr(request, name) for name in names}
        return self._one(rows.REQUEST, "request_before", keys | {"one": str(states[0]), "other": str(states[1])})

    def waits(self, request_id: int) -> bool:
        return self._row("request_waits", {"id": request_id}) is not None

    def requests(
        self,
        *,
        organization_id: str | None = None,
        repository_id: int | None = None,
        job_type: str | None = None,
        states: Sequence[State] = (),
        ref: str | None = None,
        commit: str | None = None,
        q: str = "",
        order: str = "-id",
        page: int = 0,
        page_size: int = 200,
    ) -> Page[JobRequest]:
        chosen = tuple(dict.fromkeys(states))
        wanted = lists.RequestFilter(organization_id, repository_id, job_type, chosen, ref, commit, q.strip(), order)
        size = lists.window(page, page_size)["limit"]
        if wanted.q and not lists.search_words(wanted.q):
            return page_of((), 0, page, size)
        ids = [row[0] for row in self._run(lists.page_of_ids(wanted, page, page_size))]
        found = tuple(rows.REQUEST.decode(row) for row in self._run(lists.rows_of(ids, order))) if ids else ()
        total = sum(self._run(statement)[0][0] for statement in lists.totals(wanted))
        return page_of(found, total, page, size)

    def _run(self, statement: lists.Statement) -> list[Any]:
        return self._execute(statement.text, statement.parameters).fetchall()

    def waiting(self) -> list[JobRequest]:
        return self._many(rows.REQUEST, "waiting_requests", {"limit": MAX_WAITING})

    def children(self, request_id: int, limit: int = 1000) -> list[JobRequest]:
        return self._many(rows.REQUEST, "children", {"parent_id": request_id, "limit": limit})

    def execution(self, execution_id: int) -> Execution | None:
        found = self._execute(SQL["execution"], {"id": execution_id}).fetchall()
        return execution_of(execution_id, found[0][0], _parts(found)) if found else None

    def plan(self, execution_id: int) -> Plan | None:
        plan = self._memory.plans.get(execution_id)
        if plan is None:
            plan = self._stored_plan(execution_id)
            if plan is not None:
                self._memory.plans.put(execution_id, plan)
        return plan

    def _stored_plan(self, execution_id: int) -> Plan | None:
        row = self._row("plan", {"execution_id": execution_id})
        if row is None:
            return None
        try:
            plan = Plan.model_validate_json(row[0])
            made = self._execute(SQL["lists"], {"execution_id": execution_id}).fetchall()
            found = {name: Matrix.model_validate_json(body) for name, body in made}
            return plan.model_copy(update={"definition": with_matrices(plan.definition, found)}) if found else plan
        except ValidationError as error:
            raise LostError(f"The plan of execution {execution_id} cannot be read back: {error}") from error

    def executions_of(self, request_id: int) -> list[Execution]:
        rows_ = self._execute(SQL["executions_of_request"], {"request_id": request_id}).fetchall()
        of_each = [[row[1:] for row in found] for _, found in groupby(rows_, key=lambda row: row[0])]
        return [execution_of(request_id, found[0][0], _parts(found)) for found in of_each]

    def live_executions(self) -> list[int]:
        return [row[0] for row in self._execute(SQL["live_executions"]).fetchall()]

    def secret_params(self, request_id: int) -> dict[str, str]:
        row = self._row("secrets", {"request_id": request_id})
        if row is None:
            return {}
        text = row[0] if row[0].startswith("{") else self._open_params(request_id, row[0])
        secrets: dict[str, str] = json.loads(text)
        return secrets

    def _open_params(self, request_id: int, sealed: str) -> str:
        """Raises SetupError."""
        key = self._memory.key or no_key
        return key(self.secret_keys()).open(sealed, "params", request_id)

    def leases(self) -> list[Lease]:
        return self._many(rows.LEASE, "leases", {})

    def counts(self) -> dict[State, int]:
        counted = dict.fromkeys(State, 0)
        for name in ("count_live", "count_ended"):
            for state, requests in self._execute(SQL[name]).fetchall():
                counted[State(state)] += requests
        return counted

    # Repositories and definitions

    def repositories(self) -> list[Repository]:
        return self._many(rows.REPOSITORY, "repositories", {})

    def repository(self, repository_id: int) -> Repository | None:
        return self._one(rows.REPOSITORY, "repository", {"id": repository_id})

    def repository_named(self, name: str, organization_id: str = DEFAULT_ORGANIZATION) -> Repository | None:
        return self._one(rows.REPOSITORY, "repository_named", {"organization_id": organization_id, "name": name})

    def refs(self, repository_id: int) -> dict[str, SeenRef]:
        found = self._many(rows.REF, "refs", {"repository_id": repository_id})
        return {seen.ref: seen for seen in found}

    def definitions(self, *, repository_id: int | None = None, organization_id: str | None = None) -> list[Definition]:
        keys = {"repository_id": repository_id, "organization_id": organization_id}
        if repository_id is not None:
            found = self._many(rows.DEFINITION, "definitions_of_repository", keys)
            return [one for one in found if organization_id in (None, one.organization_id)]
        return self._many(rows.DEFINITION, "definitions_of_organization" if organization_id else "definitions", keys)

    def definition(self, definition_id: int) -> Definition | None:
        return self._one(rows.DEFINITION, "definition", {"id": definition_id})

    def definition_named(
        self, job_type: str, *, repository_id: int | None = None, organization_id: str = DEFAULT_ORGANIZATION
    ) -> Definition | None:
        keys = {"job_type": job_type, "repository_id": repository_id, "organization_id": organization_id}
        if repository_id is not None:
            found = self._one(rows.DEFINITION, "definition_of_repository", keys)
            if found is not None:
                return found if found.organization_id == organization_id else None
        everywhere = self._many(rows.DEFINITION, "definitions_named", keys)
        return everywhere[0] if len(everywhere) == 1 else None

    def version(self, version_id: int) -> Version | None:
        return self._one(rows.VERSION, "version", {"id": version_id})

    def versions(
        self,
        job_type: str,
        *,
        repository_id: int | None = None,
        organization_id: str = DEFAULT_ORGANIZATION,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[Version]:
        keys = {"job_type": job_type, "repository_id": repository_id, "organization_id": organization_id}
        window = lists.window(page, page_size)
        found = self._many(rows.VERSION, "versions_of_job", {**keys, **window})
        (total,) = self._row("count_versions", keys)
        return page_of(tuple(found), total, page, window["limit"])

    def cron_last(self, definition_id: int) -> float | None:
        row = self._row("cron_last", {"definition_id": definition_id})
        return None if row is None else float(row[0])

    # The rest

    def artifacts(
        self,
        *,
        request_id: int | None = None,
        organization_id: str | None = None,
        repository_id: int | None = None,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[Artifact]:
        keys = {"request_id": request_id, "organization_id": organization_id, "repository_id": repository_id}
        return self._newest(rows.ARTIFACT, "artifacts", page, page_size, keys)

    def artifact(self, artifact_id: int) -> Artifact | None:
        return self._one(rows.ARTIFACT, "artifact", {"id": artifact_id})

    def artifacts_expired(self, now: float, limit: int = 500) -> list[Artifact]:
        return self._many(rows.ARTIFACT, "artifacts_expired", {"now": now, "limit": limit})

    def usage_of(self, digest: str) -> int:
        return int(self._row("usage_of_digest", {"digest": digest})[0])

    def loose_digests(self, limit: int = 500) -> list[str]:
        return [row[0] for row in self._execute(SQL["loose_digests"], {"limit": limit}).fetchall()]

    def deliveries(
        self,
        *,
        organization_id: str | None = None,
        repository_id: int | None = None,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[Delivery]:
        keys = {"organization_id": organization_id, "repository_id": repository_id}
        return self._newest(rows.DELIVERY_HEAD, "deliveries", page, page_size, keys)

    def delivery(self, forge: str, delivery_key: str) -> Delivery | None:
        return self._one(rows.DELIVERY, "delivery", {"forge": forge, "delivery_key": delivery_key})

    def delivery_by_id(self, delivery_id: int) -> Delivery | None:
        return self._one(rows.DELIVERY, "delivery_by_id", {"id": delivery_id})

    def delivery_of_body(self, repository_id: int, body_digest: str) -> Delivery | None:
        return self._one(
            rows.DELIVERY, "delivery_of_body", {"repository_id": repository_id, "body_digest": body_digest}
        )

    def accepted_deliveries(self, repository_id: int) -> list[Delivery]:
        return self._many(rows.DELIVERY, "accepted_deliveries", {"repository_id": repository_id})

    def open_pull_requests(self, repository_id: int) -> list[PullRequest]:
        return self._many(rows.PULL_REQUEST, "open_pull_requests", {"repository_id": repository_id})

    def pull_request(self, repository_id: int, number: int) -> PullRequest | None:
        return self._one(rows.PULL_REQUEST, "pull_request", {"repository_id": repository_id, "number": number})

    def resources(self) -> list[JobResource]:
        return self._many(rows.RESOURCE, "resources", {})

    def resource(self, resource_id: int) -> JobResource | None:
        return self._one(rows.RESOURCE, "resource", {"id": resource_id})

    def secrets(self, organization_id: str = DEFAULT_ORGANIZATION) -> list[Secret]:
        return self._many(rows.SECRET, "secret_heads", {"organization_id": organization_id})

    def secret(self, secret_id: int) -> Secret | None:
        return self._one(rows.SECRET, "secret", {"id": secret_id})

    def sealed_secret(self, secret_id: int) -> tuple[Secret, str] | None:
        row = self._row("sealed_secret", {"id": secret_id})
        return None if row is None else (rows.SECRET.decode(row[:-1]), row[-1])

    def secret_keys(self) -> dict[str, int]:
        return dict(self._execute(SQL["secret_keys"], {}).fetchall())

    def tokens(self) -> list[Token]:
        return self._many(rows.TOKEN, "tokens", {})

    def token_by_digest(self, digest: str) -> Token | None:
        return self._one(rows.TOKEN, "token_by_digest", {"digest": digest})

    def audits(self, wanted: Mapping[str, str | int | None], page: int = 0, page_size: int = 200) -> Page[Audit]:
        return self._newest(rows.AUDIT, "audits", page, page_size, wanted)

    def owed_before(self, organization_id: str, kind: str, first: str, key: str, limit: int = 100) -> list[OutboxEntry]:
        keys = {"organization_id": organization_id, "kind": kind, "first": first, "key": key, "limit": limit}
        return self._many(rows.OUTBOX, "owed_before", keys)

    def outbox_since(self, after: int, limit: int = 1000) -> list[OutboxEntry]:
        return self._many(rows.OUTBOX, "outbox_since", {"after": after, "limit": limit})

    def outbox_entry(self, entry_id: int) -> OutboxEntry | None:
        return self._one(rows.OUTBOX, "outbox_entry", {"id": entry_id})

    def outbox_counts(self) -> Outstanding:
        living, since, dead = self._row("outbox_counts", {})
        return Outstanding(living, dead, since)

    def outbox(
        self,
        *,
        organization_id: str | None = None,
        kind: str | None = None,
        dead: bool | None = None,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[OutboxEntry]:
        keys = {"organization_id": organization_id, "kind": kind, "dead": None if dead is None else int(dead)}
        return self._newest(rows.OUTBOX, "outbox", page, page_size, keys)


def _parts(found: Sequence[tuple[str, str | None]]) -> list[str]:
    return [part for _, part in found if part is not None]
