"""Who did what, when, and with which token. Written with what was done; never changed, never deleted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from formicary.runner.core.records import Audit, Role
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment
from formicary.webhook.operations import Call, Operation

PATH: Final = "/api/audits"


class AuditQuery(shared.PageQuery):
    user: str | None = None
    action: str | None = Field(default=None, description="Such as `approve` or `secret.set`.")
    request: int | None = Field(default=None, ge=1, lt=2**63, description="What was done to this job request.")


class AuditView(shared.View):
    """That somebody did something. `token_id`: with which token; `detail` depends on the action."""

    id: int
    at: datetime | None
    user_id: str
    token_id: int | None
    action: str
    subject: str
    repository_id: int | None
    request_id: int | None
    detail: Mapping[str, Any]


def view(audit: Audit) -> AuditView:
    return AuditView(**audit.model_dump(exclude={"organization_id", "at"}), at=moment(audit.at))


async def show_list(call: Call) -> Listed[AuditView]:
    query: AuditQuery = call.query
    wanted = {
        "organization_id": call.caller.organization_id,
        "user_id": query.user,
        "action": query.action,
        "request_id": query.request,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    return shared.listed(call.door.store.read().audits(wanted, query.page, query.page_size), view)


OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "Who did what, newest first",
        show_list,
        tag="Audit",
        role=Role.ADMIN,
        everything=True,
        query=AuditQuery,
        answer=Listed[AuditView],
        errors=(422,),
    ),
)
