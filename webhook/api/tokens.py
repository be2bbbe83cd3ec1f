"""Bearer tokens: shown once when made, revoked at once. Browser sessions are in the list too."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field
from starlette.responses import Response

from formicary.runner.core.errors import NotFound, RequestRefused
from formicary.runner.core.records import Role, Token
from formicary.runner.store import Tx
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, Moment, Names, moment
from formicary.webhook.caller import digest_of, new_token
from formicary.webhook.login import session_name
from formicary.webhook.operations import Call, Operation, reply

PATH: Final = "/api/users/{user}/tokens"
ADMIN: Final = "admin"
DEFAULT_LIFETIME: Final = 90 * 86400.0


class TokenView(shared.View):
    """A token without its secret. `repository` empty = everything of the organization."""

    id: int
    user_id: str
    name: str
    role: Role
    repository_id: int | None
    repository: str
    created_at: datetime | None
    expires_at: datetime | None
    used_at: datetime | None


class NewTokenView(TokenView):
    """The only time that `token` is shown."""

    token: str


class NewToken(shared.Body):
    name: str = Field(min_length=1, max_length=100)
    role: Role = Role.VIEWER
    repository: str | None = Field(default=None, description="Name or id; default: the whole organization.")
    expires_at: Moment | None = Field(default=None, description="Default: in 90 days; null: never.")


def view(token: Token, repository: str) -> TokenView:
    return TokenView(
        id=token.id,
        user_id=token.user_id,
        name=token.name,
        role=token.role,
        repository_id=token.repository_id,
        repository=repository,
        created_at=moment(token.created_at),
        expires_at=moment(token.expires_at),
        used_at=moment(token.used_at),
    )


async def show_list(call: Call) -> Listed[TokenView]:
    names = Names(call)
    return shared.listed(shared.cut(_tokens(call), call.query), lambda token: view(token, names[token.repository_id]))


def _tokens(call: Call) -> list[Token]:
    """The user's. Only `admin` exists until there are people."""
    user, organization = call.text("user"), call.caller.organization_id
    if user != ADMIN:
        raise NotFound(f"There is no user `{user}`.")
    found = call.door.store.read().tokens()
    return [token for token in found if token.user_id == user and token.organization_id == organization]


async def create(call: Call) -> Response:
    _tokens(call)
    body: NewToken = call.body
    secret, now = new_token(), call.door.clock()
    repository = shared.repository_called(call, body.repository) if body.repository else None
    token = Token(
        organization_id=call.caller.organization_id,
        user_id=call.text("user"),
        name=body.name,
        digest=digest_of(secret),
        role=body.role,
        repository_id=repository.id if repository else None,
        created_at=now,
        expires_at=_expiry(body, now),
    )
    about = {"repository_id": token.repository_id, "subject": token.name, "role": str(token.role)}
    also = shared.traced(call, "token.create", **about)

    def add(tx: Tx) -> Token:
        also(tx)
        return tx.add_token(token)

    stored = await call.door.store.write(add)
    shown = view(stored, repository.name if repository else "")
    return reply(NewTokenView(**shown.model_dump(), token=secret), 201)


def _expiry(body: NewToken, now: float) -> float | None:
    if "expires_at" not in body.model_fields_set:
        return now + DEFAULT_LIFETIME
    if body.expires_at is None:
        return None
    if body.expires_at.timestamp() <= now:
        raise RequestRefused("A token cannot expire in the past.", field="expires_at")
    return body.expires_at.timestamp()


async def revoke(call: Call) -> Response:
    token_id = call.number("token")
    found = next((token for token in _tokens(call) if token.id == token_id), None)
    if found is None:
        raise NotFound(f"There is no token {token_id}.")
    also = shared.traced(call, "token.revoke", subject=found.name, token=token_id)

    def delete(tx: Tx) -> None:
        also(tx)
        tx.delete_token(token_id)
        for token in tx.tokens():
            if token.name == session_name(token_id):
                tx.delete_token(token.id)

    await call.door.store.write(delete)
    return Response(status_code=204)


_TAG: Final = "Users"

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "List a user's tokens",
        show_list,
        tag=_TAG,
        role=Role.ADMIN,
        everything=True,
        query=shared.PageQuery,
        answer=Listed[TokenView],
        errors=(404, 422),
    ),
    Operation(
        "POST",
        PATH,
        "Make a token; its secret is shown this once",
        create,
        tag=_TAG,
        role=Role.ADMIN,
        everything=True,
        body=NewToken,
        answer=NewTokenView,
        status=201,
        errors=(400, 404, 415, 422),
        secret_answer=True,
    ),
    Operation(
        "DELETE",
        PATH + "/{token:int}",
        "Revoke a token, and the sessions that were begun with it, at once",
        revoke,
        tag=_TAG,
        role=Role.ADMIN,
        everything=True,
        status=204,
        media="",
        errors=(404,),
    ),
)
