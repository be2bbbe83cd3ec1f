"""The queen: her parts wired together, and the verbs that people, the API and the reconciler use."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from formicary.runner.bus import Bus
from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import ERR_CANCELLED, Conflict, NotFound, WorldError
from formicary.runner.core.estimate import Estimate
from formicary.runner.core.execution import AntLost, CancelAsked, PauseAsked, Plan, ResumeAsked, RetryDue
from formicary.runner.core.load import load
from formicary.runner.core.plan import outstanding
from formicary.runner.core.records import Definition, JobRequest, Lease, Version
from formicary.runner.core.schedule import Limits
from formicary.runner.core.states import LEASED, TERMINAL, State
from formicary.runner.queen.arriving.arrivals import Arrivals
from formicary.runner.queen.arriving.clockwork import Clockwork
from formicary.runner.queen.arriving.definitions import job_finder
from formicary.runner.queen.arriving.followers import Followers
from formicary.runner.queen.arriving.registry import Registry
from formicary.runner.queen.arriving.requests import Requests
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.arriving.triggered import Triggered
from formicary.runner.queen.ask import Ask
from formicary.runner.queen.board import AntStatus, Board, Live
from formicary.runner.queen.changes import Change, Changes
from formicary.runner.queen.children.forking import Forking
from formicary.runner.queen.children.forks import Forks
from formicary.runner.queen.desk import QueensDesk
from formicary.runner.queen.dispatch import Dispatcher
from formicary.runner.queen.engine import Engine, Step
from formicary.runner.queen.keeping.expiring import Expiring
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.people.approvals import Ballot
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.queen.people.voting import vote
from formicary.runner.queen.secrets import Secrets
from formicary.runner.queen.timers import Timers
from formicary.runner.queen.told import Told
from formicary.runner.queen.waittime import snapshot
from formicary.runner.queen.why import why
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.queen")

REMEMBERED_VERSIONS: Final = 512
AGAIN: Final = 1.0
EMBEDDED: Final = "embedded"


@dataclass(frozen=True, slots=True)
class QueenSettings:
    """`lease_seconds`: how long an ant may be silent. `told`: what is owed to the outside when a request has changed.
    `reshape`: what a local run leaves out of a plan. `secrets`: without them no value opens."""

    url: str = ""
    lease_seconds: float = 30.0
    limits: Limits = field(default_factory=Limits)
    reshape: Callable[[Plan], Plan] = lambda plan: plan
    told: Told = field(default_factory=Told)
    secrets: Secrets | None = None


class Queen:
    def __init__(
        self,
        store: Store,
        bus: Bus,
        logs: Logs,
        sources: Sources,
        settings: QueenSettings | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = settings or QueenSettings()
        self.store = store
        self.logs = logs
        self.changes = Changes()
        self.secrets = settings.secrets or Secrets(store)
        self._bus = bus
        self._clock = clock
        self._timers = Timers(clock, steady)
        self._board = Board()
        self._versions: OrderedDict[int, tuple[Version, JobDefinition | None]] = OrderedDict()
        self._engine = Engine(
            store, bus, self._board, self.changes, logs, self._timers, clock, self.secrets, settings.told, settings.url
        )
        self._desk = QueensDesk(self._engine, settings.lease_seconds)
        self._dispatcher = Dispatcher(
            self._engine,
            self.version,
            self._job,
            settings.lease_seconds,
            settings.url,
            settings.limits,
            watch_lease=self._desk.watch,
            reshape=settings.reshape,
        )
        self.told = settings.told
        self._arrivals = Arrivals(self._engine, self._version, settings.reshape)
        self._engine.queue = self._arrivals.again
        forking = Forking(store, sources, self.secrets, self._job, clock, settings.url)
        self._forks = Forks(self._engine, forking, self.created, self.cancel)
        self._engine.carry, self._engine.ended = self._forks.carry, self._forks.ended
        self._engine.expire = Expiring(self._engine).offer
        self.registry = Registry(store, self._board, self.registered, self._engine.ring)
        self._requests = Requests(store, sources, self._job, settings.told)
        self.job_of = job_finder(store, self.secrets, self._job, settings.url, clock)
        self._running = False
        self.clockwork = Clockwork(store, sources, self._timers, clock, self.created, settings.told)
        self.followers = Followers(store, sources, self._job, self.created, settings.told)
        self.triggered = Triggered(
            store, sources, self.secrets, self._version, self.created, settings.told, self.changes
        )
        settings.told.effects = [*settings.told.effects, self.followers.effect]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Take up what was going on, then go on until the scope is left."""
        async with self._bus.serve(self._desk), anyio.create_task_group() as group:
            await self._recover()
            self.clockwork.look()
            self.followers.look()
            self.triggered.look()
            group.start_soon(self._dispatcher.run, name="dispatcher")
            group.start_soon(self._timers.run, name="timers")
            self._running = True
            task_status.started()
            try:
                await anyio.sleep_forever()
            finally:
                self._running = False

    # What may be asked of her

    async def submit(self, ask: Ask) -> tuple[JobRequest, bool]:
        """Ask for a job. (request, False) where its user_key is alive already. Raises UserError, WorldError."""
        request, new = await self._requests.submit(ask)
        if new:
            await self.created([request])
        return request, new

    async def created(self, requests: Iterable[JobRequest]) -> None:
        """These requests are on disk; those that are PENDING wait from now on."""
        for request in requests:
            if request.state is State.PENDING:
                try:
                    await self._arrivals.wait(request)
                except Exception:  # it is on disk: it is taken up again until that works, and the others now
                    log.exception("request %d cannot be looked at now", request.id)
                    self._timers.at(self._clock() + AGAIN, partial(self._arrivals.wait, request))
            self._changed(request, request.state)

    def registered(self, definitions: Iterable[Definition]) -> None:
        """These definitions have changed: their timers, and the limits of what waits, follow."""
        definitions = list(definitions)
        self.clockwork.look(definitions)
        self.followers.look(definitions)
        self.triggered.look(definitions)
        for definition in definitions:
            self._board.places.switch(definition)
            found = self._version(definition.version_id) if definition.version_id else None
            if found and found[1]:
                key = (definition.organization_id, definition.repository_id, definition.job_type)
                self._board.relimit(key, self._board.places.limit(key, found[1].max_concurrency))
            self.changes.publish(Change("definition", definition.organization_id, definition.repository_id))
        self._engine.ring()

    def mask(self, text: str) -> str:
        """The text without any secret, for whatever leaves by another way than a task's log (T8)."""
        for live in list(self._board.live.values()):  # pages ask on threads of their own
            text = live.mask(text)
        return self.secrets.mask(text)

    async def cancel(self, request_id: int, *, by: str, reason: str = "", also: Also = nothing_else) -> JobRequest:
        """End it: running tasks are stopped, always_run tasks still run; a second cancel ends those too. `also` is
        written with it.

        Raises NotFound, Conflict where it has ended.
        """
        request = self._must_have(request_id)
        if request.state in TERMINAL:
            raise Conflict(f"request {request_id} has ended already: {request.state}")
        execution_id = self._board.by_request.get(request_id)
        if execution_id is None:
            message = f"cancelled by {by}" + (f": {reason}" if reason else "")
            await self._dispatcher.end_waiting(request, State.CANCELLED, ERR_CANCELLED, message, also=also)
            execution_id = self._board.by_request.get(request_id)  # it may have begun just before
        if execution_id is not None:
            await self._engine.feed(execution_id, CancelAsked(by, reason), also=also)
        return self._must_have(request_id)

    async def pause(self, request_id: int, *, by: str, reason: str = "", also: Also = nothing_else) -> JobRequest:
        """Nothing new starts; when what runs has ended it rests until `resume`. Raises NotFound, Conflict where it has
        ended or not begun."""
        await self._engine.feed(self._begun(request_id), PauseAsked(by, reason), also=also)
        return self._must_have(request_id)

    async def resume(self, request_id: int, *, by: str, also: Also = nothing_else) -> JobRequest:
        """Let a job that rests, or is about to, go on now. Raises NotFound, Conflict where it does neither."""
        execution_id = self._begun(request_id)
        execution = self.store.read().execution(execution_id)
        if execution is None or not (execution.resting_since is not None or execution.rest):
            raise Conflict(f"request {request_id} is not paused: it is {self._must_have(request_id).state}")
        if execution.state is State.MANUAL_APPROVAL_REQUIRED:
            raise Conflict(f"request {request_id} is not paused: {why(execution, self._units)}")
        await self._engine.feed(execution_id, ResumeAsked(by), also=also)
        await self._engine.wake_up(execution_id, RetryDue())  # in the queue when this returns
        return self._must_have(request_id)

    def _begun(self, request_id: int) -> int:
        """The execution of a request that has begun and not ended."""
        request = self._must_have(request_id)
        if request.state in TERMINAL:
            raise Conflict(f"request {request_id} has ended already: {request.state}")
        execution_id = self._board.by_request.get(request_id)
        if execution_id is None:
            raise Conflict(f"request {request_id} has not begun; cancel it instead")
        return execution_id

    async def vote(self, request_id: int, ballot: Ballot) -> JobRequest:
        """Approve or reject what waits for that. Raises NotFound, NotAllowed, Conflict."""
        return await vote(self._engine, request_id, ballot)

    async def restart(
        self, request_id: int, *, by: str, hard: bool = False, failed: bool = False, also: Also = nothing_else
    ) -> JobRequest:
        """Run an ended request again, as a new execution of the same text and parameters. Raises NotFound, Conflict.

        `failed` keeps the completed tasks of the last execution; `hard` says that nothing is kept (the default).
        """
        request = self._must_have(request_id)
        if request.state not in TERMINAL:
            raise Conflict(f"request {request_id} is still {request.state}; cancel it first")
        if request.has_secrets:
            raise Conflict(
                f"request {request_id} had secret parameters, which are forgotten at its end; submit it anew"
            )
        keep = failed and not hard

        def change(tx: Tx) -> JobRequest:
            also(tx)
            return self._reopen(tx, request_id, keep=keep, by=by)

        reopened = await self.store.write(change)
        await self.created([reopened])
        return reopened

    def why(self, request_id: int) -> str:
        """Why it is in the state it is in, in one sentence. Raises NotFound."""
        request = self._must_have(request_id)
        if request_id in self._board.waiting:
            reason = self._dispatcher.reason(request_id)
            if reason is not None:
                return reason
        if self._forks.held_back(request):
            return "it waits until some of its siblings have ended (max_parallel of the task that forked it)"
        if request.state in TERMINAL:
            return request.error_message or request.reason or f"it has ended: {request.state}"
        execution = self.store.read().execution(request.execution_id) if request.execution_id else None
        if execution is None:
            return "it is about to start"
        return why(execution, self._units)

    async def wait_time(self, request_id: int) -> Estimate:
        """How long it will wait until it begins; 0 where it has. Raises NotFound."""
        self._must_have(request_id)
        if request_id not in self._board.waiting:
            return Estimate(0.0)
        make, now = snapshot(self._board, self._dispatcher.limits), self._clock()
        return await anyio.to_thread.run_sync(lambda: make(request_id, self.store.read(), now))

    def _units(self, task_execution_id: str) -> str:
        offered = self._board.offers.get(task_execution_id)
        return self._dispatcher.task_reason(offered) if offered else ""

    def ants(self) -> list[AntStatus]:
        return list(self._board.statuses())

    def health(self) -> dict[str, str]:
        """Part → "" if it is well, else what is wrong with it."""
        return {
            "queen": "" if self._running else "she is not there",
            "ants": "" if self._board.workers else "no ant is there",
            "secrets": self.secrets.complaint() if self._running else "",
        }

    def busy(self) -> int:
        """How many executions have not ended."""
        return len(self._board.live)

    # Within

    def version(self, version_id: int) -> Version | None:
        found = self._version(version_id)
        return found[0] if found else None

    def _version(self, version_id: int) -> tuple[Version, JobDefinition | None] | None:
        known = self._versions.get(version_id)
        if known is None:
            version = self.store.read().version(version_id)
            if version is None:
                return None
            known = self._versions[version_id] = (version, _definition(version))
            while len(self._versions) > REMEMBERED_VERSIONS:
                self._versions.popitem(last=False)
        return known

    def _job(self, version_id: int) -> JobDefinition | None:
        found = self._version(version_id)
        return found[1] if found else None

    def _reopen(self, tx: Tx, request_id: int, *, keep: bool, by: str) -> JobRequest:
        request = tx.reopen_request(request_id, keep=keep, by=by)
        self.told.created(tx, request, self._job(request.version_id))
        return request

    def _must_have(self, request_id: int) -> JobRequest:
        request = self.store.read().request(request_id)
        if request is None:
            raise NotFound(f"there is no request {request_id}")
        return request

    def _changed(self, request: JobRequest, state: State) -> None:
        self.changes.publish(Change("request", request.organization_id, request.repository_id, request.id, state=state))

    async def _recover(self) -> None:
        """Make the board from the store; what an embedded ant ran when the process ended is lost (D12)."""
        reader = self.store.read()
        self.registry.recover()
        leases = {lease.task_execution_id: lease for lease in reader.leases()}
        for execution_id in reader.live_executions():
            with _apart(f"execution {execution_id}"):
                await self._recover_one(execution_id)
        for live in list(self._board.live.values()):
            with _apart(f"execution {live.execution_id}"):
                await self._recover_leased(live, leases)
        for request in reader.waiting():
            with _apart(f"request {request.id}"):
                if not self._forks.held_back(request):
                    await self._arrivals.wait(request, anew=False)
        await self._forks.recover()

    async def _recover_leased(self, live: Live, leases: Mapping[str, Lease]) -> None:
        execution = self.store.read().execution(live.execution_id)
        for run in execution.tasks.values() if execution else ():
            attempt = run.last
            if attempt is None or attempt.state not in LEASED or attempt.children is not None:
                continue
            lease = leases.get(attempt.id)
            if lease and lease.ant_id != EMBEDDED:
                self._desk.watch(lease)
            else:
                lost = AntLost(attempt.id, attempt.fence, "the server stopped while it ran")
                await self._engine.feed(live.execution_id, lost)

    async def _recover_one(self, execution_id: int) -> None:
        reader = self.store.read()
        execution, plan = reader.execution(execution_id), reader.plan(execution_id)
        request = reader.request(execution.request_id) if execution else None
        version = self.version(request.version_id) if request else None
        if execution is None or plan is None or request is None or version is None:
            log.error("execution %d cannot be taken up: its rows are incomplete", execution_id)
            return
        secrets = reader.secret_params(request.id) if request.has_secrets else {}
        live = Live(execution_id, request, version, plan, secrets, holds=execution.held)
        self._board.begin(live)
        for run in execution.tasks.values():
            if run.last and run.last.held and run.last.state in LEASED:
                self._board.hold(live, run.last.id, run.last.held)
        self._engine.obey(live, Step(execution, outstanding(execution, plan, self._clock()), True))


@contextmanager
def _apart(what: str) -> Iterator[None]:
    """What cannot be taken up stops nothing else, nor the start (D8); a disk that does not work does."""
    try:
        yield
    except WorldError:
        raise
    except Exception:
        log.exception("%s cannot be taken up; it is left as it is until the next start", what)


def _definition(version: Version) -> JobDefinition | None:
    loaded = load(version.text, path=version.path, dialect=version.dialect)
    return loaded[version.index].definition if version.index < len(loaded) else None
