"""The rows that the queen remembers, as plain shapes. Times are seconds since the epoch (UTC); ids rise."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from formicary.runner.core.definition import NATIVE, Dialect, Value
from formicary.runner.core.states import State

DEFAULT_ORGANIZATION: Final = "default"
TRIGGER: Final = "trigger"
"""What stands for the forge of a delivery that called a `webhook` trigger of a job."""

T = TypeVar("T")


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Role(StrEnum):
    """What a token may do; each includes the ones after it."""

    ADMIN = "admin"
    MAINTAINER = "maintainer"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class SyncState(StrEnum):
    """How a registered definition stands to the tracked branch."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    INVALID = "Invalid"
    ORPHANED = "Orphaned"


class Repository(Record):
    """A repository that is watched. `path` is where git reads it: the repository itself, or the mirror of the remote at
    `url` (which never holds a password). `state` is ok, empty or unavailable. `pinned`: the operator named the tracked
    branch. `forge`: whose hooks and statuses it has ("github", "gitlab", "gitea", or "" for bare git); `slug` is its
    name there (owner/name), `api_url` the API's base (empty: the forge's own). `poll`: seconds between looks (None: the
    server's).
    `fork_policy`: what becomes of pull requests from forks (ask, first_time, refuse). `dialect`: what its definitions
    are written in where they do not say it."""

    id: int
    organization_id: str = DEFAULT_ORGANIZATION
    name: str
    path: str
    tracked_branch: str = ""
    pinned: bool = False
    visibility: str = "private"
    url: str = ""
    forge: str = ""
    slug: str = ""
    api_url: str = ""
    poll: float | None = None
    fork_policy: str = "ask"
    dialect: Dialect = NATIVE
    state: str = "ok"
    error: str = ""
    seen_at: float | None = None
    synced_commit: str = ""
    synced_at: float | None = None


class SeenRef(Record):
    """A ref as the last look found it. The generation rises when it moved, or was gone and came back."""

    repository_id: int
    ref: str
    commit: str
    generation: int
    gone: bool = False


class Definition(Record):
    """A registered job definition: the tracked branch's. `version_id` is the last good version, in force while a
    newer one is Invalid; `problems` are those of the newest text."""

    id: int
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    job_type: str
    path: str
    version_id: int | None = None
    version: int = 0
    commit: str = ""
    state: SyncState = SyncState.SYNCED
    problems: tuple[str, ...] = ()
    disabled: bool = False
    max_concurrency: int | None = None
    updated_at: float = 0.0


class Version(Record):
    """One text of a definition, kept once per (repository, job_type, digest); `dialect` is what it was read as."""

    id: int
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    job_type: str
    version: int
    digest: str
    path: str
    index: int
    text: str
    dialect: Dialect = NATIVE
    commit: str = ""
    created_at: float = 0.0


class NewRequest(Record):
    """What is asked for. `cause_key` makes the request the only one of its cause (None: never de-duplicated);
    `user_key` is unique while its request is alive. `state` PENDING, or SKIPPED with a `reason` at once."""

    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    version_id: int
    job_type: str
    event: str = "manual"
    ref: str = ""
    commit: str = ""
    source_path: str = ""
    """Where the ant finds the commit (or, without a commit, the working tree)."""
    cause_key: str | None = None
    user_key: str | None = None
    params: Mapping[str, Value] = Field(default_factory=dict)
    secret_params: Mapping[str, str] = Field(default_factory=dict)
    tainted: tuple[str, ...] = ()
    priority: int = 0
    max_concurrency: int = 3
    scheduled_at: float | None = None
    description: str = ""
    created_by: str = ""
    trusted: bool = True
    parent_id: int | None = None
    """The request that forked this one."""
    parent_task: str = ""
    """The task execution of the parent on which it hangs."""
    state: State = State.PENDING
    reason: str = ""


class JobRequest(NewRequest):
    """A job request as stored. `params` never holds a secret's value (`secret_params` is empty when read back)."""

    id: int
    created_at: float
    execution_id: int | None = None
    executions: int = 0
    has_secrets: bool = False
    resume_of: int | None = None
    """The execution whose completed tasks the next one keeps."""
    started_at: float | None = None
    ended_at: float | None = None
    error_code: str = ""
    error_message: str = ""


class Lease(Record):
    """An ant's time-limited right to run a task execution; `fence` proves that it is the newest."""

    task_execution_id: str
    execution_id: int
    request_id: int
    task_type: str
    ant_id: str
    fence: int
    deadline: float


class PullRequest(Record):
    """A pull request as its forge last told of it. `fork`: its head lies in another repository, `head_slug` (empty
    where that was deleted). `updated_at` is the forge's own time; what it told before that is old news."""

    repository_id: int
    number: int
    state: str = "open"
    title: str = ""
    author: str = ""
    head_ref: str = ""
    head_commit: str = ""
    head_slug: str = ""
    base_ref: str = ""
    base_commit: str = ""
    merge_commit: str = ""
    fork: bool = False
    draft: bool = False
    labels: tuple[str, ...] = ()
    updated_at: float = 0.0


class Fact(Record):
    """What a delivery says, whatever forge it came from. `event` is push, create, delete, pull_request, ping or other;
    `refs` are the full names of those that moved. What cannot be read back (`pull_request`) is kept here."""

    event: str = "other"
    action: str = ""
    slug: str = ""
    refs: tuple[str, ...] = ()
    sender: str = ""
    pull_request: PullRequest | None = None


class Delivery(Record):
    """One call of a hook: what came, what it says (a `Fact` as plain data; empty where only refs are told), and what
    became of it. `body` is kept 30 days."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    forge: str
    delivery_key: str
    repository_id: int | None = None
    event: str = ""
    body: str = ""
    body_digest: str = ""
    fact: Mapping[str, Any] = Field(default_factory=dict)
    received_at: float = 0.0
    verdict: str = "accepted"
    reason: str = ""
    request_ids: tuple[int, ...] = ()


class SecretKind(StrEnum):
    """What a secret is for: SECRET, a name that tasks may use; CREDENTIAL, how this server gets into a repository."""

    SECRET = "secret"
    CREDENTIAL = "credential"


class Secret(Record):
    """A secret without its value, which lies sealed beside it. Its scope is the organization, one of its repositories,
    or a job of that. `branches` (globs) and `events`: only runs of these see it; empty: all. `key_id`: the key that it
    is sealed with. `created_by`: who gave it its present value, at `updated_at`."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    job_type: str = ""
    kind: SecretKind = SecretKind.SECRET
    name: str
    branches: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    key_id: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    created_by: str = ""


class JobResource(Record):
    """A shared resource: `quota` units of it may be held at a time. `name` tells those of one type apart. `configs` are
    its properties, which whoever holds it may have as variables; they are no secrets."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    resource_type: str
    name: str = ""
    platform: str = ""
    tags: tuple[str, ...] = ()
    quota: int = 1
    description: str = ""
    configs: Mapping[str, Value] = Field(default_factory=dict)
    disabled: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0


class Token(Record):
    """A bearer token; only its SHA-256 is kept. `repository_id` None = all of its organization."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    user_id: str = "admin"
    name: str
    digest: str
    role: Role = Role.VIEWER
    repository_id: int | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    used_at: float | None = None


class Audit(Record):
    """That somebody did something. `action` is what (`approve`, `secret.set`, …), `subject` to what, in words;
    `token_id`: the token that he called with; `detail`: the rest, never a secret."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    request_id: int | None = None
    at: float = 0.0
    user_id: str
    token_id: int | None = None
    action: str
    subject: str = ""
    detail: Mapping[str, Any] = Field(default_factory=dict)


class Artifact(Record):
    """What a task kept: a file, or a folder as a tar. `digest` names the bytes in the object store (sha256 hex)."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    request_id: int
    task_execution_id: str
    task_type: str
    name: str
    kind: str = "file"
    size: int = 0
    digest: str = ""
    created_at: float = 0.0
    expires_at: float | None = None


class OutboxEntry(Record):
    """An effect outside that is owed. The newest entry of a (kind, key) stands for the older ones. `due_at`: not before
    then; `created_at`: owed since; `dead`: given up until somebody resends it."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    kind: str
    key: str
    payload: Mapping[str, Any] = Field(default_factory=dict)
    attempts: int = 0
    created_at: float = 0.0
    due_at: float = 0.0
    error: str = ""
    dead: bool = False


class Page(Record, Generic[T]):
    """One page of a list; `page` counts from 0."""

    records: tuple[T, ...]
    total_records: int
    page: int
    page_size: int
