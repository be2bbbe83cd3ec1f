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

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import ERR_DEFINITION, ERR_LOST, DefinitionError, SetupError, WorldError
from formicary.runner.core.execution import (
    AntLost,
    Begin,
    Claimed,
    Execution,
    Finished,
    Offer,
    OfferReturned,
    Order,
    Plan,
    RetryDue,
)
from formicary.runner.core.plan import begin, decide
from formicary.runner.core.records import JobRequest, Lease, Version
from formicary.runner.core.schedule import Admission, Admitted, Limits, Waiting, admit, match
from formicary.runner.core.states import State
from formicary.runner.queen.board import Board, Claim, Live, Offered, Worker, needed_tags
from formicary.runner.queen.changes import Change
from formicary.runner.queen.engine import Engine, Step, definition_result
from formicary.runner.queen.keeping import keep
from formicary.runner.queen.orders import make_order, render_plan
from formicary.runner.queen.told import Moment
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
    claim: Claim | None
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
        jobs = self._claims() + self._admissions()
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
        return admit(self.board.waiting.values(), self.board.running(), self.limits, self.board.ants(), self._now())

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

    def _claims(self) -> list[Job]:
        board = self.board
        if not board.offers:
            return []
        jobs: list[Job] = []
        for task_execution_id, ant_id in match([one.view for one in board.offers.values()], board.ants()):
            worker = board.workers[ant_id]
            claim = worker.take_claim()
            if claim is not None:
                offered = board.offers.pop(task_execution_id)
                jobs.append(partial(self._claim, offered, worker, claim))
        return jobs

    async def _claim(self, offered: Offered, worker: Worker, claim: Claim) -> None:
        live, event = offered.live, Claimed(offered.task_execution_id, offered.fence, worker.ant.ant_id)

        def change(tx: Tx) -> Step:
            step = self.engine.step(tx, live, (event,))
            if step.changed:
                tx.set_lease(self._lease(live, event, offered.task, tx.now))
            return step

        try:
            step = await self.engine.store.write(change)
        except Exception as error:
            worker.claims.appendleft(claim)
            return self._offer_later(offered, error)
        if not step.changed or step.execution is None:
            worker.claims.appendleft(claim)
            return
        self.engine.obey(live, step)
        self._hand_over(live, step.execution, offered.task_execution_id, worker, claim)

    def _offer_later(self, offered: Offered, error: Exception) -> None:
        """It stays ready; what fails again and again for another reason than the world's waits for the next start."""
        offered.faults += not isinstance(error, WorldError)
        log.error("task execution %s could not be claimed", offered.task_execution_id, exc_info=error)
        if offered.live.execution_id in self.board.live and offered.faults < MOST_FAULTS:
            self.board.offers[offered.task_execution_id] = offered
        self._later()

    # Waiting requests

    def _admissions(self) -> list[Job]:
        board, ants = self.board, self.board.ants()
        free = sum(ant.free for ant in ants)
        if not board.waiting or not free:
            return []
        heads, more = board.heads(free)
        admitted = admit(heads, board.running(), self.limits, ants, self._now())
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
        if resting is not None:
            live = self.board.live[resting]
            self.board.rest(live, False)
            return partial(self._go_on, live, worker, claim)
        self.board.count(waiting.job_key, 1)
        return partial(self._admit, waiting, worker, claim)

    async def _go_on(self, live: Live, worker: Worker | None, claim: Claim | None) -> None:
        """The next attempt of a whole job begins; its tasks are offered as any others."""
        if worker and claim:
            worker.claims.appendleft(claim)
        event, live.waking = live.waking or RetryDue(), None
        try:
            await self.engine.feed(live.execution_id, event)
        except Exception as error:
            log.error("execution %d could not go on", live.execution_id, exc_info=error)
            self.board.rest(live, True)
            self.engine.timers.at(self._now() + AGAIN, partial(self.engine.wake_up, live.execution_id, event))

    async def _admit(self, waiting: Waiting, worker: Worker | None, claim: Claim | None) -> None:
        """Begin its execution; whatever goes wrong costs this request alone (D8)."""
        try:
            known = self.board.asked.pop(waiting.request_id, None)
            request = known or self.engine.store.read().request(waiting.request_id)
            if request is None or request.state is not State.PENDING:
                return self._give_up(waiting, worker, claim)
            start = self._prepare(request, worker, claim)
            step = await self.engine.store.write(lambda tx: self._begin(tx, start))
        except Exception as error:
            self._give_up(waiting, worker, claim)
            return await self._not_begun(waiting, error)
        if start.live is None or step.execution is None:
            return self._give_up(waiting, worker, claim)
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

    def _prepare(self, request: JobRequest, worker: Worker | None, claim: Claim | None) -> _Start:
        version = self.versions(request.version_id)
        assert version is not None, "a request's version is never deleted before it"
        secrets = self.engine.store.read().secret_params(request.id) if request.has_secrets else {}
        seen = self.engine.secrets.seen_by(request)
        plan = self.reshape(render_plan(request, version, secrets, self._now(), self.url, seen))
        return _Start(request, version, secrets, plan, worker, claim)

    def _begin(self, tx: Tx, start: _Start) -> Step:
        request = start.request
        if not tx.waits(request.id):
            return Step(None)

        def make(execution_id: int) -> Execution:
            live = start.live = Live(execution_id, start.request, start.version, start.plan, start.secrets)
            previous = tx.execution(request.resume_of) if request.resume_of else None
            execution = begin(execution_id, request.id, start.plan, tx.now, previous)
            execution, start.orders = decide(execution, start.plan, Begin(), tx.now, live.seed)
            return self._claim_first(tx, start, live, execution)

        execution = tx.create_execution(request.id, make, start.plan)
        if start.live and start.claimed:
            run, attempt = execution.attempt(start.claimed) or (None, None)
            if run and attempt and start.worker:
                event = Claimed(attempt.id, attempt.fence, start.worker.ant.ant_id)
                tx.set_lease(self._lease(start.live, event, run.name, tx.now))
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
            task = start.plan.definition.task(order.task)
            fits = needed_tags(start.plan.definition, task) <= worker.tags and task.method in worker.ant.methods
            if fits and not task.except_:
                event = Claimed(order.task_execution_id, order.fence, worker.ant.ant_id)
                execution, more = decide(execution, start.plan, event, tx.now, live.seed)
                start.orders = tuple(one for one in start.orders if one is not order) + more
                start.claimed = order.task_execution_id
                return execution
        return execution

    def _began(self, start: _Start, live: Live, execution: Execution) -> None:
        self.board.place(live)
        self.engine.obey(live, Step(execution, start.orders, True))
        if start.worker is None or start.claim is None:
            return
        if start.claimed:
            self._hand_over(live, execution, start.claimed, start.worker, start.claim)
        else:
            start.worker.claims.appendleft(start.claim)
            self.engine.ring()

    def _give_up(self, waiting: Waiting, worker: Worker | None, claim: Claim | None) -> None:
        self.board.count(waiting.job_key, -1)
        if worker and claim:
            worker.claims.appendleft(claim)
        self.engine.ring()

    async def end_waiting(
        self, request: JobRequest, state: State, code: str, message: str, *, reason: str = ""
    ) -> None:
        """End a request that never began."""

        def change(tx: Tx) -> None:
            now = tx.request(request.id)
            if now is not None and now.state is State.PENDING:
                tx.end_request(request.id, state, reason=reason, error_code=code, error_message=message)
                ended, job = tx.request(request.id) or now, self.job_of(request.version_id)
                keep(tx, request.id, job, state)
                self.engine.told.note(Moment(tx, ended, state, job))

        await self.engine.store.write(change)
        self.board.unqueue(request.id)
        self.board.asked.pop(request.id, None)
        self.engine.changes.publish(
            Change("request", request.organization_id, request.repository_id, request.id, state=state)
        )

    # Handing over

    def _lease(self, live: Live, event: Claimed, task: str, now: float) -> Lease:
        return Lease.model_construct(
            task_execution_id=event.task_execution_id,
            execution_id=live.execution_id,
            request_id=live.request.id,
            task_type=task,
            ant_id=event.ant_id,
            fence=event.fence,
            deadline=now + self.lease_seconds,
        )

    def _hand_over(self, live: Live, execution: Execution, attempt_id: str, worker: Worker, claim: Claim) -> None:
        found = execution.attempt(attempt_id)
        assert found is not None, "just claimed"
        run, attempt = found
        claimed = Claimed(attempt.id, attempt.fence, worker.ant.ant_id)
        self.watch_lease(self._lease(live, claimed, run.name, self._now()))
        try:
            order = make_order(
                live,
                execution,
                run,
                attempt,
                now=self._now(),
                lease_seconds=self.lease_seconds,
                url=self.url,
                secrets=self.engine.secrets,
            )
        except DefinitionError as error:
            self.engine.post(execution.id, Finished(attempt.id, attempt.fence, definition_result(error)))
            worker.claims.appendleft(claim)
            return
        except Exception as error:
            log.exception("task execution %s could not be made an order", attempt.id)
            lost = str(error) if isinstance(error, SetupError) else f"the queen failed: {type(error).__name__}: {error}"
            self.engine.post(execution.id, AntLost(attempt.id, attempt.fence, lost))
            worker.claims.appendleft(claim)
            return
        if claim.gone:
            self.engine.post(execution.id, OfferReturned(attempt.id, attempt.fence))
            return
        worker.running[attempt.id] = execution.id
        claim.order = order
        claim.ready.set()
