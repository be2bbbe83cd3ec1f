"""How people log in and out: by the printed link's code, which works once, or by a token that they paste."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from formicary.runner.core.records import DEFAULT_ORGANIZATION, Role, Token
from formicary.runner.store import Tx
from formicary.webhook.auth import cookie_name
from formicary.webhook.caller import SESSION, TOKEN, caller_of, digest_of, is_token, new_token
from formicary.webhook.forms import form_of
from formicary.webhook.origins import is_loopback, parse
from formicary.webhook.parts import Door

SESSION_LIFETIME: Final = 7 * 86400.0
SESSION_NAME: Final = "browser session"
_OLD_CODE: Final = "This login link has been used or is older than ten minutes."
_NO_TOKEN: Final = "This is not a valid token."


def session_name(token_id: int) -> str:
    """What sessions that were begun with this token are called; they are revoked with it."""
    return f"{SESSION_NAME} of token {token_id}"


def routes(door: Door) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        code = request.query_params.get("code")
        if code is None:
            return _form(request)
        if not door.codes.take(code):
            return _form(request, _OLD_CODE, 401)
        admin = Token(name=SESSION_NAME, digest="", role=Role.ADMIN, organization_id=DEFAULT_ORGANIZATION)
        return await _begin(door, request, admin, request.query_params.get("next", ""))

    async def enter(request: Request) -> Response:
        form = await form_of(request)
        secret, target = form.get("token", "").strip(), form.get("next", "")
        token = door.store.read().token_by_digest(digest_of(secret)) if is_token(secret, TOKEN) else None
        if token is None or (token.expires_at is not None and token.expires_at <= door.clock()):
            return _form(request, _NO_TOKEN, 401)
        return await _begin(door, request, token.model_copy(update={"name": session_name(token.id)}), target)

    async def leave(request: Request) -> Response:
        caller = caller_of(request)
        if caller and caller.csrf:
            await door.store.write(lambda tx: tx.delete_token(caller.token_id))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(cookie_name(door.settings), httponly=True, samesite="lax")
        return response

    return [
        Route("/login", show, methods=["GET"]),
        Route("/login", enter, methods=["POST"]),
        Route("/logout", leave, methods=["POST"]),
    ]


async def _begin(door: Door, request: Request, like: Token, target: str) -> Response:
    """Start a session that may do what `like` may, and ends when it does."""
    secret, now = new_token(SESSION), door.clock()
    ends = min(now + SESSION_LIFETIME, like.expires_at or now + SESSION_LIFETIME)
    session = like.model_copy(
        update={
            "id": 0,
            "digest": digest_of(secret),
            "created_at": now,
            "expires_at": ends,
            "used_at": now,
        }
    )

    def begin(tx: Tx) -> None:
        for old in tx.tokens():
            if old.name.startswith(SESSION_NAME) and old.expires_at is not None and old.expires_at <= now:
                tx.delete_token(old.id)
        tx.add_token(session)

    await door.store.write(begin)
    response = RedirectResponse(local_path(target), 303)
    response.set_cookie(
        cookie_name(door.settings),
        secret,
        max_age=int(ends - now),
        httponly=True,
        samesite="lax",
        secure=not _on_loopback(request),
    )
    return response


def local_path(target: str) -> str:
    """A path of this server, and `/` for everything else."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    return target if target.isprintable() else "/"


def _on_loopback(request: Request) -> bool:
    origin = parse(f"http://{request.headers.get('host', '')}")
    return origin is not None and is_loopback(origin.host)


def _form(request: Request, complaint: str = "", status: int = 200) -> Response:
    from formicary.webhook.pages.answers import login_page  # with the first page, and not for those who call the API

    return login_page(complaint, local_path(request.query_params.get("next", "")), status)
