"""Feeds events to executions and obeys the orders that follow, after they are on disk.

An event's load → decide → save is one change in the store. Orders are carried out after its commit; at start they are
made again from what the store says (`outstanding`), so whatever is obeyed twice is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio

from formicary.runner.bus import Bus
from formicary.runner.core.clock import ClockSet
from formicary.runner.core.deciding.children import only_waits
from formicary.runner.core.definition import EXPIRE, NATIVE
from formicary.runner.core.errors import ERR_DEFINITION, DefinitionError
from formicary.runner.core.execution import (
    AntLost,
    Ask,
    Attempt,
    DeadlinePassed,
    Ended,
    Event,
    Execution,
    Finished,
    Forget,
    Offer,
    OfferReturned,
    Order,
    Plan,
    Result,
    Stop,
    WakeAt,
    Withdraw,
)
from formicary.runner.core.forked import FORKS, CancelChildren, Gather, Mind
from formicary.runner.core.graph import spreads, task_of
from formicary.runner.core.plan import decide
from formicary.runner.core.policy import Overdue
from formicary.runner.core.records import JobRequest
from formicary.runner.core.schedule import OfferView
from formicary.runner.core.semaphores import Need
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.queen.board import Board, Live, Offered, needed_tags
from formicary.runner.queen.changes import Change, Changes
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.retention import keep
from formicary.runner.queen.orders import render_task
from formicary.runner.queen.people.audit import Also, nothing_else
from formicary.runner.queen.secrets import Secrets
from formicary.runner.queen.timers import Timers
from formicary.runner.queen.told import Moment, Told
from formicary.runner.store import Store, Tx

log = logging.getLogger("formicary.queen")

#: How long the news that a script runs may wait for the next event of its execution, seconds.
HOLD: Final = 0.01
TRUE: Final = "true"


@dataclass(slots=True)
class Step:
    """What one change did to an execution."""

    execution: Execution | None
    orders: tuple[Order, ...] = ()
    changed: bool = False


@dataclass(slots=True)
class Engine:
    store: Store
    bus: Bus
    board: Board
    changes: Changes
    logs: Logs
    timers: Timers
    clock: Callable[[], float]
    secrets: Secrets
    told: Told = field(default_factory=Told)
    url: str = ""
    queue: Callable[[Live], None] = lambda live: None
    """Puts a resting execution among what waits to be admitted."""
    carry: Callable[[Live, Execution, Order], None] = lambda live, execution, order: None
    """Carries out what is about forked jobs."""
    expire: Callable[[Live, Offer], None] = lambda live, order: None
    """Carries out an EXPIRE_ARTIFACTS task."""
    ended: Callable[[JobRequest, State], None] = lambda request, state: None
    """A request has ended, and whoever has forked it may wait for that."""
    wake: anyio.Event = field(default_factory=anyio.Event)
    mail: list[tuple[int, Event]] = field(default_factory=list)
    """Events that were met where nobody could wait for the disk; the dispatcher feeds them first."""

    def __post_init__(self) -> None:
        self.timers.heed(self._clock_set)

    def _clock_set(self, by: float) -> None:
        for execution_id in self.board.live:
            self.timers.at(self.clock(), partial(self.feed, execution_id, ClockSet(by)), execution_id)

    def ring(self) -> None:
        """Wake the dispatcher."""
        self.wake.set()

    def post(self, execution_id: int, event: Event) -> None:
        self.mail.append((execution_id, event))
        self.ring()

    async def feed(self, execution_id: int, *events: Event, also: Also = nothing_else) -> None:
        """Move an execution by these events and obey what follows; on disk when this returns, with what is `also` to be
        written if anything has changed."""
        live = self.board.live.get(execution_id)
        if live is None:
            return
        self.timers.notice()
        held, live.held = live.held, []
        batch = (*held, *events)
        if not batch:
            return

        def change(tx: Tx) -> Step:
            step = self.step(tx, live, batch)
            if step.changed:
                also(tx)
            return step

        step = await self.save_or_hold(live, held, change)
        self.obey(live, step)

    async def wake_up(self, execution_id: int, *events: Event) -> None:
        """Feed events that let an execution go on; one at rest has to be admitted first, unless its time is over."""
        live = self.board.live.get(execution_id)
        if live is None or not live.resting or any(isinstance(event, (DeadlinePassed, Overdue)) for event in events):
            await self.feed(execution_id, *events)
            return
        live.waking += events
        self.queue(live)
        self.ring()

    async def save_or_hold(self, live: Live, held: list[Event], change: Callable[[Tx], Step]) -> Step:
        """The change on disk; where that fails, what was held is held again for the next try."""
        try:
            return await self.store.write(change)
        except Exception:
            live.held = held + live.held
            raise

    def hold(self, execution_id: int, event: Event) -> None:
        """Feed this event with the next one, or on its own a moment later."""
        live = self.board.live.get(execution_id)
        if live is None:
            return
        if not live.held:
            self.timers.at(self.clock() + HOLD, lambda: self.feed(execution_id))
        live.held.append(event)

    def step(self, tx: Tx, live: Live, events: Sequence[Event]) -> Step:
        """Within a change: load, decide, save."""
        before = tx.execution(live.execution_id)
        if before is None or before.state in TERMINAL:
            return Step(before)
        execution, orders = self.advance(before, live.plan, events, live.seed, tx.now)
        if execution is before:
            return Step(before)
        self.save(tx, live, before, execution, events)
        return Step(execution, orders, True)

    @staticmethod
    def advance(
        execution: Execution, plan: Plan, events: Sequence[Event], seed: int, now: float
    ) -> tuple[Execution, tuple[Order, ...]]:
        orders: list[Order] = []
        for event in events:
            execution, more = decide(execution, plan, event, now, seed)
            orders.extend(more)
        return execution, tuple(orders)

    def save(self, tx: Tx, live: Live, before: Execution, execution: Execution, events: Sequence[Event]) -> None:
        tx.save_execution(execution)
        self.note(tx, live, before, execution)
        if execution.state in TERMINAL:
            return
        for event in events:
            if isinstance(event, (Finished, AntLost, OfferReturned)):
                tx.drop_lease(event.task_execution_id)

    def note(self, tx: Tx, live: Live, before: Execution | None, execution: Execution) -> None:
        """Within a change: owe what this step is to be told of, and say how long an ended request is kept."""
        if execution.state in TERMINAL:
            keep(tx, live.request.id, live.plan.definition, execution.state)
        if self.told.effects:
            self.told.note(Moment(tx, live.request, execution.state, live.plan.definition, execution, before))

    def obey(self, live: Live, step: Step) -> None:
        """After the commit: carry out the orders and tell who watches."""
        execution = step.execution
        if execution is None:
            return
        if not step.changed:
            return self._rest(live, execution)
        for order in step.orders:
            try:
                self._obey_one(live, execution, order)
            except Exception:  # it is on disk and made again at the next start; the other orders are not to blame
                log.exception("an order of execution %d could not be carried out: %r", execution.id, order)
        self._rest(live, execution)
        self._tell(live, execution)
        self.ring()

    def _rest(self, live: Live, execution: Execution) -> None:
        """Whether it takes a place from now on; one that only waits for the jobs that it has forked takes none."""
        if execution.id in self.board.live:
            self.board.rest(live, execution.resting_since is not None or (live.forks and only_waits(execution)))
            if live.tasks_hold:
                self.board.let_go_ended(live, execution)

    def _obey_one(self, live: Live, execution: Execution, order: Order) -> None:
        match order:
            case Offer():
                self._offer(live, execution, order)
            case Withdraw():
                self.board.offers.pop(order.task_execution_id, None)
            case Stop():
                worker = self.board.holder(order.task_execution_id)
                if worker:
                    self.bus.stop(worker.ant.ant_id, order.task_execution_id)
                else:
                    self.carry(live, execution, order)
            case Ask():
                self._ask(live, execution, order)
            case WakeAt():
                event = order.event
                self.timers.at(order.at, lambda: self.wake_up(execution.id, event), execution.id)
            case Forget():
                self.logs.delete(order.task_execution_id)
            case Ended():
                self._ended(live, execution)
            case Mind() | Gather() | CancelChildren():
                self.carry(live, execution, order)

    def _offer(self, live: Live, execution: Execution, order: Offer) -> None:
        found = execution.attempt(order.task_execution_id)
        if found is None or found[1].state is not State.READY:
            return
        task, request = task_of(live.plan.definition, order.task), live.request
        if spreads(task):
            return self.carry(live, execution, order)
        verdict = self.excepted(live, execution, order.task)
        if verdict is not None:
            self.post(execution.id, Finished(order.task_execution_id, order.fence, verdict))
            return
        if task.method in FORKS:
            return self.carry(live, execution, order)
        if task.method == EXPIRE:
            return self.expire(live, order)
        view = OfferView(
            task_execution_id=order.task_execution_id,
            priority=request.priority,
            ready_at=found[1].ready_at or 0.0,
            tags=needed_tags(live.plan.definition, task),
            methods=frozenset({task.method}),
            trusted=request.trusted,
            organization_id=request.organization_id,
            need=Need.of(task.resources),
            rank=(-request.priority, request.created_at, request.id),
            holds=live.holds is not None or bool(live.tasks_hold),
        )
        native = view.need is not None and live.version.dialect == NATIVE
        if native and view.need and (why := self.board.places.unknown(request.organization_id, view.need)):
            self.post(execution.id, Finished(order.task_execution_id, order.fence, unknown_resource(why)))
            return
        self.board.offers[order.task_execution_id] = Offered(
            live, order.task, order.task_execution_id, order.fence, view
        )

    def _ask(self, live: Live, execution: Execution, order: Ask) -> None:
        """People see it by what is stored; nobody is asked what its `except` keeps from being done."""
        verdict = self.excepted(live, execution, order.task)
        if verdict is not None:
            self.post(execution.id, Finished(order.task_execution_id, order.fence, verdict))

    def excepted(self, live: Live, execution: Execution, name: str) -> Result | None:
        """The result of a task that its `except` keeps from running, or whose `except` cannot be rendered."""
        if not task_of(live.plan.definition, name).except_:
            return None
        run = execution.tasks[name]
        try:
            attempt, seen = run.last or Attempt(id="", number=1, fence=0), self.secrets.seen_by(live.request)
            task, _ = render_task(live, execution, run, attempt, self.clock(), self.url, seen)
        except DefinitionError as error:
            return definition_result(error)
        return Result(excepted=True) if TRUE in task.except_ else None

    def _ended(self, live: Live, execution: Execution) -> None:
        self.board.end(execution.id)
        self.timers.forget(execution.id)
        self.ended(live.request, execution.state)
        for run in execution.tasks.values():
            for attempt in run.attempts:
                self.logs.close(attempt.id)

    def _tell(self, live: Live, execution: Execution) -> None:
        request = live.request
        self.changes.publish(
            Change(
                "request",
                organization_id=request.organization_id,
                repository_id=request.repository_id,
                request_id=request.id,
                state=execution.state,
            )
        )


def unknown_resource(why: str) -> Result:
    """Of a task that needs what nobody has registered: an error, as a misspelt key is."""
    return Result(error_code=ERR_DEFINITION, error_message=f"{why}; see `formicary resources list`")


def definition_result(error: DefinitionError) -> Result:
    """A task whose rendering failed: the user's to mend, never repeated."""
    return Result(error_code=ERR_DEFINITION, error_message=str(error))
