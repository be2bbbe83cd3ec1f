"""Secrets: their values come in and never go out. A maintainer of one repository sees and sets that one's alone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, SecretStr, StringConstraints
from starlette.exceptions import HTTPException
from starlette.responses import Response

from formicary.runner.core.errors import NotFound, RequestRefused
from formicary.runner.core.loading.samples import SAMPLES
from formicary.runner.core.records import Repository, Role, Secret, SecretKind
from formicary.runner.core.secrets.forms import MIN_SECRET, too_short
from formicary.runner.core.secrets.sight import EVENTS
from formicary.runner.queen.people.audit import Also
from formicary.runner.queen.secrets import CREDENTIALS, MAX_VALUE
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, Names, moment
from formicary.webhook.operations import Call, Operation, reply

PATH: Final = "/api/secrets"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_Glob = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class SecretView(shared.View):
    """A secret without its value. `repository` and `job` empty = the whole organization; `branches` and `events` empty
    = all. `key_id` tells with which master key it is sealed."""

    id: int
    name: str
    kind: SecretKind
    repository_id: int | None
    repository: str
    job: str
    branches: tuple[str, ...]
    events: tuple[str, ...]
    key_id: str
    created_at: datetime | None
    updated_at: datetime | None
    created_by: str


class StoredSecretView(SecretView):
    """`warning` says what is not well with the value; mostly it is empty."""

    warning: str


class SecretQuery(shared.PageQuery):
    repository: str | None = Field(default=None, description="Only those of this repository (name or id).")
    kind: SecretKind | None = None


class NewSecret(shared.Body):
    """A secret of the same scope, kind and name is replaced, its limits too."""

    name: str = Field(min_length=1, max_length=100)
    value: SecretStr = Field(description="Never shown again.")
    kind: SecretKind = Field(
        default=SecretKind.SECRET,
        description="`credential`: how this server gets into the repository; the names are " + ", ".join(CREDENTIALS),
    )
    repository: str | None = Field(default=None, description="Name or id; default: the whole organization.")
    job: str = Field(default="", max_length=100, description="Only this job of the repository.")
    branches: tuple[_Glob, ...] = Field(default=(), max_length=50, description="Globs; `*` stops at a `/`.")
    events: tuple[str, ...] = Field(default=(), max_length=len(EVENTS), description="Of " + ", ".join(EVENTS))


def view(secret: Secret, repository: str) -> SecretView:
    return SecretView(
        id=secret.id,
        name=secret.name,
        kind=secret.kind,
        repository_id=secret.repository_id,
        repository=repository,
        job=secret.job_type,
        branches=secret.branches,
        events=secret.events,
        key_id=secret.key_id,
        created_at=moment(secret.created_at),
        updated_at=moment(secret.updated_at),
        created_by=secret.created_by,
    )


async def show_list(call: Call) -> Listed[SecretView]:
    query: SecretQuery = call.query
    wanted = shared.scope_of(call, query.repository)
    found = [
        secret
        for secret in call.door.store.read().secrets(call.caller.organization_id)
        if wanted in (None, secret.repository_id) and query.kind in (None, secret.kind)
    ]
    found.sort(key=lambda secret: (secret.repository_id or 0, secret.job_type, secret.kind, secret.name))
    names = Names(call)
    return shared.listed(shared.cut(found, query), lambda secret: view(secret, names[secret.repository_id]))


async def put(call: Call) -> Response:
    body: NewSecret = call.body
    repository = shared.repository_called(call, body.repository) if body.repository else None
    if repository is None and call.caller.repository_id is not None:
        raise HTTPException(403, "This token is bound to one repository: name it as `repository`.")
    _check(body, repository)
    value = body.value.get_secret_value()
    _check_value(body, value)
    secret = Secret(
        organization_id=call.caller.organization_id,
        repository_id=repository.id if repository else None,
        job_type=body.job,
        kind=body.kind,
        name=body.name,
        branches=body.branches,
        events=body.events,
        created_by=call.caller.user_id,
    )
    stored, new = await call.door.secrets.put(secret, value, _traced(call, "secret.set", secret))
    if repository and body.kind is SecretKind.CREDENTIAL:
        call.door.reconciler.wake(repository.id)
    shown = view(stored, repository.name if repository else "")
    return reply(StoredSecretView(**shown.model_dump(), warning=_warning(body, value)), 201 if new else 200)


def _traced(call: Call, action: str, secret: Secret) -> Also:
    """With everything but its value."""
    about = {"repository_id": secret.repository_id, "subject": secret.name, "kind": str(secret.kind)}
    limits = {"job": secret.job_type, "branches": secret.branches, "events": secret.events}
    return shared.traced(call, action, **about, **limits)


def _check(body: NewSecret, repository: Repository | None) -> None:
    """Raises RequestRefused."""
    if repository is None and (body.job or body.kind is SecretKind.CREDENTIAL):
        raise RequestRefused("A job's secret and a credential belong to a repository: name it.", field="repository")
    if body.kind is SecretKind.CREDENTIAL:
        if body.name not in CREDENTIALS:
            raise RequestRefused(f"A credential is called {', '.join(CREDENTIALS)}.", field="name")
        if body.job or body.branches or body.events:
            raise RequestRefused("A credential is the repository's as a whole; it has no limits.", field="kind")
    elif not _NAME.fullmatch(body.name):
        raise RequestRefused("A name is letters, digits and _, and does not begin with a digit.", field="name")
    elif body.name in SAMPLES:
        raise RequestRefused(f"`{body.name}` is a name of Formicary's own; take another one.", field="name")
    for event in body.events:
        if event not in EVENTS:
            raise RequestRefused(f"There is no event `{event[:60]}`; there is {', '.join(EVENTS)}.", field="events")


def _check_value(body: NewSecret, value: str) -> None:
    """Raises RequestRefused, without the value."""
    if not value.strip():
        raise RequestRefused("The value is empty.", field="value")
    if len(value.encode()) > MAX_VALUE:
        raise RequestRefused(f"The value is longer than {MAX_VALUE // 1024} KiB.", field="value")
    if "\0" in value:
        raise RequestRefused("The value holds a NUL, which no variable can hold; store it as base64.", field="value")
    if body.kind is SecretKind.CREDENTIAL and body.name != "deploy_key" and len(value.splitlines()) > 1:
        raise RequestRefused(f"A {body.name} is one line.", field="value")


def _warning(body: NewSecret, value: str) -> str:
    if body.kind is SecretKind.SECRET and too_short(value):
        return f"it is shorter than {MIN_SECRET} characters and cannot be masked: whoever prints it, shows it"
    return ""


async def remove(call: Call) -> Response:
    secret_id = call.number()
    secret = call.door.store.read().secret(secret_id)
    if (
        secret is None
        or not call.caller.sees(secret)
        or not await call.door.secrets.delete(secret, _traced(call, "secret.remove", secret))
    ):
        raise NotFound(f"There is no secret {secret_id}.")
    return Response(status_code=204)


_TAG: Final = "Secrets"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List the secrets, never their values",
        show_list,
        tag=_TAG,
        role=Role.MAINTAINER,
        query=SecretQuery,
        answer=Listed[SecretView],
        errors=(404, 422),
    ),
    Operation(
        "POST",
        PATH,
        "Set a secret; the next attempt of a task sees the new value",
        put,
        tag=_TAG,
        role=Role.MAINTAINER,
        body=NewSecret,
        answer=StoredSecretView,
        status=201,
        also={200: "It was there already and has its new value and limits."},
        errors=(400, 404, 409, 415, 422, 503),
    ),
    Operation(
        "DELETE",
        PATH + "/{id:int}",
        "Forget a secret",
        remove,
        tag=_TAG,
        role=Role.MAINTAINER,
        status=204,
        media="",
        errors=(404,),
    ),
)
