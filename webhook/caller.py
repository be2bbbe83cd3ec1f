"""Who calls, what they may do, and how their tokens look. A token is shown once; only its SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.requests import HTTPConnection

from formicary.runner.core.records import Role, Token

TOKEN: Final = "fmy_"
SESSION: Final = "fms_"
_FORM: Final = re.compile(r"fm[ys]_[A-Za-z0-9_-]{43}")
_RANK: Final = {Role.VIEWER: 0, Role.DEVELOPER: 1, Role.MAINTAINER: 2, Role.ADMIN: 3}


class Owned(Protocol):
    """A thing of an organization and, mostly, of a repository."""

    @property
    def organization_id(self) -> str: ...
    @property
    def repository_id(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """`repository_id` None = everything of the organization. `csrf` is empty for bearer tokens: a browser does not send
    those by itself, so forms of other sites cannot use them."""

    user_id: str
    organization_id: str
    role: Role
    repository_id: int | None
    token_id: int
    csrf: str = ""

    def may(self, role: Role) -> bool:
        return _RANK[self.role] >= _RANK[role]

    def sees(self, thing: Owned) -> bool:
        return self.sees_repository(thing.organization_id, thing.repository_id)

    def sees_repository(self, organization_id: str, repository_id: int | None) -> bool:
        return organization_id == self.organization_id and self.repository_id in (None, repository_id)


def caller_of(connection: HTTPConnection) -> Caller | None:
    """Who makes this call; None on what is open to everybody."""
    caller: Caller | None = getattr(connection.state, "caller", None)
    return caller


def csrf_of(connection: HTTPConnection) -> str:
    """What a form of this caller must send back as `csrf_token` (or a script as `X-CSRF-Token`)."""
    caller = caller_of(connection)
    return caller.csrf if caller else ""


def new_token(prefix: str = TOKEN) -> str:
    return prefix + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(text: str, prefix: str) -> bool:
    """Whether it has the form of one; what has not is not looked up."""
    return text.startswith(prefix) and _FORM.fullmatch(text) is not None


def caller_from(token: Token, secret: str) -> Caller:
    """The caller that `secret`, whose row is `token`, stands for."""
    return Caller(
        user_id=token.user_id,
        organization_id=token.organization_id,
        role=token.role,
        repository_id=token.repository_id,
        token_id=token.id,
        csrf=_csrf(secret) if secret.startswith(SESSION) else "",
    )


def _csrf(session: str) -> str:
    """Made from the session, so it needs no keeping, ends with it, and tells nothing about it."""
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()
