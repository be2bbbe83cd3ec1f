"""What a person or the API may ask of the queen. Shapes only."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from formicary.runner.core.definition import Value


class Ask(BaseModel):
    """Run this job. `commit` defaults to the head of `ref`, `ref` to the tracked branch; times are epoch seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_type: str
    repository: str | None = None
    ref: str | None = None
    commit: str | None = None
    job_version: int | None = None
    params: Mapping[str, Value] = Field(default_factory=dict)
    scheduled_at: float | None = None
    priority: int | None = None
    description: str = ""
    user_key: str | None = None
    created_by: str = ""
    organization_id: str = "default"
