"""From a request that is on disk to one that waits for its turn: skipped, refused, or put into its line.

What decides its place (concurrency group, resource) is rendered here, once; a newer request that cancels what is in
progress does so here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from formicary.runner.core.definition import NATIVE, QUEENS, JobDefinition
from formicary.runner.core.errors import ERR_CANCELLED, ERR_DEFINITION, Conflict, DefinitionError
from formicary.runner.core.execution import CancelAsked, Finished, Plan
from formicary.runner.core.graph import Graph
from formicary.runner.core.records import JobRequest, Version
from formicary.runner.core.schedule import Group, Waiting
from formicary.runner.core.semaphores import Need
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.queen.board import Board, Live, group_of, job_key, needed_tags
from formicary.runner.queen.engine import TRUE, Engine
from formicary.runner.queen.orders import of_resource, render_plan
from formicary.runner.queen.unbegun import end_unbegun

#: What decides about a request's place, in a text.
_PLACE: Final = re.compile(r"(?<![\w-])(?:concurrency|resources)[\"']?[ \t]*:")

Found = tuple[Version, JobDefinition | None]


@dataclass(slots=True)
class Arrivals:
    """`version` gives a stored version and its definition as it was loaded; `reshape`: what a local run makes of it."""

    engine: Engine
    version: Callable[[int], Found | None]
    reshape: Callable[[Plan], Plan] = lambda plan: plan

    @property
    def board(self) -> Board:
        return self.engine.board

    async def wait(self, request: JobRequest, *, anew: bool = True) -> None:
        """Put it among the waiting, unless its skip_if (or its text) ends it at once. `anew` = it was asked for just
        now, and not taken up after a start."""
        found = self.version(request.version_id)
        job = found[1] if found else None
        if found and job and _is_rendered(job, found[0]):
            job = await self._rendered(request, found[0], job)
            if job is None or await self._refused(request, found[0], job, anew):
                return
        one = self._waiting(request, self.reshape(Plan.model_construct(definition=job)).definition if job else None)
        self.board.queue(one, request)
        cancels = job is not None and job.concurrency is not None and job.concurrency.cancel_in_progress
        due = request.scheduled_at is None or request.scheduled_at <= self.engine.clock()
        if not due and request.scheduled_at is not None:
            self.engine.timers.at(request.scheduled_at, partial(self._due, request.id, cancels), wall=True)
        elif cancels:
            await self.supersede(request.id, anew=anew)
        self.engine.ring()

    def again(self, live: Live) -> None:
        """A resting execution waits to be admitted for its next attempt; or to go on after the jobs that it has forked,
        and what that needs is seen then."""
        waiting = self._waiting(live.request, live.plan.definition)
        after_forks = any(isinstance(event, Finished) for event in live.waking)
        self.board.queue(replace(waiting, needs_ant=False) if after_forks else waiting)

    async def _due(self, request_id: int, cancels: bool) -> None:
        if cancels:
            await self.supersede(request_id, anew=True)
        self.engine.ring()

    def _waiting(self, request: JobRequest, job: JobDefinition | None) -> Waiting:
        """What `admit` needs to know of it: its first tasks' tags and methods, as far as they are known by now."""
        roots = Graph.of(job).roots if job else ()
        first = job.task(roots[0]) if job and roots else None
        if first and first.matrix:  # which tags a combination needs is known when it is planned
            first = first.model_copy(update={"tags": ()})
        key = job_key(request)
        return Waiting(
            request_id=request.id,
            organization_id=request.organization_id,
            job_key=key,
            job_type=request.job_type,
            priority=request.priority,
            created_at=request.created_at,
            scheduled_at=request.scheduled_at,
            max_concurrency=self.board.places.limit(key, request.max_concurrency),
            tags=needed_tags(job, first) if job and first else frozenset(),
            methods=frozenset({first.method}) - QUEENS if first else frozenset(),
            needs_ant=first is None or first.method not in QUEENS,
            trusted=request.trusted,
            group=group_of(request, job),
            need=Need.of(job.resources) if job else None,
        )

    # What its text says

    async def _rendered(self, request: JobRequest, version: Version, job: JobDefinition) -> JobDefinition | None:
        """Its definition as its own parameters make it; None where they do not, and it has ended."""
        engine = self.engine
        secrets = engine.store.read().secret_params(request.id) if request.has_secrets else {}
        to_come = of_resource(None, job.resources)
        try:
            seen = engine.secrets.seen_by(request)
            plan = render_plan(request, version, secrets, engine.clock(), engine.url, seen, to_come)
        except DefinitionError as error:
            await self._end(request, job, State.FAILED, ERR_DEFINITION, str(error))
            return None
        return plan.definition

    async def _refused(self, request: JobRequest, version: Version, job: JobDefinition, anew: bool) -> bool:
        if TRUE in job.skip_if:
            await self._end(request, job, State.SKIPPED, "", "", "its skip_if is true")
            return True
        need = Need.of(job.resources)
        unknown = self.board.places.unknown(request.organization_id, need) if need and anew else ""
        if unknown and version.dialect == NATIVE:
            message = f"{unknown}; see `formicary resources list`, or register it with `formicary resources set`"
            await self._end(request, job, State.FAILED, ERR_DEFINITION, message)
            return True
        return False

    async def _end(
        self, request: JobRequest, job: JobDefinition, state: State, code: str, message: str, reason: str = ""
    ) -> None:
        await end_unbegun(self.engine, request, job, state, code, message, reason)

    # Concurrency groups

    async def supersede(self, request_id: int, *, anew: bool) -> None:
        """Cancel what is older in the group of a request that waits: first what waits too, then what runs.

        What was taken up after a start cancels only what was asked for before it; a restarted request is the newest.
        """
        one = self.board.waiting.get(request_id)
        if one is None or one.group is None:
            return
        others = [
            other for other in self._in_progress(one.group) if other != request_id and (anew or other < request_id)
        ]
        for other in others:
            await self._cancel(other, request_id, one.group)

    def _in_progress(self, group: Group) -> list[int]:
        """Those that wait, but for what is not due yet, and those that run."""
        now, board = self.engine.clock(), self.board
        waiting = [board.waiting[request_id] for request_id in board.in_group(group)]
        due = [one.request_id for one in waiting if one.scheduled_at is None or one.scheduled_at <= now]
        return list(dict.fromkeys((*due, *board.places.running().by_group.get(group, ()))))

    async def _cancel(self, request_id: int, newer: int, group: Group) -> None:
        why = f"it is newer in the concurrency group `{group[2]}`, which cancels what is in progress"
        asked = CancelAsked(f"request {newer}", why)
        execution_id = self.board.by_request.get(request_id)
        reader = self.engine.store.read()
        request = reader.request(request_id)
        if request is None or request.state in TERMINAL:  # it has ended while another one was cancelled
            return
        if execution_id is None and request_id in self.board.waiting:
            found = self.version(request.version_id)
            message = f"cancelled by request {newer}: {why}"
            try:
                await end_unbegun(
                    self.engine, request, found[1] if found else None, State.CANCELLED, ERR_CANCELLED, message, ""
                )
            except Conflict:
                pass  # it has ended by itself
            execution_id = self.board.by_request.get(request_id)
        elif execution_id is None:
            self.board.superseded[request_id] = asked  # it begins just now
        execution = reader.execution(execution_id) if execution_id is not None else None
        if execution is not None and not execution.cancelled:  # a second time would end its always_run tasks too
            await self.engine.feed(execution.id, asked)


def _is_rendered(job: JobDefinition, version: Version) -> bool:
    """Whether its place, or whether it runs at all, is known only once its text is rendered."""
    return bool(job.skip_if or job.concurrency or job.resources) or _PLACE.search(version.text) is not None
