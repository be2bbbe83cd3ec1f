"""What an event would run, and why, or why not."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from formicary.webhook.api import shared
from formicary.webhook.operations import Call, Operation

_COMMIT: Final = r"^([0-9a-f]{40}|[0-9a-f]{64})?$"


class ExplainBody(shared.Body):
    """A push: of `ref` (default: the tracked branch) to `commit` (default: where it is now), from `before` (default:
    the commit's first parent)."""

    repository: str = Field(min_length=1, max_length=200, description="Its name or id.")
    ref: str = Field(default="", max_length=1000)
    commit: str = Field(default="", pattern=_COMMIT)
    before: str = Field(default="", pattern=_COMMIT)


class ExplainedView(shared.View):
    """`skipped`: the trigger names the event and its filter excludes it; `nothing`: no trigger names it."""

    job_type: str
    path: str
    answer: Literal["runs", "skipped", "nothing", "invalid"]
    reason: str


class ExplainView(shared.View):
    records: tuple[ExplainedView, ...]


async def explain(call: Call) -> ExplainView:
    body = call.body
    repository = shared.repository_called(call, body.repository)
    found = await call.door.reconciler.explain(repository, body.ref, body.commit, body.before or None)
    mask = call.door.mask
    return ExplainView(
        records=tuple(
            ExplainedView(job_type=one.job_type, path=one.path, answer=one.answer, reason=mask(one.reason))
            for one in found
        )
    )


OPERATIONS: Final = (
    Operation(
        "POST",
        "/api/explain",
        "What a push would run, and why, or why not",
        explain,
        tag="Explain",
        body=ExplainBody,
        answer=ExplainView,
        errors=(400, 404, 415, 422),
    ),
)
