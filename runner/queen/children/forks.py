"""Forked jobs: the queen carries out FORK_JOB and AWAIT_FORKED_JOB herself, and minds the children until they end.

A child is stored in the change that moves the attempt on which it hangs, so that neither is there without the other.
Everything else (who may start, who has ended) is read from the store, and is asked again after a start.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import anyio.to_thread

from formicary.runner.core.deciding.children import waiting
from formicary.runner.core.errors import (
    ERR_DEFINITION,
    ERR_FORK,
    Conflict,
    DefinitionError,
    NotFound,
    UserError,
    WorldError,
)
from formicary.runner.core.execution import AntLost, Execution, Finished, Offer, Order, Result, Stop
from formicary.runner.core.forked import AWAIT, CancelChildren, Child, ChildEnded, Children, Forked, Gather, Mind
from formicary.runner.core.graph import spreads, task_of
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.queen.arriving.requests import store_request
from formicary.runner.queen.board import Live
from formicary.runner.queen.children.forking import Fork, Forking
from formicary.runner.queen.children.gathering import gathered
from formicary.runner.queen.children.spreading import is_ready, spread
from formicary.runner.queen.engine import Engine, Step, definition_result
from formicary.runner.store import Tx

log = logging.getLogger("formicary.queen")

BY = "its parent"


@dataclass(slots=True)
class Forks:
    """`created`: these requests are on disk and may start; `cancel` ends one (by whom, why)."""

    engine: Engine
    forking: Forking
    created: Callable[[Iterable[JobRequest]], Awaitable[None]]
    cancel: Callable[..., Awaitable[JobRequest]]

    def carry(self, live: Live, execution: Execution, order: Order) -> None:
        """Carry out an order about children; soon, as it takes git and the disk. Twice is harmless."""
        match order:
            case Offer():
                self._soon(live, partial(self._offer, live, order))
            case Mind():
                self._soon(live, partial(self._mind, live, order))
            case Gather():
                self._soon(live, partial(self._gather, live, order))
            case CancelChildren():
                self._soon(None, partial(self._cancel, order.request_ids, order.reason))
            case Stop():
                found = execution.attempt(order.task_execution_id)
                children = found[1].children if found else None
                if children and children.left:
                    self._soon(None, partial(self._cancel, children.left, order.reason))

    def _soon(self, live: Live | None, action: Callable[[], Awaitable[None]]) -> None:
        self.engine.timers.at(self.engine.clock(), action, live.execution_id if live else 0)

    # A task is ready

    async def _offer(self, live: Live, order: Offer) -> None:
        """Raises WorldError: it is tried again."""
        try:
            await self._carry_out(live, order)
        except WorldError:
            raise
        except UserError as error:
            own = spreads(task_of(live.plan.definition, order.task))
            result = Result(error_code=ERR_DEFINITION if own else ERR_FORK, error_message=str(error))
            result = definition_result(error) if isinstance(error, DefinitionError) else result
            await self.engine.feed(live.execution_id, Finished(order.task_execution_id, order.fence, result))
        except Exception as error:
            log.exception("task execution %s could not be carried out", order.task_execution_id)
            lost = f"the queen failed: {type(error).__name__}: {error}"
            await self.engine.feed(live.execution_id, AntLost(order.task_execution_id, order.fence, lost))

    async def _carry_out(self, live: Live, order: Offer) -> None:
        execution = self.engine.store.read().execution(live.execution_id)
        if execution is None or not is_ready(execution, order):
            return
        task = task_of(live.plan.definition, order.task)
        if spreads(task):
            return await spread(self.engine, live, execution, order)
        if task.method == AWAIT:
            children = self.forking.awaited(live, execution, order.task)
            return await self.engine.feed(
                live.execution_id, Forked(order.task_execution_id, order.fence, Children(each=children, waits=True))
            )
        fork = await anyio.to_thread.run_sync(self.forking.made, live, execution, order)
        made: list[JobRequest] = []
        step = await self.engine.store.write(lambda tx: self._store(tx, live, order, fork, made))
        self.engine.obey(live, step)
        if step.changed:
            await self.created(made[: fork.most or None])

    def _store(self, tx: Tx, live: Live, order: Offer, fork: Fork, made: list[JobRequest]) -> Step:
        """Within a change: the children, and the attempt that has them. What is ready no more gets none."""
        execution = tx.execution(live.execution_id)
        if execution is None or not is_ready(execution, order):
            return Step(execution)
        made.clear()
        for each in fork.children:
            if each.loaded is None:
                request, fresh = tx.create_request(each.request)
            else:
                request, fresh = store_request(tx, each.loaded, each.request.commit, each.request)
            if fresh:
                self.engine.told.created(tx, request, each.job)
            made.append(request)
        released = fork.most or len(made)
        children = tuple(
            Child(request_id=one.id, label=each.label, released=number < released, tainted=bool(one.tainted))
            for number, (one, each) in enumerate(zip(made, fork.children, strict=True))
        )
        hangs = Children(each=children, waits=fork.waits, fail_fast=fork.fail_fast)
        outputs = {"ForkedJobID": made[0].id, "ForkedJobType": made[0].job_type} if not fork.waits else {}
        return self.engine.step(tx, live, (Forked(order.task_execution_id, order.fence, hangs, outputs),))

    # Its children

    def held_back(self, request: JobRequest) -> bool:
        """Whether its turn among its siblings has not come (`max_parallel`)."""
        if request.parent_id is None:
            return False
        reader = self.engine.store.read()
        parent = reader.request(request.parent_id)
        execution = reader.execution(parent.execution_id) if parent and parent.execution_id else None
        found = waiting(execution, request.parent_task) if execution else None
        return found is not None and request.id in found[2].left and request.id not in found[2].minded

    async def _mind(self, live: Live, order: Mind) -> None:
        reader, starts = self.engine.store.read(), list[JobRequest]()
        for request_id in order.request_ids:
            request = reader.request(request_id)
            if request is None or request.state in TERMINAL:
                ended = ChildEnded(order.task_execution_id, request_id, request.state if request else State.FAILED)
                self.engine.post(live.execution_id, ended)
            elif request.state is State.PENDING and not self._is_known(request):
                starts.append(request)
        await self.created(starts)

    def _is_known(self, request: JobRequest) -> bool:
        board = self.engine.board
        return request.id in board.waiting or request.id in board.by_request or request.execution_id is not None

    def ended(self, request: JobRequest, state: State) -> None:
        """A request has ended: whoever waits for it is told, after the next look at what has come."""
        if request.parent_id is None:
            return
        execution_id = self.engine.board.by_request.get(request.parent_id)
        execution = self.engine.store.read().execution(execution_id) if execution_id is not None else None
        for run in execution.tasks.values() if execution else ():
            attempt = run.last
            children = attempt.children if attempt and run.state is State.EXECUTING else None
            if execution and attempt and children and request.id in children.left:
                self.engine.post(execution.id, ChildEnded(attempt.id, request.id, state))

    async def _gather(self, live: Live, order: Gather) -> None:
        """All have ended. The job may have given its place free meanwhile: then it waits for one."""
        execution = self.engine.store.read().execution(live.execution_id)
        found = execution.attempt(order.task_execution_id) if execution else None
        if execution is None or found is None or found[1].state is not State.EXECUTING or found[1].children is None:
            return
        attempt, definition = found[1], live.plan.definition
        make = partial(gathered, self.engine.store, definition, task_of(definition, found[0].name), attempt)
        result = await anyio.to_thread.run_sync(make)
        await self.engine.wake_up(live.execution_id, Finished(attempt.id, attempt.fence, result))

    async def _cancel(self, request_ids: Sequence[int], reason: str) -> None:
        for request_id in request_ids:
            try:
                await self.cancel(request_id, by=BY, reason=reason)
            except (Conflict, NotFound):
                continue  # it has ended already

    async def recover(self) -> None:
        """Cancel what its parent's cancel has not reached before the server stopped."""
        reader, board = self.engine.store.read(), self.engine.board
        for request_id in [*board.waiting, *board.by_request]:
            request = board.asked.get(request_id) or reader.request(request_id)
            parent = reader.request(request.parent_id) if request and request.parent_id is not None else None
            if parent is not None and parent.state is State.CANCELLED:
                await self._cancel((request_id,), parent.error_message)
