"""What queen and ants say to each other, versioned. Readers ignore fields that they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.execution import ArtifactRef, Result

VERSION: Final = 1


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    v: int = VERSION


class Ant(Message):
    """Who offers hands: how many it has, and what it can do."""

    ant_id: str
    tags: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    platform: str = ""
    hands: int = 1
    embedded: bool = False
    without: Mapping[str, str] = Field(default_factory=dict)
    """Methods that it knows and cannot run now, and why, as half a sentence: no engine answers."""


class Source(Message):
    """Where the workspace comes from: a commit of a repository, or (`formicary run`) a copy of a working tree.

    With `ref` the commit is what that names when the attempt starts; `commit` and `branch` are empty in the order."""

    kind: Literal["commit", "tree", "none"] = "none"
    path: str = ""
    commit: str = ""
    branch: str = ""
    ref: str = ""
    depth: int = 50


class Input(Message):
    """An artifact of a dependency, put in place before the script; below `folder`, of a combination of a matrix."""

    task_type: str
    artifact: ArtifactRef
    folder: str = ""


class TaskOrder(Message):
    """A claimed task, ready to run. Rendered text holds tokens where a secret goes; `secrets` (name → value) fills and
    masks them at the ant and is never written to disk. `files` are values too long for the environment: name → content,
    the variable then names the file. `notes` are said in the log before anything runs."""

    task_execution_id: str
    fence: int
    request_id: int
    execution_id: int
    organization_id: str
    repository_id: int | None = None
    repository: str = ""
    """Its name, where the task reaches beyond its containers, and somebody must have allowed that (T21)."""
    cache_scope: str = ""
    """Whose caches these are: the same for all runs of a repository, whichever process of this machine made them."""
    job_type: str
    attempt: int = 1
    lease_seconds: float = 30.0
    task: TaskDefinition
    environment: Mapping[str, str] = Field(default_factory=dict)
    files: Mapping[str, str] = Field(default_factory=dict)
    secrets: Mapping[str, str] = Field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    source: Source = Source()
    inputs: tuple[Input, ...] = ()
    trusted: bool = True


class Report(Message):
    """What an ant says of an attempt. FINISHED carries the result and comes after the last log byte (D13);
    RETURNED = the ant cannot take it after all; LOST = the ant's own failure, not the task's (D12)."""

    task_execution_id: str
    fence: int
    ant_id: str
    kind: Literal["EXECUTING", "FINISHED", "RETURNED", "LOST"]
    result: Result | None = None
    message: str = ""
    code: str = ""
    """Of what is LOST: which of `LOST_CODES`; empty: ERR_ANT_LOST."""


class LogChunk(Message):
    """Framed log bytes (see `logframes`) at their offset in the attempt's log; doubled chunks change nothing."""

    task_execution_id: str
    fence: int
    offset: int
    data: bytes
