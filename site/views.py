"""What each page shows, as plain data. No reader, no clock, no HTML: `build` and `run` make these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from formicary.runner.core.definition import Param
from formicary.site.asked import AskedRow
from formicary.site.graph import Trail
from formicary.site.links import slug
from formicary.site.logview import LogPart, Shown
from formicary.site.status import Status
from formicary.site.tested import TestsView


@dataclass(frozen=True, slots=True)
class Cell:
    """One past run in a strip. `height` is its duration against the others' (of BAR_HEIGHT)."""

    request_id: int
    status: Status
    title: str
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestRow:
    id: int
    repository: str
    job_type: str
    status: Status
    title: str
    event: str
    ref: str
    commit: str
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    why: str = ""

    @property
    def seconds(self) -> float | None:
        """How long it ran, once it has ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(self.ended_at - self.started_at, 0.0)


@dataclass(frozen=True, slots=True)
class RepositoryCard:
    """`health` is the worst of its jobs' latest results on the tracked branch; None before the first."""

    name: str
    state: str
    error: str
    visibility: str
    health: Status | None
    summary: str
    last_at: float | None
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Overview:
    repositories: tuple[RepositoryCard, ...]
    running: tuple[RequestRow, ...]
    waiting: tuple[RequestRow, ...]
    recent: tuple[RequestRow, ...]

    @property
    def title(self) -> str:
        return "Overview"


@dataclass(frozen=True, slots=True)
class DefinitionRow:
    job_type: str
    path: str
    sync: Status
    problems: tuple[str, ...]
    version: int
    commit: str
    disabled: bool
    latest: RequestRow | None
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Branch:
    """The latest result of each job on one ref, newest first."""

    ref: str
    tracked: bool
    results: tuple[RequestRow, ...]


@dataclass(frozen=True, slots=True)
class RepositoryView:
    id: int
    card: RepositoryCard
    url: str
    tracked_branch: str
    synced_commit: str
    synced_at: float | None
    definitions: tuple[DefinitionRow, ...]
    branches: tuple[Branch, ...]

    @property
    def title(self) -> str:
        return self.card.name


@dataclass(frozen=True, slots=True)
class JobView:
    repository_id: int | None
    repository: str
    job_type: str
    description: str
    url: str
    definition: DefinitionRow | None
    latest: RequestRow | None
    cells: tuple[Cell, ...]
    runs: int
    success: float | None
    p50: float | None
    p95: float | None
    last_good: RequestRow | None
    last_bad: RequestRow | None
    recent: tuple[RequestRow, ...]
    params: Mapping[str, Param] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    badge: bool = False

    @property
    def title(self) -> str:
        return self.job_type


@dataclass(frozen=True, slots=True)
class ParamRow:
    name: str
    value: str
    secret: bool = False

    @property
    def git(self) -> bool:
        """Formicary's own, that every request of a repository has."""
        return self.name.startswith("Git")


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    id: int
    task: str
    name: str
    kind: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """`log` is whether there is one to show."""

    id: str
    number: int
    status: Status
    ant_id: str
    started_at: float | None
    seconds: float | None
    exit_code: int | None
    error_code: str
    error_message: str
    warnings: tuple[str, ...]
    log: bool
    votes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """Part of a timeline, in percent of its width: waiting for an ant, then the run."""

    status: Status
    wait_x: float
    run_x: float
    end_x: float
    title: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    name: str
    description: str
    method: str
    status: Status
    reason: str
    seconds: float | None
    retry_at: float | None
    allow_failure: bool
    always_run: bool
    attempts: tuple[AttemptRow, ...]
    bars: tuple[Bar, ...]
    outputs: tuple[ParamRow, ...]
    matrix_of: str = ""
    """The task of whose matrix it is a combination; those that are shown follow their task."""
    count: str = ""
    """Of a matrix task: how many of its combinations are where."""

    @property
    def label(self) -> str:
        """The combination alone, as it stands below its task."""
        return self.name[len(self.matrix_of) + 2 : -1] if self.matrix_of else self.name

    @property
    def anchor(self) -> str:
        """Its place on the page; the same whatever other tasks do."""
        return f"task-{slug(self.name)}"

    @property
    def log_id(self) -> str:
        """The newest attempt with a log."""
        return next((attempt.id for attempt in reversed(self.attempts) if attempt.log), "")


@dataclass(frozen=True, slots=True)
class Box:
    """A task in the graph."""

    name: str
    label: str
    note: str
    status: Status
    x: float
    y: float
    log_id: str


@dataclass(frozen=True, slots=True)
class Walk:
    """A trail of the graph, and whether the run has gone along it."""

    trail: Trail
    walked: bool


@dataclass(frozen=True, slots=True)
class GraphView:
    width: int = 0
    height: int = 0
    boxes: tuple[Box, ...] = ()
    walks: tuple[Walk, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Where to look first: the task that failed and the lines of its log that say so."""

    task: str
    log_id: str
    message: str
    lines: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class EarlierRun:
    status: Status
    started_at: float | None
    seconds: float | None
    attempts: tuple[tuple[str, AttemptRow], ...]


@dataclass(frozen=True, slots=True)
class RequestView:
    row: RequestRow
    why: str
    error_code: str
    message: str
    author: str
    created_by: str
    trusted: bool
    waited: float | None
    job_retry: int
    scheduled_at: float | None
    tasks: tuple[TaskRow, ...]
    ticks: tuple[tuple[float, str], ...]
    graph: GraphView
    params: tuple[ParamRow, ...]
    artifacts: tuple[ArtifactRow, ...]
    failure: Failure | None
    earlier: tuple[EarlierRun, ...]
    alive: bool
    restartable: bool
    asked: tuple[AskedRow, ...] = ()
    commit: str = ""
    """In full."""
    digest: str = ""
    """Of the definition that it follows, as far as anybody is asked about it."""
    parent: RequestRow | None = None
    children: tuple[RequestRow, ...] = ()
    """The forked jobs, as far as the reader may see them."""
    tests: TestsView | None = None

    @property
    def title(self) -> str:
        return f"{self.row.job_type} #{self.row.id}"


@dataclass(frozen=True, slots=True)
class LogView:
    row: RequestRow
    task: str
    attempt: AttemptRow
    siblings: tuple[AttemptRow, ...]
    part: LogPart
    ended: bool

    @property
    def title(self) -> str:
        return f"{self.task} · log of {self.row.job_type} #{self.row.id}"


@dataclass(frozen=True, slots=True)
class LoginView:
    """The login page; `target` is where it leads."""

    message: str = ""
    target: str = ""
    title: str = "Log in"


@dataclass(frozen=True, slots=True)
class MessageView:
    """A page that only says something: not found, refused."""

    title: str
    message: str


View = Overview | RepositoryView | JobView | RequestView | LogView | LoginView | MessageView
