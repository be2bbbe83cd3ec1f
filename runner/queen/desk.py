"""The queen's side of the bus: what she answers to ants. Implements `bus.Desk`; every write carries its fence (D2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import anyio.to_thread

from formicary.runner.core.deciding.outcome import failed
from formicary.runner.core.errors import ERR_ANT_LOST, LOST_CODES, StaleFence
from formicary.runner.core.execution import AntLost, Event, Executing, Finished, OfferReturned, Result
from formicary.runner.core.graph import task_of
from formicary.runner.core.messages import Ant, LogChunk, Report, TaskOrder
from formicary.runner.core.records import Artifact, Lease
from formicary.runner.core.reported import TaskReport
from formicary.runner.queen.board import Claim, Live, Worker
from formicary.runner.queen.changes import Change
from formicary.runner.queen.engine import Engine, Step
from formicary.runner.queen.keeping.judging import judge
from formicary.runner.store import Tx

log = logging.getLogger("formicary.queen")


@dataclass(slots=True)
class QueensDesk:
    engine: Engine
    lease_seconds: float
    _leases: dict[str, Lease] = field(default_factory=dict)
    _armed: float = float("inf")

    def __post_init__(self) -> None:
        self.engine.timers.heed(self._clock_set)

    # Ants

    def joined(self, ant: Ant) -> None:
        """An ant is there, or there again, or can do something else than before: what it still runs, it says by
        heartbeat, and its hands wait on."""
        known = self.engine.board.workers.get(ant.ant_id)
        self.engine.board.workers[ant.ant_id] = Worker(ant, known.claims, known.running) if known else Worker(ant)
        self.engine.changes.publish(Change("ant", state="JOINED"))
        self.engine.ring()

    async def left(self, ant_id: str, *, lost: bool) -> None:
        worker = self.engine.board.workers.pop(ant_id, None)
        if worker is None:
            return
        for claim in worker.claims:
            claim.gone = True
        self.engine.changes.publish(Change("ant", state="LOST" if lost else "LEFT"))
        for task_execution_id in list(worker.running):
            lease = self._leases.get(task_execution_id)
            if lease:
                await self._lose(lease, f"the ant {ant_id} went away")

    async def claim(self, ant_id: str, free: int) -> TaskOrder:
        worker = self.engine.board.workers.get(ant_id)
        if worker is None:
            raise StaleFence(f"the ant {ant_id} has not joined")
        claim = Claim()
        worker.claims.append(claim)
        self.engine.ring()
        try:
            await claim.ready.wait()
        except BaseException:
            claim.gone = True
            if claim.order is not None:
                worker.running.pop(claim.order.task_execution_id, None)
                returned = OfferReturned(claim.order.task_execution_id, claim.order.fence)
                self.engine.post(claim.order.execution_id, returned)
            elif claim in worker.claims:
                worker.claims.remove(claim)
            raise
        assert claim.order is not None, "an order is set before the claim is ready"
        return claim.order

    async def heartbeat(self, ant_id: str, fences: Mapping[str, int]) -> frozenset[str]:
        deadline = self.engine.clock() + self.lease_seconds
        refused = await self.engine.store.write(lambda tx: tx.extend_leases(ant_id, fences, deadline))
        for task_execution_id in fences.keys() - refused:
            lease = self._leases.get(task_execution_id)
            if lease:
                self._leases[task_execution_id] = lease.model_copy(update={"deadline": deadline})
        return frozenset(refused)

    # Leases

    def watch(self, lease: Lease) -> None:
        """Look at it again when it may have run out."""
        self._leases[lease.task_execution_id] = lease
        self._arm(lease.deadline)

    def _arm(self, when: float) -> None:
        if when < self._armed:
            self._armed = when
            self.engine.timers.at(when, self._reap)

    async def _reap(self) -> None:
        due, self._armed = self._armed, float("inf")
        now = self.engine.clock()
        if now - due > self.lease_seconds / 2:
            return self._after_a_jump(now)
        for lease in [one for one in self._leases.values() if one.deadline <= now]:
            await self._lose(lease, f"the ant {lease.ant_id} has not been heard of for {self.lease_seconds:.0f} s")
        if self._leases:
            self._arm(max(min(lease.deadline for lease in self._leases.values()), now + 0.1))

    def _clock_set(self, _by: float) -> None:
        """Heartbeats since then were told by the new clock, those before by the old one: all begin anew."""
        self._after_a_jump(self.engine.clock())

    def _after_a_jump(self, now: float) -> None:
        """This should have run long ago: the machine slept, or its clock was set. The ants could not say anything in a
        time that was not there, so they get the time of one more lease to say it."""
        log.warning("the clock has jumped; the ants are given %.0f s to say that they are there", self.lease_seconds)
        deadline, self._armed = now + self.lease_seconds, float("inf")
        self._leases = {name: one.model_copy(update={"deadline": deadline}) for name, one in self._leases.items()}
        if self._leases:
            self._arm(deadline)

    async def _lose(self, lease: Lease, message: str) -> None:
        log.warning("task execution %s is lost: %s", lease.task_execution_id, message)
        await self.engine.feed(lease.execution_id, AntLost(lease.task_execution_id, lease.fence, message))
        self._done(lease.task_execution_id)  # only now: until it is on disk somebody must look at it again

    def _done(self, task_execution_id: str) -> None:
        self._leases.pop(task_execution_id, None)
        for worker in self.engine.board.workers.values():
            worker.running.pop(task_execution_id, None)

    # Reports and logs

    async def report(self, report: Report) -> None:
        execution_id = execution_of(report.task_execution_id)
        if not self._current(report.task_execution_id, report.fence):
            return
        if report.kind == "EXECUTING":
            self.engine.hold(execution_id, Executing(report.task_execution_id, report.fence))
            return
        live = self.engine.board.live.get(execution_id)
        self.engine.logs.close(report.task_execution_id)
        event = _event(report)
        if live is not None and isinstance(event, Finished):
            event = await self._judged(live, event)
        if live is None:
            self._done(report.task_execution_id)
        elif isinstance(event, Finished) and (event.result.artifacts or event.result.reports):
            await self._finish_with_yield(live, event)
        else:
            await self.engine.feed(execution_id, event)
        self._done(report.task_execution_id)

    async def _judged(self, live: Live, event: Finished) -> Finished:
        """With what the organization's error codes say of a failure."""
        if not failed(event.result) or event.result.excepted:
            return event
        reader = self.engine.store.read()
        codes = reader.error_codes(live.request.organization_id)
        found = (reader.execution(live.execution_id) if codes else None) or None
        run = found.attempt(event.task_execution_id) if found else None
        if run is None:
            return event
        task, job = run[0].matrix_of or run[0].name, live.plan.definition
        call = partial(judge, codes, (job.job_type, task, job.platform), event.result)
        named = await anyio.to_thread.run_sync(call, self.engine.logs, event.task_execution_id)
        return replace(event, result=replace(event.result, judged=named)) if named else event

    async def _finish_with_yield(self, live: Live, event: Finished) -> None:
        """The result and the rows of its artifacts and reports, in one change."""
        held, live.held = live.held, []
        change = partial(self._save_yield, live=live, events=(*held, event))
        step = await self.engine.save_or_hold(live, held, change)
        self.engine.obey(live, step)

    def _save_yield(self, tx: Tx, live: Live, events: tuple[Event, ...]) -> Step:
        step = self.engine.step(tx, live, events)
        last = events[-1]
        if step.changed and isinstance(last, Finished) and step.execution is not None:
            found = step.execution.attempt(last.task_execution_id)
            task = task_of(live.plan.definition, found[0].name) if found else None
            expires = task.artifacts.expires_after if task else None
            for one in last.result.artifacts:
                tx.add_artifact(
                    Artifact(
                        organization_id=live.request.organization_id,
                        repository_id=live.request.repository_id,
                        request_id=live.request.id,
                        task_execution_id=last.task_execution_id,
                        task_type=found[0].name if found else "",
                        name=one.name,
                        kind=one.kind,
                        size=one.size,
                        digest=one.digest,
                        created_at=tx.now,
                        expires_at=tx.now + expires if expires else None,
                    )
                )
            if last.result.reports is not None:
                tx.add_report(
                    TaskReport(
                        organization_id=live.request.organization_id,
                        repository_id=live.request.repository_id,
                        request_id=live.request.id,
                        task_execution_id=last.task_execution_id,
                        task_type=found[0].name if found else "",
                    ),
                    last.result.reports,
                )
        return step

    async def log(self, chunk: LogChunk) -> int:
        if not self._current(chunk.task_execution_id, chunk.fence):
            raise StaleFence
        size = self.engine.logs.append(chunk.task_execution_id, chunk.offset, chunk.data)
        self.engine.changes.publish(Change("log", task_execution_id=chunk.task_execution_id))
        return size

    def _current(self, task_execution_id: str, fence: int) -> bool:
        """Whether this is the newest attempt's word (a lease is kept until its attempt has ended)."""
        lease = self._leases.get(task_execution_id)
        return lease is not None and lease.fence == fence


def execution_of(task_execution_id: str) -> int:
    """The execution that a task execution belongs to: the number before its dash."""
    return int(task_execution_id.partition("-")[0])


def _event(report: Report) -> Event:
    if report.kind == "FINISHED":
        return Finished(report.task_execution_id, report.fence, report.result or Result())
    if report.kind == "RETURNED":
        return OfferReturned(report.task_execution_id, report.fence)
    code = report.code if report.code in LOST_CODES else ERR_ANT_LOST
    return AntLost(report.task_execution_id, report.fence, report.message, code)
