"""The dispatcher: woken by every change, it gives ready tasks and waiting requests to the hands that are free.

Ready tasks of running executions go first, then new executions are admitted. An admitted request's first task is
claimed in the same transaction that makes its execution, so two durable commits stand between a request and its script.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from formicary.runner.core.deciding.spreading import as_before
from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import ERR_DEFINITION, ERR_LOST, DefinitionError, WorldError
from formicary.runner.core.execution import (
    Acquired,
    Begin,
    Claimed,
    Execution,
    Held,
    Offer,
    Order,
    Plan,
    RetryDue,
)
from formicary.runner.core.graph import spreads, task_of
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.records import JobRequest, Lease, Version
from formicary.runner.core.schedule import Admission, Admitted, AntView, Limits, Waiting, admit, match, unable
from formicary.runner.core.semaphores import NOTHING_SHARED, Claim, Need, Shares
from formicary.runner.core.sharing import share
from formicary.runner.core.states import State
from formicary.runner.queen.board import Board, Live, Offered, Worker, needed_tags
from formicary.runner.queen.board import Claim as Hand
from formicary.runner.queen.engine import Engine, Step
from formicary.runner.queen.handing import Handing
from formicary.runner.queen.orders import render_plan
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.queen.places import Place
from formicary.runner.queen.unbegun import agreed, end_unbegun
from formicary.runner.store import Tx

log = logging.getLogger("formicary.queen")

Job = Callable[[], Coroutine[Any, Any, None]]

AGAIN: Final = 1.0
"""Seconds until what could not be written, or failed otherwise, is tried again."""
MOST_FAULTS: Final = 5
LOOK_LASTS: Final = 0.5


@dataclass(slots=True)
class _Start:
    """A request on its way to become an execution."""

    request: JobRequest
    version: Version
    secrets: dict[str, str]
    plan: Plan
    worker: Worker | None
    claim: Hand | None
    held: Held | None = None
    live: Live | None = None
    claimed: str = ""
    orders: tuple[Order, ...] = ()


@dataclass(slots=True)
class Dispatcher:
    engine: Engine
    versions: Callable[[int], Version | None]
    job_of: Callable[[int], JobDefinition | None]
    lease_seconds: float
    url: str
    limits: Limits = field(default_factory=Limits)
    watch_lease: Callable[[Lease], None] = lambda lease: None
    reshape: Callable[[Plan], Plan] = lambda plan: plan
    _looked: tuple[float, Admitted] | None = None
    _handing: Handing = field(init=False)

    def __post_init__(self) -> None:
        self._handing = Handing(self.engine, self.lease_seconds, self.url, self.watch_lease)

    @property
    def board(self) -> Board:
        return self.engine.board

    async def run(self) -> None:
        """Pass after pass, for ever; one at a time."""
        while True:
            await self.engine.wake.wait()
            self.engine.wake = anyio.Event()
            try:
                await self._pass()
            except Exception:  # none is foreseen; what is on disk goes on with the next pass, or the next start
                log.exception("a pass of the dispatcher failed")
                self._later()

    async def _pass(self) -> None:
        await self._post()
        heads, more = self._heads()
        shares = self._shares(heads)
        jobs = self._claims(shares) + self._admissions(heads, more, shares)
        if len(jobs) == 1:
            await jobs[0]()
        elif jobs:
            async with anyio.create_task_group() as group:
                for job in jobs:
                    group.start_soon(job)

    async def _post(self) -> None:
        mail, self.engine.mail = self.engine.mail, []
        for number, (execution_id, event) in enumerate(mail):
            try:
                await self.engine.feed(execution_id, event)
            except WorldError as error:
                log.warning("%s", error)
                self.engine.mail = mail[number:] + self.engine.mail
                return self._later()
            except Exception:
                log.exception("execution %d could not take in %r", execution_id, event)
        if self.engine.mail:
            self.engine.ring()

    def _later(self) -> None:
        """Look again in a moment; at once, a full disk would keep us busy."""
        self.engine.timers.at(self._now() + AGAIN, self._ring)

    async def _ring(self) -> None:
        self.engine.ring()

    def look(self) -> Admitted:
        """What would be admitted now, and why the rest is not."""
        waiting = list(self.board.waiting.values())
        return self._admit_of(waiting, self._shares(waiting), self.board.ants())

    def _admit_of(self, waiting: list[Waiting], shares: Shares, ants: list[AntView]) -> Admitted:
        return admit(waiting, self.board.running(), self.limits, ants, self._now(), shares=shares)

    def _shares(self, waiting: list[Waiting]) -> Shares:
        """Who gets units of shared resources now; nearly always nobody asks for any."""
        board = self.board
        offers = [one.view for one in board.offers.values() if one.view.need is not None]
        if not offers and not board.needy:
            return NOTHING_SHARED
        running, pools = board.running(), board.places.pools
        return share(waiting, offers, running, self.limits, pools, board.ants(), self._now())

    def task_reason(self, offered: Offered) -> str:
        """Why a ready task waits, where it is not for a free hand: no ant can run it, or it has not got its units."""
        view = offered.view
        if (why := unable(view, self.board.ants())) or view.need is None:
            return why
        claim = Claim(view.task_execution_id, view.organization_id, view.need)
        return self._shares(list(self.board.waiting.values())).reason(claim)

    def reason(self, request_id: int) -> str | None:
        """Why it waits; None if it does not any more. A page asks for hundreds: they share one look, half a second old
        at the most."""
        now = self._now()
        if self._looked is None or not 0.0 <= now - self._looked[0] < LOOK_LASTS:
            self._looked = now, self.look()
        for looked in (self._looked[1], None):
            try:
                return (looked or self.look()).reason(request_id)
            except KeyError:
                continue  # it has come since, or gone
        return None

    def _now(self) -> float:
        return self.engine.clock()

    # Ready tasks of running executions

    def _claims(self, shares: Shares) -> list[Job]:
        board = self.board
        if not board.offers:
            return []
        jobs: list[Job] = []
        for task_execution_id, ant_id in match([one.view for one in board.offers.values()], board.ants(), shares):
            worker = board.workers[ant_id]
            claim = worker.take_claim()
            if claim is not None:
                offered = board.offers.pop(task_execution_id)
                held = self._held(offered.view.need, shares.given.get(task_execution_id))
                if held is not None:
                    board.hold(offered.live, task_execution_id, held)
                jobs.append(partial(self._claim, offered, worker, claim, held))
        return jobs

    def _held(self, need: Need | None, pool_id: int | None) -> Held | None:
        return self.board.places.held(pool_id, need) if need is not None and pool_id is not None else None

    async def _claim(self, offered: Offered, worker: Worker, claim: Hand, held: Held | None) -> None:
        live, event = offered.live, Claimed(offered.task_execution_id, offered.fence, worker.ant.ant_id, held)

        def change(tx: Tx) -> Step:
            step = self.engine.step(tx, live, (event,))
            if step.changed:
                tx.set_lease(self._handing.lease(live, event, offered.task, tx.now))
            return step

        try:
            step = await self.engine.store.write(change)
        except Exception as error:
            worker.claims.appendleft(claim)
            self.board.let_go(live, offered.task_execution_id)
            return self._offer_later(offered, error)
        if not step.changed or step.execution is None:
            worker.claims.appendleft(claim)
            return self.board.let_go(live, offered.task_execution_id)
        self.engine.obey(live, step)
        self._handing.over(live, step.execution, offered.task_execution_id, worker, claim)

    def _offer_later(self, offered: Offered, error: Exception) -> None:
        """It stays ready; what fails again and again for another reason than the world's waits for the next start."""
        offered.faults += not isinstance(error, WorldError)
        log.error("task execution %s could not be claimed", offered.task_execution_id, exc_info=error)
        if offered.live.execution_id in self.board.live and offered.faults < MOST_FAULTS:
            self.board.offers[offered.task_execution_id] = offered
        self._later()

    # Waiting requests

    def _heads(self) -> tuple[list[Waiting], bool]:
        """The first of those that wait, as many as hands are free, and whether those behind them may start too."""
        free = sum(len(worker.claims) for worker in self.board.workers.values() if not worker.draining)
        return self.board.heads(max(free, 1)) if free or self.board.antless else ([], False)

    def _admissions(self, heads: list[Waiting], more: bool, shares: Shares) -> list[Job]:
        if not heads:
            return []
        ants = self.board.ants()
        free = sum(ant.free for ant in ants)
        admitted = self._admit_of(heads, shares, ants)
        if more and len(admitted.admissions) < free:
            admitted = self.look()
        return [job for admission in admitted.admissions if (job := self._admission(admission)) is not None]

    def _admission(self, admission: Admission) -> Job | None:
        worker = self.board.workers.get(admission.ant_id or "")
        claim = worker.take_claim() if worker else None
        if admission.ant_id and claim is None:
            return None
        waiting = self.board.unqueue(admission.request_id)
        assert waiting is not None, "only what waits is admitted"
        resting = self.board.by_request.get(admission.request_id)
        held = self._held(waiting.need, admission.pool_id)
        if resting is not None:
            live = self.board.live[resting]
            if not live.resting:  # it was cancelled while it waited for its next attempt
                if worker and claim:
                    worker.claims.appendleft(claim)
                    self.engine.ring()
                return None
            live.holds = held
            self.board.rest(live, False)
            return partial(self._go_on, live, worker, claim)
        organization, repository, job_type = waiting.job_key
        place = Place(waiting.request_id, (organization, repository, job_type), waiting.group, held)
        self.board.places.take(place)
        return partial(self._admit, waiting, place, worker, claim)

    async def _go_on(self, live: Live, worker: Worker | None, claim: Hand | None) -> None:
        """The next attempt of a whole job begins; its tasks are offered as any others."""
        if worker and claim:
            worker.claims.appendleft(claim)
        events, live.waking = live.waking or [RetryDue()], []
        acquired = [Acquired(live.holds)] if live.holds else []
        try:
            await self.engine.feed(live.execution_id, *acquired, *events)
        except Exception as error:
            log.error("execution %d could not go on", live.execution_id, exc_info=error)
            self.board.rest(live, True)
            self.engine.timers.at(self._now() + AGAIN, partial(self.engine.wake_up, live.execution_id, *events))

    async def _admit(self, waiting: Waiting, place: Place, worker: Worker | None, claim: Hand | None) -> None:
        """Begin its execution; whatever goes wrong costs this request alone (D8)."""
        try:
            known = self.board.asked.pop(waiting.request_id, None)
            request = known or self.engine.store.read().request(waiting.request_id)
            if request is None or request.state is not State.PENDING:
                return self._give_up(place, worker, claim)
            start = self._prepare(request, waiting, place, worker, claim)
            self.engine.timers.notice()
            step = await self.engine.store.write(lambda tx: self._begin(tx, start))
        except Exception as error:
            self._give_up(place, worker, claim)
            return await self._not_begun(waiting, error)
        if start.live is None or step.execution is None:
            return self._give_up(place, worker, claim)
        self._began(start, start.live, step.execution)

    async def _not_begun(self, waiting: Waiting, error: Exception) -> None:
        """The user's mistake and our own end it; it waits on while the world is to blame."""
        code = ERR_DEFINITION if isinstance(error, DefinitionError) else ERR_LOST
        if code == ERR_LOST:
            log.error("request %d could not be started", waiting.request_id, exc_info=error)
        try:
            request = None if isinstance(error, WorldError) else self.engine.store.read().request(waiting.request_id)
            if request is not None:
                return await self.end_waiting(request, State.FAILED, code, str(error))
        except WorldError:
            log.exception("request %d could not be ended", waiting.request_id)
        except Exception:
            return log.exception("request %d is left alone until the next start", waiting.request_id)
        self.board.queue(waiting)
        self._later()

    def _prepare(
        self, request: JobRequest, waiting: Waiting, place: Place, worker: Worker | None, claim: Hand | None
    ) -> _Start:
        version = self.versions(request.version_id)
        assert version is not None, "a request's version is never deleted before it"
        secrets = self.engine.store.read().secret_params(request.id) if request.has_secrets else {}
        seen = self.engine.secrets.seen_by(request)
        variables = place.held.variables if place.held else {}
        plan = self.reshape(render_plan(request, version, secrets, self._now(), self.url, seen, variables))
        return _Start(request, version, secrets, agreed(plan, waiting), worker, claim, place.held)

    def _begin(self, tx: Tx, start: _Start) -> Step:
        request = start.request
        if not tx.waits(request.id):
            return Step(None)
        previous = tx.execution(request.resume_of) if request.resume_of else None
        start.plan = as_before(start.plan, tx.plan(previous.id)) if previous else start.plan

        def make(execution_id: int) -> Execution:
            live = start.live = Live(execution_id, start.request, start.version, start.plan, start.secrets)
            live.holds = start.held
            execution = begin(execution_id, request.id, start.plan, tx.now, previous)
            if start.held is not None:
                execution = execution.model_copy(update={"held": start.held})
            execution, start.orders = decide(execution, start.plan, Begin(), tx.now, live.seed)
            return self._claim_first(tx, start, live, execution)

        execution = tx.create_execution(request.id, make, start.plan)
        if start.live and start.claimed:
            run, attempt = execution.attempt(start.claimed) or (None, None)
            if run and attempt and start.worker:
                event = Claimed(attempt.id, attempt.fence, start.worker.ant.ant_id)
                tx.set_lease(self._handing.lease(start.live, event, run.name, tx.now))
        if start.live:
            self.engine.note(tx, start.live, None, execution)
        return Step(execution, start.orders, True)

    def _claim_first(self, tx: Tx, start: _Start, live: Live, execution: Execution) -> Execution:
        """Let the ant that made room take the first task that it can run, in the same change."""
        worker = start.worker
        if worker is None:
            return execution
        for order in start.orders:
            if not isinstance(order, Offer):
                continue
            task = task_of(start.plan.definition, order.task)
            fits = needed_tags(start.plan.definition, task) <= worker.tags and task.method in worker.ant.methods
            if fits and not (task.except_ or task.resources or spreads(task)):
                event = Claimed(order.task_execution_id, order.fence, worker.ant.ant_id)
                execution, more = decide(execution, start.plan, event, tx.now, live.seed)
                start.orders = tuple(one for one in start.orders if one is not order) + more
                start.claimed = order.task_execution_id
                return execution
        return execution

    def _began(self, start: _Start, live: Live, execution: Execution) -> None:
        self.board.place(live)
        self.engine.obey(live, Step(execution, start.orders, True))
        if (superseded := self.board.superseded.pop(live.request.id, None)) is not None:
            self.engine.post(live.execution_id, superseded)
        if start.worker is None or start.claim is None:
            return
        if start.claimed:
            self._handing.over(live, execution, start.claimed, start.worker, start.claim)
        else:
            start.worker.claims.appendleft(start.claim)
            self.engine.ring()

    def _give_up(self, place: Place, worker: Worker | None, claim: Hand | None) -> None:
        self.board.places.give(place)
        if worker and claim:
            worker.claims.appendleft(claim)
        self.engine.ring()

    async def end_waiting(
        self, request: JobRequest, state: State, code: str, message: str, *, also: Also = nothing_else
    ) -> None:
        """End a request that never began; `also` is written with its end."""
        job = self.job_of(request.version_id)
        await end_unbegun(self.engine, request, job, state, code, message, also=also)
