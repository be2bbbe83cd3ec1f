"""What the door needs of the rest of the house: protocols, and the one `Door` that every handler is given."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import anyio
from starlette.routing import BaseRoute

from formicary.runner.artifacts import ObjectStore
from formicary.runner.core.estimate import Estimate
from formicary.runner.core.records import Delivery, JobRequest, Repository
from formicary.runner.queen.arriving.called import Called
from formicary.runner.queen.arriving.registry import Registry
from formicary.runner.queen.ask import Ask
from formicary.runner.queen.changes import Changes
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.people.approvals import Ballot
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store import Store
from formicary.webhook.codes import LoginCodes
from formicary.webhook.datafolder import HookSecrets
from formicary.webhook.rates import Submits, TriggerRates
from formicary.webhook.rawlog import RawLogs


class AntStatus(Protocol):
    """An ant as the queen sees it now; `state` is JOINED or DRAINING, `running` task execution ids, `without` the
    methods that it cannot run now, and why."""

    @property
    def ant_id(self) -> str: ...
    @property
    def tags(self) -> Collection[str]: ...
    @property
    def methods(self) -> Collection[str]: ...
    @property
    def without(self) -> Mapping[str, str]: ...
    @property
    def platform(self) -> str: ...
    @property
    def hands(self) -> int: ...
    @property
    def free(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def running(self) -> tuple[str, ...]: ...


class Queen(Protocol):
    """What may be asked of the queen; her verbs raise UserErrors, and write `also` in the same change. `submit`'s bool
    is whether the request is new. `health` names each part: empty if it is well, else the reason; `registry` is where
    resources and switches are."""

    @property
    def changes(self) -> Changes: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def triggered(self) -> Triggered: ...
    async def submit(self, ask: Ask) -> tuple[JobRequest, bool]: ...
    async def cancel(self, request_id: int, *, by: str, reason: str = "", also: Also = nothing_else) -> JobRequest: ...
    async def pause(self, request_id: int, *, by: str, reason: str = "", also: Also = nothing_else) -> JobRequest: ...
    async def resume(self, request_id: int, *, by: str, also: Also = nothing_else) -> JobRequest: ...
    async def vote(self, request_id: int, ballot: Ballot) -> JobRequest: ...
    async def restart(
        self, request_id: int, *, by: str, hard: bool = False, failed: bool = False, also: Also = nothing_else
    ) -> JobRequest: ...
    def why(self, request_id: int) -> str: ...
    async def wait_time(self, request_id: int) -> Estimate: ...
    def ants(self) -> Sequence[AntStatus]: ...
    def health(self) -> dict[str, str]: ...


class Weighed(Protocol):
    """`unwanted`: why nothing comes of a call; empty if something does."""

    @property
    def unwanted(self) -> str: ...


class Triggered(Protocol):
    """`called`: the webhook triggers of this name of jobs of this name, of one repository (its name or number) or of
    all; a job that is disabled has them too. `heard`: what a call comes to, RequestRefused where it does not fit; it
    blocks for what its templates cost."""

    def called(self, job_type: str, name: str, repository: str = "") -> Sequence[Called]: ...
    def heard(self, called: Called, delivery: Delivery) -> Weighed: ...


class Explained(Protocol):
    """What one definition would do: `answer` is runs, skipped, nothing or invalid."""

    @property
    def job_type(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def answer(self) -> Literal["runs", "skipped", "nothing", "invalid"]: ...
    @property
    def reason(self) -> str: ...


class Reconciler(Protocol):
    """`add` watches a repository (id 0) or takes over its new settings, SetupError where there is none; `wake` asks for
    a look soon and returns at once; `sync` looks now and returns the repository after it; `remove` watches it no
    longer. `looked_at`: when (s since the epoch) the last look at it ended, however; None since the start."""

    async def add(self, repository: Repository, also: Also = nothing_else) -> Repository: ...
    def wake(self, repository_id: int) -> None: ...
    async def sync(self, repository_id: int) -> Repository: ...
    async def remove(self, repository_id: int, also: Also = nothing_else) -> None: ...
    async def explain(
        self, repository: Repository, ref: str, commit: str, before: str | None
    ) -> Sequence[Explained]: ...
    def looked_at(self, repository_id: int) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the door listens (`scheme`, `host`, `port`) and what people call it (`url`); all say which Host and Origin
    are ours. `allowed_hosts` are further names, of a proxy for example. `download_links`: how long (s) the object
    store's own link to an artifact is good, to which a download is sent; 0: the door reads it and passes it on."""

    url: str
    host: str = "127.0.0.1"
    port: int = 7777
    scheme: str = "http"
    allowed_hosts: tuple[str, ...] = ()
    download_links: float = 0.0


def _as_it_is(text: str) -> str:
    return text


def _no_secret(_repository: Repository) -> bytes | None:
    return None


@dataclass(kw_only=True)
class Door:
    """Everything that a handler may use. `mask` takes secrets out of texts that leave (T8). `forge_secret` is what
    signs a repository's own hooks at its forge; `default_secrets` (forge → secret) stand in where there is none."""

    store: Store
    queen: Queen
    reconciler: Reconciler
    objects: ObjectStore
    secrets: Secrets
    data: Path
    settings: Settings
    pages: Sequence[BaseRoute] = ()
    mask: Callable[[str], str] = _as_it_is
    forge_secret: Callable[[Repository], bytes | None] = _no_secret
    default_secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    clock: Callable[[], float] = time.time
    closing: anyio.Event = field(default_factory=anyio.Event)
    submits: Submits = field(default_factory=Submits)
    rates: TriggerRates = field(default_factory=TriggerRates)
    codes: LoginCodes = field(default_factory=LoginCodes)
    raw_logs: RawLogs = field(init=False)
    hook_secrets: HookSecrets = field(init=False)
    #: how many deliveries ended with each verdict since the start
    verdicts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.raw_logs = RawLogs(self.queen.logs)
        self.hook_secrets = HookSecrets(self.data)

    def login_link(self) -> str:
        """A link that logs its first user in as admin; it works once, for ten minutes."""
        return f"{self.settings.url.rstrip('/')}/login?code={self.codes.new()}"

    def close(self) -> None:
        """End the streams that are open; call it before the server is told to stop, or it waits for them."""
        self.closing.set()
