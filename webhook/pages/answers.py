"""How a page leaves: rendered on a thread, under a policy that lets nothing inline and no other host in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from formicary.runner.core.errors import FormicaryError
from formicary.site.links import LiveLink
from formicary.site.render import Chrome, render, static_version
from formicary.site.views import LoginView, MessageView, View
from formicary.webhook.problems import describe

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
_TITLES: Final = {404: "Nothing here", 403: "Not yours to do", 409: "Not now", 422: "That does not work"}

Handler = Callable[[Request], Awaitable[Response]]


def link() -> LiveLink:
    return LiveLink(static_version())


def page(template: str, view: View, chrome: Chrome, *, fragment: bool = False, status: int = 200) -> HTMLResponse:
    return HTMLResponse(render(template, view, link(), chrome, fragment=fragment), status, HEADERS)


def login_page(message: str = "", target: str = "", status: int = 200) -> HTMLResponse:
    """The login form, in the pages' clothes. It posts `token` and `next` to /login."""
    return page("login", LoginView(message=message, target=target), Chrome(), status=status)


def message_page(status: int, text: str, title: str = "") -> HTMLResponse:
    """A page that says one thing."""
    return page("message", MessageView(_TITLES.get(status, title), text), Chrome(), status=status)


def readable(handler: Handler) -> Handler:
    """Errors of a page are a page too."""

    @wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except (FormicaryError, HTTPException) as error:
            document = describe(error)
            return message_page(document.status, document.detail, document.title)

    return guarded
