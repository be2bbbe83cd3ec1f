"""What is told of a job's life, as the JSON that lifecycle webhooks send. Shapes only; who makes them gives the times.

Readers ignore fields that they do not know. `docs/events.md` says what each field means, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from formicary.runner.core.definition import Value
from formicary.runner.core.states import State

VERSION: Final = 1


class Event(BaseModel):
    """What all have. `at` is RFC 3339 in UTC; `seq` rises by one for each event of the organization; `id` is the same
    however often the event is sent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int = VERSION
    id: str
    at: str
    organization_id: str
    seq: int


class JobRequestLifecycleEvent(Event):
    """A request has another state. `repository` is its name, or empty; secrets in `params` are `***`."""

    event_type: Literal["JobRequestLifecycleEvent"] = "JobRequestLifecycleEvent"
    request_id: int
    job_type: str
    repository: str = ""
    commit: str = ""
    ref: str = ""
    state: State
    reason: str = ""
    waiting_for: str = ""
    params: Mapping[str, Value] = Field(default_factory=dict)


class JobExecutionLifecycleEvent(Event):
    """A run of a request has another state. `outputs`: task → name → value, of the tasks that have ended."""

    event_type: Literal["JobExecutionLifecycleEvent"] = "JobExecutionLifecycleEvent"
    request_id: int
    execution_id: int
    job_type: str
    state: State
    error_code: str = ""
    error_message: str = ""
    outputs: Mapping[str, Mapping[str, Value]] = Field(default_factory=dict)


class TaskExecutionLifecycleEvent(Event):
    """An attempt at a task has another state; or the task was skipped: then there is no attempt, and no id of one."""

    event_type: Literal["TaskExecutionLifecycleEvent"] = "TaskExecutionLifecycleEvent"
    request_id: int
    execution_id: int
    task_execution_id: str = ""
    task_type: str
    method: str
    attempt: int = 0
    fence: int = 0
    state: State
    exit_code: int | None = None
    error_code: str = ""
    ant_id: str = ""
    usage: Mapping[str, float] = Field(default_factory=dict)


def rfc3339(at: float) -> str:
    """Seconds since the epoch as `2026-11-24T07:50:25.123Z` (RFC 3339, UTC)."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
