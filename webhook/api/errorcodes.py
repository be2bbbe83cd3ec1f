"""The organization's error codes: which failures are called what, and whether they are tried again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, field_validator, model_validator
from starlette.responses import Response

from formicary.runner.core.errorcodes import MOST_RETRIES, ErrorCode
from formicary.runner.core.errors import ERR_CANCELLED, ERR_FATAL, LOST_CODES, NotFound
from formicary.runner.core.judged import Action
from formicary.runner.core.records import Role
from formicary.runner.queen.people.audit import Also
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment, traced
from formicary.webhook.operations import Call, Operation, reply

PATH: Final = "/api/errors"
MOST_REGEX: Final = 1000
OURS: Final = LOST_CODES | {ERR_FATAL, ERR_CANCELLED}
"""Codes that mean something to Formicary itself, and which no failure may be called."""
_Scope = Annotated[str, StringConstraints(max_length=100, strip_whitespace=True)]


class ErrorCodeView(shared.View):
    """An error code. Empty scopes, `*` and no `exit_code` mean any."""

    id: int
    organization_id: str
    error_code: str
    regex: str
    exit_code: int | None
    job_type: str
    task_type: str
    platform: str
    action: Action
    retry: int
    message: str
    description: str
    created_at: datetime | None
    updated_at: datetime | None


class NewErrorCode(shared.Body):
    """`regex` (RE2's) is looked for in the error message and the last 200 lines of the log; `exit_code` is what the
    task ended with. One of the two is needed. `retry`: how many more attempts, where `action` is RETRY_TASK or
    RETRY_JOB. `message` is shown to people with the failure."""

    error_code: str = Field(pattern=r"^ERR_[A-Z0-9_]{1,60}$")
    regex: str = Field(default="", max_length=MOST_REGEX)
    exit_code: int | None = Field(default=None, ge=-255, le=999)
    job_type: _Scope = ""
    task_type: _Scope = ""
    platform: _Scope = ""
    action: Action = ""
    retry: int = Field(default=0, ge=0, le=MOST_RETRIES)
    message: str = Field(default="", max_length=300)
    description: str = Field(default="", max_length=1000)

    @field_validator("error_code")
    @classmethod
    def _not_ours(cls, code: str) -> str:
        if code in OURS:
            raise ValueError(f"{code} means something to Formicary itself; choose another name")
        return code

    @model_validator(mode="after")
    def _whole(self) -> NewErrorCode:
        if not self.regex and self.exit_code is None:
            raise ValueError("say `regex`, `exit_code`, or both: by what a failure is known")
        if self.action.startswith("RETRY_") != bool(self.retry):
            raise ValueError("`retry` belongs to the actions RETRY_TASK and RETRY_JOB, and they need it")
        return self


class ErrorCodesQuery(shared.PageQuery):
    error_code: str | None = None


def _view(code: ErrorCode) -> ErrorCodeView:
    told: dict[str, Any] = dict(code)
    return ErrorCodeView(**told | {"created_at": moment(code.created_at), "updated_at": moment(code.updated_at)})


def _of(call: Call) -> ErrorCode:
    """The error code of the path, if it is the caller's organization's."""
    code_id = call.number()
    found = call.door.store.read().error_code(code_id)
    if found is None or found.organization_id != call.caller.organization_id:
        raise NotFound(f"There is no error code {code_id}.")
    return found


def _traced(call: Call, action: str, code: ErrorCode) -> Also:
    said = {name: getattr(code, name) for name in ("regex", "exit_code", "job_type", "task_type", "platform")}
    return traced(call, action, subject=code.error_code, then=code.action, retry=code.retry or None, **said)


async def show_list(call: Call) -> Listed[ErrorCodeView]:
    query: ErrorCodesQuery = call.query
    found = call.door.store.read().error_codes(call.caller.organization_id)
    wanted = [one for one in found if query.error_code in (None, one.error_code)]
    return shared.listed(shared.cut(wanted, query), _view)


async def show(call: Call) -> ErrorCodeView:
    return _view(_of(call))


async def add(call: Call) -> Response:
    new = ErrorCode(organization_id=call.caller.organization_id, **call.body.model_dump())
    made = await call.door.queen.registry.put_error_code(new, _traced(call, "error.set", new))
    return reply(_view(made), 201, {"Location": f"{PATH}/{made.id}"})


async def save(call: Call) -> ErrorCodeView:
    changed = _of(call).model_copy(update=call.body.model_dump())
    return _view(await call.door.queen.registry.put_error_code(changed, _traced(call, "error.set", changed)))


async def remove(call: Call) -> Response:
    found = _of(call)
    await call.door.queen.registry.delete_error_code(found.id, _traced(call, "error.delete", found))
    return Response(status_code=204)


_TAG: Final = "Error codes"
_ONE: Final = PATH + "/{id:int}"

OPERATIONS: Final = (
    Operation(
        "GET", PATH, "List the error codes", show_list, tag=_TAG, query=ErrorCodesQuery,
        answer=Listed[ErrorCodeView], errors=(422,),
    ),
    Operation(
        "POST", PATH, "Name failures by what they say or their exit code", add, tag=_TAG, role=Role.MAINTAINER,
        everything=True, body=NewErrorCode, answer=ErrorCodeView, status=201, errors=(400, 415, 422),
    ),
    Operation("GET", _ONE, "One error code", show, tag=_TAG, answer=ErrorCodeView, errors=(404,)),
    Operation(
        "PUT", _ONE, "Change it, for failures from now on", save, tag=_TAG, role=Role.MAINTAINER, everything=True,
        body=NewErrorCode, answer=ErrorCodeView, errors=(400, 404, 415, 422),
    ),
    Operation(
        "DELETE", _ONE, "Forget it", remove, tag=_TAG, role=Role.MAINTAINER, everything=True, status=204, media="",
        errors=(404,),
    ),
)  # fmt: skip
