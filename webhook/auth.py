"""Who may come in. Everything wants a token or a session, on loopback too (T17, T18), but for the short list in `OPEN`.

A bearer token comes in the `Authorization` header; a token in a query is not looked at. A session is a token of its own
kind in a cookie, so it is hashed, expires and is revoked as one; calls that change something need its CSRF token too.
"""

from __future__ import annotations

import hmac
import logging
from typing import Final
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from formicary.runner.core.errors import FormicaryError
from formicary.runner.core.records import Token
from formicary.webhook.caller import SESSION, TOKEN, Caller, caller_from, digest_of, is_token
from formicary.webhook.onion import changes_something, read_whole, refuse
from formicary.webhook.parts import Door, Settings
from formicary.webhook.problems import answer, problem

logger = logging.getLogger("formicary.webhook")

#: Open to everybody; hooks have signatures of their own.
OPEN: Final = frozenset({"/login", "/health/live", "/health/ready"})
OPEN_BELOW: Final = ("/hooks/", "/auth/", "/static/")
#: Open where the route itself finds that the repository is public: it must look at `caller_of`.
OPTIONAL_BELOW: Final = ("/badges/",)
#: Not pages: they answer 401 to a browser as well.
_NO_PAGES: Final = ("/api/", "/health/", "/metrics", "/version", "/events", "/ws/")
_TOUCH_EVERY: Final = 60.0
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="formicary"'}


def cookie_name(settings: Settings) -> str:
    """Cookies know no ports: two servers on one host keep theirs apart by name."""
    return f"formicary_session_{settings.port}"


class Authentication:
    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door
        self._cookie = cookie_name(door.settings)
        self._touched: dict[int, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_open(scope["path"]):
            return await self.app(scope, receive, send)
        found = self._identify(Headers(scope=scope))
        if found is None:
            if scope["path"].startswith(OPTIONAL_BELOW):
                return await self.app(scope, receive, send)
            return await refuse(scope, receive, send, _unauthenticated(scope))
        token, caller = found
        if caller.csrf and changes_something(scope):
            receive, good = await _check_csrf(scope, receive, caller)
            if not good:
                return await refuse(scope, receive, send, answer(problem(403, _CSRF_MISSING)))
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)
        await self._touch(token)

    def _identify(self, headers: Headers) -> tuple[Token, Caller] | None:
        """An `Authorization` header that is no good is not made good by a cookie."""
        authorization = headers.get("authorization")
        if authorization is not None:
            scheme, _, secret = authorization.partition(" ")
            return self._look_up(secret.strip(), TOKEN) if scheme.lower() == "bearer" else None
        cookie = headers.get("cookie")
        return self._look_up(cookie_parser(cookie).get(self._cookie, ""), SESSION) if cookie else None

    def _look_up(self, secret: str, prefix: str) -> tuple[Token, Caller] | None:
        if not is_token(secret, prefix):
            return None
        token = self.door.store.read().token_by_digest(digest_of(secret))
        if token is None or (token.expires_at is not None and token.expires_at <= self.door.clock()):
            return None
        return token, caller_from(token, secret)

    async def _touch(self, token: Token) -> None:
        """Note the use, after the answer is out, and once a minute at most."""
        now = self.door.clock()
        if now - max(token.used_at or 0.0, self._touched.get(token.id, 0.0)) < _TOUCH_EVERY:
            return
        if len(self._touched) > 1000:
            self._touched.clear()
        self._touched[token.id] = now
        try:
            await self.door.store.write(lambda tx: tx.touch_token(token.id, now))
        except FormicaryError:
            logger.warning("the use of token %d could not be noted", token.id, exc_info=True)


_CSRF_MISSING: Final = (
    "A call that a browser's session makes must carry the session's CSRF token, as the form field `csrf_token` or the "
    "header X-CSRF-Token. Reload the page and try again."
)


async def _check_csrf(scope: Scope, receive: Receive, caller: Caller) -> tuple[Receive, bool]:
    """(the `receive` to go on with, whether the call is our own page's). A WebSocket can carry no token, but a browser
    always says its origin, which was found to be ours."""
    headers = Headers(scope=scope)
    if scope["type"] == "websocket":
        return receive, "origin" in headers
    given = headers.get("x-csrf-token", "")
    form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if not given and form:
        body, receive = await read_whole(receive)
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000).get("csrf_token", [""])[0]
    return receive, hmac.compare_digest(given.encode(), caller.csrf.encode())


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def _unauthenticated(scope: Scope) -> Response:
    path = scope["path"]
    page = path == "/api/docs" or not path.startswith(_NO_PAGES)
    wants_page = scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")
    if page and wants_page and scope["method"] in ("GET", "HEAD"):
        return RedirectResponse(f"/login?next={quote(path)}", 303)
    return answer(
        problem(401, "This call needs a token: send it as `Authorization: Bearer fmy_…`."), headers=dict(_CHALLENGE)
    )
