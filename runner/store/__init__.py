"""What the queen remembers: one `Store` protocol, one SQLite implementation.

One writer: a change is a function that gets a `Tx`; it runs on the writer's thread inside a savepoint, together with
whatever else has gathered, and is on disk when `write` returns (group commit). load → decide → save of an event happens
inside that function, so nobody decides on a stale state and memory is never ahead of disk. A change that raises is
rolled back alone and its error is raised from `write`. Reads run on connections of their own and see what is committed.

State and the effects that it owes (outbox) are one transaction. Every transaction carries the queen's epoch: a store
that a newer queen has opened refuses the older one's writes.

Call order: `open_store` → `write` / `read` in any order, from any task of the loop's thread → `close`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from formicary.runner.core.execution import Execution, Plan
from formicary.runner.core.records import (
    DEFAULT_ORGANIZATION,
    Artifact,
    Audit,
    Definition,
    Delivery,
    JobRequest,
    JobResource,
    Lease,
    NewRequest,
    OutboxEntry,
    Page,
    PullRequest,
    Repository,
    Secret,
    SeenRef,
    Token,
    Version,
)
from formicary.runner.core.states import State
from formicary.runner.store.facets import FacetsReader, FacetsTx

T = TypeVar("T")


class Expired(NamedTuple):
    """What retention has deleted: requests, the task executions whose logs may go, and how many deliveries."""

    requests: tuple[int, ...]
    task_executions: tuple[str, ...]
    deliveries: int = 0


class Outstanding(NamedTuple):
    """The outbox in figures: how many effects are still to be sent, how many are dead letters, and since when (s since
    the epoch) the oldest of the former is owed."""

    living: int
    dead: int
    since: float | None = None


class Reader(FacetsReader, Protocol):
    """What can be read, in a transaction or outside one. Every list has an index and a limit (D14)."""

    # Requests and their executions
    def request(self, request_id: int) -> JobRequest | None: ...
    def requests(
        self,
        *,
        organization_id: str | None = None,
        repository_id: int | None = None,
        job_type: str | None = None,
        states: Sequence[State] = (),
        ref: str | None = None,
        commit: str | None = None,
        q: str = "",
        order: str = "-id",
        page: int = 0,
        page_size: int = 200,
    ) -> Page[JobRequest]:
        """The requests that fit every filter. `q`: words, each the beginning of a word of the job's name, the ref, the
        commit, the description or the creator. `order`: id, -id, created_at, -created_at, else UserError. Totals of
        `q` stop at 1,000, those of `ref` and `commit` at 10,000. A common word takes some milliseconds: search in a
        thread of its own."""
        ...

    def request_before(self, request: JobRequest, states: tuple[State, State]) -> JobRequest | None:
        """The last one before it of the same job on the same ref that ended in one of these states (twice the same
        one, for a single state)."""
        ...

    def waits(self, request_id: int) -> bool:
        """Whether it is PENDING and has no execution."""
        ...

    def children(self, request_id: int, limit: int = 1000) -> list[JobRequest]:
        """The requests that this one has forked, in that order."""
        ...

    def waiting(self) -> list[JobRequest]:
        """Every PENDING request without an execution, oldest first."""
        ...

    def execution(self, execution_id: int) -> Execution | None: ...
    def plan(self, execution_id: int) -> Plan | None: ...
    def executions_of(self, request_id: int) -> list[Execution]: ...
    def live_executions(self) -> list[int]:
        """Ids of the executions that have not ended."""
        ...

    def secret_params(self, request_id: int) -> dict[str, str]:
        """Values of a live request's secret parameters; gone once it has ended."""
        ...

    def leases(self) -> list[Lease]: ...
    def counts(self) -> dict[State, int]:
        """How many requests are in each state."""
        ...

    # Repositories and definitions
    def repositories(self) -> list[Repository]: ...
    def repository(self, repository_id: int) -> Repository | None: ...
    def repository_named(self, name: str, organization_id: str = "default") -> Repository | None: ...
    def refs(self, repository_id: int) -> dict[str, SeenRef]: ...
    def definitions(
        self, *, repository_id: int | None = None, organization_id: str | None = None
    ) -> list[Definition]: ...
    def definition(self, definition_id: int) -> Definition | None: ...
    def definition_named(
        self, job_type: str, *, repository_id: int | None = None, organization_id: str = "default"
    ) -> Definition | None:
        """The repository's, else the organization's only one of that name (None if several repositories have one)."""
        ...

    def version(self, version_id: int) -> Version | None: ...
    def versions(
        self,
        job_type: str,
        *,
        repository_id: int | None = None,
        organization_id: str = "default",
        page: int = 0,
        page_size: int = 200,
    ) -> Page[Version]:
        """The versions of a repository's job, newest first."""
        ...

    def cron_last(self, definition_id: int) -> float | None: ...

    # The rest
    def artifacts(
        self,
        *,
        request_id: int | None = None,
        organization_id: str | None = None,
        repository_id: int | None = None,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[Artifact]: ...
    def artifact(self, artifact_id: int) -> Artifact | None: ...
    def usage_of(self, digest: str) -> int:
        """How many artifacts name these bytes; they may go when it is 0."""
        ...

    def loose_digests(self, limit: int = 500) -> list[str]:
        """Digests of deleted artifacts that no artifact names any more: delete their bytes, then `forget_digests`."""
        ...

    def deliveries(
        self,
        *,
        organization_id: str | None = None,
        repository_id: int | None = None,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[Delivery]:
        """Newest first, without their bodies."""
        ...

    def delivery_by_id(self, delivery_id: int) -> Delivery | None: ...
    def delivery(self, forge: str, delivery_key: str) -> Delivery | None: ...
    def delivery_of_body(self, repository_id: int, body_digest: str) -> Delivery | None:
        """The first delivery of a repository with this body (sha256 hex)."""
        ...

    def accepted_deliveries(self, repository_id: int) -> list[Delivery]:
        """Those that nobody has looked at yet, oldest first."""
        ...

    def pull_request(self, repository_id: int, number: int) -> PullRequest | None: ...
    def resources(self) -> list[JobResource]:
        """Of all organizations, oldest first."""
        ...

    def resource(self, resource_id: int) -> JobResource | None: ...
    def secrets(self, organization_id: str = DEFAULT_ORGANIZATION) -> list[Secret]:
        """Of its repositories and jobs too, of every kind, oldest first."""
        ...

    def secret(self, secret_id: int) -> Secret | None: ...
    def sealed_secret(self, secret_id: int) -> tuple[Secret, str] | None:
        """With its sealed value, both of one moment."""
        ...

    def secret_keys(self) -> dict[str, int]:
        """The ids of the keys that secrets are sealed with, and how many with each."""
        ...

    def tokens(self) -> list[Token]: ...
    def token_by_digest(self, digest: str) -> Token | None: ...
    def audits(self, wanted: Mapping[str, str | int | None], page: int = 0, page_size: int = 200) -> Page[Audit]:
        """Newest first; `wanted`: organization_id, user_id, action, request_id (None: any)."""
        ...

    def owed_before(self, organization_id: str, kind: str, first: str, key: str, limit: int = 100) -> list[OutboxEntry]:
        """The living entries of this kind from the key `first` to below `key`, in the order of their keys."""
        ...

    def outbox_since(self, after: int, limit: int = 1000) -> list[OutboxEntry]:
        """Living entries with a higher id, lowest first. What is owed anew has a higher id than all before it."""
        ...

    def outbox_entry(self, entry_id: int) -> OutboxEntry | None: ...
    def outbox_counts(self) -> Outstanding: ...
    def outbox(
        self,
        *,
        organization_id: str | None = None,
        kind: str | None = None,
        dead: bool | None = None,
        page: int = 0,
        page_size: int = 200,
    ) -> Page[OutboxEntry]:
        """Newest first. `dead`: dead letters only, or only what is still to be sent."""
        ...


class Tx(Reader, FacetsTx, Protocol):
    """What one change may do. `now` is the time of the transaction."""

    now: float

    def create_request(self, new: NewRequest) -> tuple[JobRequest, bool]:
        """Store a request; (the one there is already, False) where its cause_key or live user_key is known."""
        ...

    def create_execution(self, request_id: int, make: Callable[[int], Execution], plan: Plan) -> Execution:
        """Store `make(new id)` and its plan, and make it the request's newest execution; its state is the request's."""
        ...

    def save_execution(self, execution: Execution) -> None:
        """Store it; its request takes over state, times and error. A terminal one drops its leases and secrets."""
        ...

    def put_list(self, execution_id: int, plan: Plan, task_type: str) -> None:
        """The list of a task (`fan_out`) is made, or made anew: `plan` is the execution's with it."""
        ...

    def end_request(
        self, request_id: int, state: State, *, reason: str = "", error_code: str = "", error_message: str = ""
    ) -> None:
        """End a request that has no live execution (skipped, refused, cancelled while it waited)."""
        ...

    def reopen_request(self, request_id: int, *, keep: bool, by: str) -> JobRequest:
        """Make an ended request PENDING again for a new execution: end, error and times are cleared, execution_id is
        None, its reason says who asked; with `keep`, `resume_of` is its last execution. Raises Conflict where it has
        not ended, or another live request has its user_key."""
        ...

    def set_lease(self, lease: Lease) -> None:
        """Give or renew it. StaleFence where the attempt is leased with a newer fence."""
        ...

    def extend_leases(self, ant_id: str, fences: Mapping[str, int], deadline: float) -> set[str]:
        """Move the deadline of those leases whose fence is still right; returns the ids that were refused."""
        ...

    def drop_lease(self, task_execution_id: str) -> None: ...

    def put_repository(self, repository: Repository) -> Repository:
        """Insert (id 0) or update by id."""
        ...

    def delete_repository(self, repository_id: int) -> None:
        """With its refs, definitions and tokens; requests, versions and artifacts stay, with its number."""
        ...

    def put_refs(self, refs: Sequence[SeenRef]) -> None: ...
    def put_version(self, version: Version) -> Version:
        """The one with the same (organization, repository, job_type, digest) if there is one, else a new one whose
        `version` is the next number of that job."""
        ...

    def put_definition(self, definition: Definition) -> Definition:
        """Insert (id 0) or update by id."""
        ...

    def delete_definition(self, definition_id: int) -> None: ...
    def set_cron_last(self, definition_id: int, at: float) -> None: ...

    def add_artifact(self, artifact: Artifact) -> Artifact: ...
    def delete_artifacts(self, ids: Sequence[int]) -> None: ...
    def forget_digests(self, digests: Sequence[str]) -> None:
        """The bytes of these loose digests are deleted."""
        ...

    def add_delivery(self, delivery: Delivery) -> tuple[Delivery, bool]:
        """(the first one, False) where (forge, delivery_key) is known."""
        ...

    def save_delivery(self, delivery: Delivery) -> None: ...
    def settle_deliveries(
        self, repository_id: int, moved: Mapping[str, Collection[int]], upto: int, later: Collection[str] = ()
    ) -> None:
        """The repository's `accepted` deliveries, up to the one of this id, are judged by the refs that they name:
        those that `moved` (each with the requests that it made), or are read `later`. Not those of pull
        requests."""
        ...

    def put_pull_request(self, pull_request: PullRequest) -> None:
        """As its forge tells of it, in place of what was told before."""
        ...

    def put_secret(self, secret: Secret, sealed: str) -> tuple[Secret, bool]:
        """Add it, or put it in the place of the one with the same scope, kind and name (False), whose id it takes."""
        ...

    def delete_secret(self, secret_id: int) -> bool: ...
    def put_resource(self, resource: JobResource) -> JobResource:
        """Insert (id 0) or update by id. Raises Conflict where its organization has another one of this type and
        name."""
        ...

    def delete_resource(self, resource_id: int) -> bool: ...
    def add_token(self, token: Token) -> Token: ...
    def add_audit(self, audit: Audit) -> None: ...
    def delete_token(self, token_id: int) -> bool: ...
    def touch_token(self, token_id: int, at: float) -> None: ...
    def owe(
        self,
        kind: str,
        key: str,
        payload: Mapping[str, Any],
        *,
        due_at: float = 0.0,
        organization_id: str = DEFAULT_ORGANIZATION,
    ) -> None:
        """Add an effect to the outbox, in place of an older unsent one of the same (organization, kind, key); it has a
        new id, so that settling the older one, when its sending ends late, does not take the newer one away."""
        ...

    def next_seq(self, organization_id: str) -> int:
        """The number of the organization's next event: 1, 2, 3 and so on, without gaps."""
        ...

    def settle(self, entry_id: int) -> None: ...
    def defer(self, entry_id: int, *, due_at: float, error: str, dead: bool = False, tried: bool = True) -> None:
        """It did not arrive: later, or (`dead`) not until somebody resends it. `tried`: this counts as an attempt."""
        ...

    def resend(self, entry_id: int) -> OutboxEntry:
        """Owe it anew, dead or not; the entry with its new id. Raises NotFound."""
        ...

    def keep_until(self, request_id: int, until: float) -> None:
        """An ended request is kept until then, whatever `expire` is told; running it again takes that back."""
        ...

    def expire(self, *, ended_before: float, deliveries_before: float, limit: int = 500) -> Expired:
        """Retention: delete ended requests (with executions and artifact rows), deliveries that are older, at most
        `limit` of them, and dead letters that are older than deliveries may be."""
        ...


class Store(Protocol):
    epoch: int

    def when_owed(self, call: Callable[[], None]) -> None:
        """Call this, on the loop that wrote, after each commit that owes something to the outside."""
        ...

    async def write(self, change: Callable[[Tx], T]) -> T:
        """Run `change` and return its result once it is on disk."""
        ...

    def read(self) -> Reader:
        """A reader for the calling thread; each of its calls sees the newest committed state."""
        ...

    async def optimize(self) -> None:
        """Put the database in order; for quiet times, because writes wait meanwhile."""
        ...

    def close(self) -> None:
        """Carry out the writes that were handed over, then let go of the folder."""
        ...
