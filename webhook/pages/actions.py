"""What a person does on a page: ask for a job, cancel a request, run one again. A form's POST, then back to a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from formicary.runner.core.definition import JobDefinition, Param, Value
from formicary.runner.core.errors import DefinitionError, NotFound
from formicary.runner.core.load import load
from formicary.runner.core.records import JobRequest, Version
from formicary.runner.queen.ask import Ask
from formicary.runner.queen.people.approvals import Ballot
from formicary.runner.queen.people.audit import Also, audit
from formicary.site import build
from formicary.site.views import JobView
from formicary.webhook.forms import form_of
from formicary.webhook.pages.answers import Handler, link
from formicary.webhook.pages.context import PagesContext, must_act, the_caller

_PREFIX = "param."
MOST_SAID: Final = 1000
"""Characters of a comment."""


def definition_of(version: Version) -> JobDefinition | None:
    """What the text of a version says; None where it cannot be read any more."""
    try:
        loaded = load(version.text, path=version.path, dialect=version.dialect)
        return next(one.definition for one in loaded if one.index == version.index)
    except (DefinitionError, StopIteration):
        return None


def submit(context: PagesContext) -> Handler:
    async def handler(request: Request) -> Response:
        must_act(request, context.submit)
        if context.submit is None:
            raise NotFound()
        form = await form_of(request)
        repository, job = request.path_params.get("repository", ""), request.path_params["job"]
        view = await anyio.to_thread.run_sync(lambda: build.job(context.source(request), repository, job))
        caller = the_caller(request)
        context.paced(caller)
        made, _ = await context.submit(
            Ask(
                job_type=job,
                repository=repository or None,
                ref=form.get("ref", "").strip() or None,
                params=_params(view, form),
                created_by=caller.user_id,
                organization_id=caller.organization_id,
            )
        )
        return _to(made.id)

    return handler


def cancel(context: PagesContext) -> Handler:
    async def handler(request: Request) -> Response:
        must_act(request, context.cancel)
        found = await _seen(context, request)
        if context.cancel is not None:
            await context.cancel(found.id, by=the_caller(request).user_id, also=_traced(request, "cancel", found))
        return _to(found.id)

    return handler


def vote(context: PagesContext, *, approved: bool) -> Handler:
    """Who may is for the task to say; the form names what was seen: task and commit (T2)."""

    async def handler(request: Request) -> Response:
        if context.vote is None:
            raise NotFound("This server has no such action.")
        form, caller = await form_of(request), the_caller(request)
        found = await _seen(context, request)
        ballot = Ballot(
            approved=approved,
            by=caller.user_id,
            role=caller.role,
            task=form.get("task", ""),
            commit=form.get("commit", ""),
            comment=form.get("comment", "").strip()[:MOST_SAID],
            token_id=caller.token_id,
        )
        await context.vote(found.id, ballot)
        return _to(found.id)

    return handler


def _traced(request: Request, action: str, found: JobRequest, **detail: Any) -> Also:
    caller = the_caller(request)
    return partial(audit, action=action, by=caller.user_id, token_id=caller.token_id, request=found, **detail)


def restart(context: PagesContext) -> Handler:
    async def handler(request: Request) -> Response:
        must_act(request, context.restart)
        failed = (await form_of(request)).get("failed") == "1"
        found = await _seen(context, request)
        if context.restart is not None:
            context.paced(the_caller(request))
            also = _traced(request, "restart", found, failed=failed)
            await context.restart(found.id, by=the_caller(request).user_id, failed=failed, also=also)
        return _to(found.id)

    return handler


async def _seen(context: PagesContext, request: Request) -> JobRequest:
    """The request that is meant, if the caller may see it."""
    number: int = request.path_params["request_id"]
    found = await anyio.to_thread.run_sync(lambda: context.source(request).request(number))
    if found is None:
        raise NotFound(f"There is no request {number} here, or it is not yours to see.")
    return found


def _params(view: JobView, form: Mapping[str, str]) -> dict[str, Value]:
    """What was filled in; an empty field leaves the parameter to its default."""
    given = {name.removeprefix(_PREFIX): text for name, text in form.items() if name.startswith(_PREFIX)}
    return {name: _typed(view.params.get(name), text) for name, text in given.items() if text != ""}


def _typed(param: Param | None, text: str) -> Value:
    """Text, unless the parameter's default is of another type and the text can be read as one."""
    if param is None or param.default is None or isinstance(param.default, str):
        return text
    try:
        value: Value = json.loads(text)
    except ValueError:
        return text
    return value


def _to(request_id: int) -> Response:
    return RedirectResponse(link().request(request_id), 303)
