"""RFC 9457: what went wrong, as a document that names the field and the reason. Every error leaves through here."""

from __future__ import annotations

import http
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from formicary.runner.core.errors import (
    Conflict,
    DefinitionError,
    FormicaryError,
    NotAllowed,
    NotFound,
    Problem,
    RepositoryUnavailable,
    RequestRefused,
    UserError,
    WorldError,
)

logger = logging.getLogger("formicary.webhook")

MEDIA_TYPE: Final = "application/problem+json"


class FieldProblem(BaseModel):
    """One thing that is wrong: `field` is where (a name, a header, a path with line and column), `reason` why."""

    field: str
    reason: str


class ProblemDocument(BaseModel):
    """An error as the API tells it. `reference` finds our own failures in the server's log."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[FieldProblem, ...] | None = None
    reference: str | None = None


def problem(
    status: int, detail: str, *, errors: tuple[FieldProblem, ...] | None = None, reference: str | None = None
) -> ProblemDocument:
    title = http.HTTPStatus(status).phrase
    return ProblemDocument(title=title, status=status, detail=detail, errors=errors, reference=reference)


def field_problem(status: int, field: str, reason: str) -> ProblemDocument:
    return problem(status, reason, errors=(FieldProblem(field=field, reason=reason),))


def describe(error: Exception) -> ProblemDocument:
    """The document for this error; ours are logged with a reference and say nothing of their inside."""
    match error:
        case RequestRefused():
            return field_problem(422, error.field, str(error)) if error.field else problem(422, str(error))
        case DefinitionError():
            return problem(422, str(error), errors=tuple(_definition_problem(p) for p in error.problems))
        case NotFound():
            return problem(404, str(error))
        case NotAllowed():
            return problem(403, str(error))
        case Conflict():
            return problem(409, str(error))
        case UserError():
            return problem(422, str(error))
        case ValidationError():
            return _invalid(error)
        case RepositoryUnavailable():
            return problem(503, str(error))  # what its sentence says may take longer: a wrong token stays wrong
        case WorldError():
            return problem(503, f"{error} Try again in a moment.")
        case HTTPException():
            return problem(error.status_code, error.detail)
        case _:
            return lost(error)


def lost(error: BaseException) -> ProblemDocument:
    """Our own fault: log it, and give its reference."""
    reference = secrets.token_hex(6)
    logger.error("lost [%s]: %s", reference, type(error).__name__, exc_info=error)
    detail = f"Formicary itself failed here. The server's log says more under the reference {reference}."
    return problem(500, detail, reference=reference)


def answer(
    document: ProblemDocument,
    mask: Callable[[str], str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    text = document.model_dump_json(exclude_none=True)
    return Response(mask(text) if mask else text, document.status, headers, MEDIA_TYPE)


def handlers(mask: Callable[[str], str]) -> dict[Any, Callable[[Request, Exception], Response]]:
    """The exception handlers of the application."""

    def handle(_request: Request, error: Exception) -> Response:
        headers = dict(getattr(error, "headers", None) or {})
        if isinstance(error, WorldError):
            headers["Retry-After"] = "5"
        return answer(describe(error), mask, headers)

    def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    return {FormicaryError: handle, ValidationError: handle, HTTPException: handle, ClientDisconnect: gone}


def _definition_problem(found: Problem) -> FieldProblem:
    place = f"{found.path}:{found.line}:{found.column}" if found.line else found.path
    return FieldProblem(field=place, reason=f"{found.message} {found.expected}".strip())


def _invalid(error: ValidationError) -> ProblemDocument:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in found):
        return problem(400, f"The body is not JSON: {found[0]['msg']}.")
    errors = tuple(
        FieldProblem(
            field=".".join(str(part) for part in item["loc"]) or "body",
            reason="there is no such field" if item["type"] == "extra_forbidden" else item["msg"],
        )
        for item in found
    )
    detail = "; ".join(f"{item.field}: {item.reason}" for item in errors[:5])
    return problem(422, f"This is not valid: {detail}.", errors=errors)
