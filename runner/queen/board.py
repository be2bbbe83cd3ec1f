"""What the queen keeps in mind: what waits, what runs, what is offered, who has free hands. Never ahead of the disk:
it is made from the store at the start and changed after a commit only. No I/O here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import anyio

from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.execution import CancelAsked, Event, Execution, Held, Plan
from formicary.runner.core.forked import FORKS
from formicary.runner.core.messages import Ant, TaskOrder
from formicary.runner.core.records import JobRequest, Version
from formicary.runner.core.schedule import AntView, Group, OfferView, Running, Waiting
from formicary.runner.core.secrets.masking import Masker
from formicary.runner.core.semaphores import Need
from formicary.runner.core.states import LEASED
from formicary.runner.queen.places import JobKey, Place, Places

Line = tuple[JobKey, int, Group | None, Need | None]
"""Who waits in one line wants the same, so that the first of them tells whether any can start."""

MOST_ASKED: Final = 256
MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def platform_tags(platform: str) -> frozenset[str]:
    """What a job's `platform` may say to reach an ant of this one: `linux`, `linux/x86_64`, `linux/amd64`."""
    system, _, machine = platform.partition("/")
    names = {platform, system, f"{system}/{MACHINES.get(machine, machine)}"}
    return frozenset(f"platform {name}" for name in names if name.strip("/"))


def needed_tags(job: JobDefinition, task: TaskDefinition) -> frozenset[str]:
    """The tags of the task, and the platform of its job as one more."""
    own = frozenset(filter(None, task.tags))
    return own | {f"platform {job.platform}"} if job.platform else own


def job_key(request: JobRequest) -> JobKey:
    """What max_concurrency counts by."""
    return (request.organization_id, request.repository_id, request.job_type)


def group_of(request: JobRequest, job: JobDefinition | None) -> Group | None:
    """Its concurrency group: a name means the same within one repository; and what is not trusted has groups of its
    own, or it could end what is (T3)."""
    if job is None or job.concurrency is None:
        return None
    return (request.organization_id, request.repository_id, job.concurrency.group, request.trusted)


def _line(waiting: Waiting) -> Line:
    organization, repository, job_type = waiting.job_key
    return (organization, repository, job_type), waiting.priority, waiting.group, waiting.need


@dataclass(slots=True)
class Live:
    """An execution that has not ended, and what its tasks are rendered from."""

    execution_id: int
    request: JobRequest
    version: Version
    plan: Plan
    secrets: dict[str, str]
    masker: Masker | None = None
    """Masks the values of its secret parameters; made when it is wanted."""
    held: list[Event] = field(default_factory=list)
    """Events that may wait for the next one (the script runs): one commit less on the way of a short task."""
    resting: bool = False
    """Between two attempts of the whole job: it takes nobody's place, and is admitted anew when it goes on."""
    waking: list[Event] = field(default_factory=list)
    """What lets it go on, once it is admitted."""
    forks: bool = field(init=False)
    """Whether any of its tasks may wait for forked jobs."""
    holds: Held | None = None
    """What the whole job holds of a shared resource; a job at rest holds nothing."""
    tasks_hold: dict[str, Held] = field(default_factory=dict)
    """What its running tasks hold, by task execution id."""

    def __post_init__(self) -> None:
        self.forks = any(task.method in FORKS for task in self.plan.definition.tasks)

    @property
    def job_key(self) -> JobKey:
        return job_key(self.request)

    @property
    def place(self) -> Place:
        return Place(self.request.id, self.job_key, group_of(self.request, self.plan.definition), self.holds)

    @property
    def seed(self) -> int:
        return self.execution_id

    def mask(self, text: str) -> str:
        """The text without the values of its secret parameters."""
        if not self.secrets:
            return text
        self.masker = self.masker or Masker(self.secrets.values())
        return self.masker.text(text)


@dataclass(slots=True, eq=False)
class Claim:
    """A free hand that waits for an order."""

    ready: anyio.Event = field(default_factory=anyio.Event)
    order: TaskOrder | None = None
    gone: bool = False


@dataclass(slots=True)
class Offered:
    live: Live
    task: str
    task_execution_id: str
    fence: int
    view: OfferView
    faults: int = 0


@dataclass(slots=True)
class Worker:
    """An ant that is present: its waiting claims and what it runs."""

    ant: Ant
    claims: deque[Claim] = field(default_factory=deque)
    running: dict[str, int] = field(default_factory=dict)
    """task execution id → execution id"""
    draining: bool = False
    tags: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.tags = self.ant.tags | platform_tags(self.ant.platform)

    def view(self) -> AntView:
        ant = self.ant
        return AntView(
            ant.ant_id, self.tags, ant.methods, ant.platform, len(self.claims), ant.hands, without=ant.without
        )

    def take_claim(self) -> Claim | None:
        while self.claims:
            claim = self.claims.popleft()
            if not claim.gone:
                return claim
        return None


@dataclass(frozen=True, slots=True)
class AntStatus:
    """An ant as pages and the API show it. `state`: JOINED or DRAINING; `running`: task execution ids; `without`:
    methods that it cannot run now, and why."""

    ant_id: str
    tags: tuple[str, ...]
    methods: tuple[str, ...]
    platform: str
    hands: int
    free: int
    state: str
    running: tuple[str, ...]
    without: Mapping[str, str] = field(default_factory=dict)


class Board:
    """`waiting` is everything that waits, by request id; change it by `queue` and `unqueue` alone."""

    def __init__(self) -> None:
        self.waiting: dict[int, Waiting] = {}
        self.asked: dict[int, JobRequest] = {}
        """The rows of a few of those that wait, so that they need not be read again. Anything but their state is so."""
        self._lines: dict[Line, dict[int, Waiting]] = {}
        self.needy = 0
        """How many of those that wait need units of a shared resource."""
        self.antless: set[int] = set()
        """Those that wait and begin without an ant."""
        self.superseded: dict[int, CancelAsked] = {}
        """Requests on their way to become executions, which a newer one of their group has cancelled meanwhile."""
        self.live: dict[int, Live] = {}
        self.by_request: dict[int, int] = {}
        self.offers: dict[str, Offered] = {}
        self.workers: dict[str, Worker] = {}
        self.places = Places()

    def queue(self, waiting: Waiting, request: JobRequest | None = None) -> None:
        if request is not None and len(self.asked) < MOST_ASKED:
            self.asked[waiting.request_id] = request
        self.needy += (waiting.need is not None) - self._needs(waiting.request_id)
        self.waiting[waiting.request_id] = waiting
        if not waiting.needs_ant:
            self.antless.add(waiting.request_id)
        self._lines.setdefault(_line(waiting), {})[waiting.request_id] = waiting

    def _needs(self, request_id: int) -> bool:
        known = self.waiting.get(request_id)
        return known is not None and known.need is not None

    def unqueue(self, request_id: int) -> Waiting | None:
        self.needy -= self._needs(request_id)
        self.antless.discard(request_id)
        waiting = self.waiting.pop(request_id, None)
        if waiting is not None:
            line = self._lines[_line(waiting)]
            del line[request_id]
            if not line:
                del self._lines[_line(waiting)]
        return waiting

    def heads(self, count: int) -> tuple[list[Waiting], bool]:
        """The first `count` of every line (one job, one priority, one group, one need), and whether behind them
        somebody waits who may still run: looking at all that wait, each time a hand is free, would cost more the more
        there are."""
        found: list[Waiting] = []
        more = False
        for (key, _, group, need), line in self._lines.items():
            found.extend(islice(line.values(), count))
            if more or len(line) <= count:
                continue
            full = self.places.job_is_full(key, next(iter(line.values())).max_concurrency, count)
            more = not full and self.places.may_start(group, need, key[0])
        return found, more

    def in_group(self, group: Group) -> list[int]:
        """The requests that wait for their turn in a concurrency group."""
        return [request_id for line, requests in self._lines.items() if line[2] == group for request_id in requests]

    def begin(self, live: Live) -> None:
        self.places.take(live.place)
        self.place(live)

    def rest(self, live: Live, resting: bool) -> None:
        """It gives its place free, with what it holds; or has one again."""
        if live.resting is resting:
            return
        live.resting = resting
        if resting:
            self.places.give(live.place)
            live.holds = None
        else:
            self.places.take(live.place)

    def hold(self, live: Live, task_execution_id: str, held: Held) -> None:
        """A task gets units of a shared resource."""
        live.tasks_hold[task_execution_id] = held
        self.places.hold(held)

    def let_go(self, live: Live, task_execution_id: str) -> None:
        self.places.release(live.tasks_hold.pop(task_execution_id, None))

    def let_go_ended(self, live: Live, execution: Execution) -> None:
        """What its tasks hold that do not run any more is free again."""
        for task_execution_id in list(live.tasks_hold):
            found = execution.attempt(task_execution_id)
            if found is None or found[1].state not in LEASED:
                self.let_go(live, task_execution_id)

    def place(self, live: Live) -> None:
        """Put a live execution whose running is counted already."""
        self.live[live.execution_id] = live
        self.by_request[live.request.id] = live.execution_id

    def end(self, execution_id: int) -> Live | None:
        live = self.live.pop(execution_id, None)
        if live:
            self.by_request.pop(live.request.id, None)
            self.unqueue(live.request.id)
            if not live.resting:
                self.places.give(live.place)
            for task_execution_id in list(live.tasks_hold):
                self.let_go(live, task_execution_id)
            for offer in [one for one in self.offers.values() if one.live is live]:
                del self.offers[offer.task_execution_id]
        return live

    def relimit(self, key: JobKey, max_concurrency: int) -> None:
        """What waits of this job goes by the newest definition's limit."""
        for waiting in list(self.waiting.values()):
            if waiting.job_key == key and waiting.max_concurrency != max_concurrency:
                self.queue(replace(waiting, max_concurrency=max_concurrency))

    def running(self) -> Running:
        return self.places.running()

    def ants(self) -> list[AntView]:
        return [worker.view() for worker in self.workers.values() if not worker.draining]

    def holder(self, task_execution_id: str) -> Worker | None:
        """The present ant that runs this attempt."""
        return next((one for one in self.workers.values() if task_execution_id in one.running), None)

    def statuses(self) -> Iterator[AntStatus]:
        for worker in self.workers.values():
            ant = worker.ant
            yield AntStatus(
                ant_id=ant.ant_id,
                tags=tuple(sorted(ant.tags)),
                methods=tuple(sorted(ant.methods)),
                platform=ant.platform,
                hands=ant.hands,
                free=max(ant.hands - len(worker.running), 0),
                state="DRAINING" if worker.draining else "JOINED",
                running=tuple(worker.running),
                without=ant.without,
            )
