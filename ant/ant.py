"""The ant: as many hands as it was given, each claims an order and carries it out; one heartbeat for all of them (D2).

Heartbeats go on until the last result is acknowledged (D4). To drain is to stop claiming and finish, within bounds.
While the queen is away the hands work on (D7).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskGroup, TaskStatus

from formicary.ant.kit import Kit
from formicary.ant.persist import persistently
from formicary.ant.places import Places
from formicary.ant.settings import AntSettings
from formicary.ant.task import Task
from formicary.ant.uids import Uids
from formicary.ant.workspace import Place, Work, remove_tree
from formicary.executors.registry import Registry
from formicary.runner.artifacts import ObjectStore
from formicary.runner.bus import Bus
from formicary.runner.core.errors import LostError, WorldError
from formicary.runner.core.messages import Ant as Present
from formicary.runner.core.messages import Report, Source, TaskOrder

FILE_THREADS: Final = 4
AWAY_DELAY: Final = 0.5
"""Seconds between two looks whether the queen is there again."""

FIRST_LOOK: Final = 1.0
LONGEST_LOOK: Final = 10.0
"""Seconds between two looks for a container engine."""

_logger = logging.getLogger(__name__)


class Ant:
    """One ant. `run` it once; `drain` ends it gently, cancelling `run` at once."""

    def __init__(
        self,
        bus: Bus,
        executors: Registry,
        objects: ObjectStore,
        work: Path,
        settings: AntSettings,
        ready: Callable[[Source], Awaitable[None]] | None = None,
    ) -> None:
        places = Places(work, settings.hands)
        threads = CapacityLimiter(FILE_THREADS)
        self._kit = Kit(bus, executors, objects, work, settings, threads, places, ready or _as_it_is)
        self._uids = Uids(settings.uid_range)
        self._tasks: dict[str, Task] = {}
        self._claims: set[anyio.CancelScope] = set()
        self._working = anyio.Event()
        self._draining = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until drained. Raises SetupError where its folder cannot be used."""
        work = Work(self._kit.work)
        try:
            if self._kit.settings.uid_range is not None:
                work.check_reachable()
            await self._run(work, task_status)
        finally:
            self._kit.places.close()
            self._uids.close()
            work.close()

    async def _run(self, work: Work, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as background:
            for path in work.leftovers():
                background.start_soon(self._remove_tree, path, name="remove leftovers")
            with anyio.move_on_after(FIRST_LOOK):  # an engine that hangs holds up nobody else's tasks
                await self._kit.executors.look()
            async with self._kit.bus.join(self._present()), anyio.create_task_group() as service:
                service.start_soon(self._hear_stops, name="stops")
                service.start_soon(self._look_for_engines, name="engines")
                service.start_soon(self._beat, name="heartbeat")
                service.start_soon(self._bound_drain, service, name="drain")
                task_status.started()
                async with anyio.create_task_group() as hands:
                    for number in range(self._kit.settings.hands):
                        hands.start_soon(self._hand, background, name=f"hand {number}")
                service.cancel_scope.cancel()

    def _present(self) -> Present:
        settings = self._kit.settings
        return Present(
            ant_id=settings.ant_id,
            tags=settings.tags,
            methods=self._kit.executors.offered,
            without=self._kit.executors.without,
            platform=settings.platform,
            hands=settings.hands,
            embedded=settings.embedded,
        )

    async def _look_for_engines(self) -> None:
        """An engine that comes later, or goes, is noticed: its tasks wait meanwhile."""
        executors, pause = self._kit.executors, FIRST_LOOK
        while True:
            before = executors.without
            await anyio.sleep(pause)
            await executors.look()
            if executors.without.keys() != before.keys():
                _logger.info("%s", executors.complaint or "a container engine answers now")
                await persistently(lambda: self._kit.bus.announce(self._present()), "saying what can be run")
            pause = min(2 * pause, LONGEST_LOOK)

    def drain(self) -> None:
        """Claim nothing more, finish what runs (within `drain_timeout`), and let `run` return."""
        self._draining.set()
        for scope in self._claims:
            scope.cancel()

    async def _bound_drain(self, service: TaskGroup) -> None:
        await self._draining.wait()
        await anyio.sleep(self._kit.settings.drain_timeout)
        _logger.warning("the ant did not finish within its drain timeout; its tasks are given back as lost")
        service.cancel_scope.cancel()

    # ---- hands

    async def _hand(self, background: TaskGroup) -> None:
        while (order := await self._claim()) is not None:
            await self._carry_out(order, background)

    async def _claim(self) -> TaskOrder | None:
        """The next order; None when draining."""
        while not self._draining.is_set():
            with anyio.CancelScope() as scope:
                self._claims.add(scope)
                try:
                    return await self._kit.bus.claim(self._kit.settings.ant_id, 1)
                except (WorldError, LostError, OSError) as error:
                    _logger.info("no claim: %s", error)
                    await anyio.sleep(AWAY_DELAY)
                except Exception:
                    _logger.exception("the claim failed")
                    await anyio.sleep(AWAY_DELAY)
                finally:
                    self._claims.discard(scope)
        return None

    async def _carry_out(self, order: TaskOrder, background: TaskGroup) -> None:
        with ExitStack() as stack:
            try:
                uid = stack.enter_context(self._uids.lend())
                place = self._kit.places.take(uid)
            except (LostError, OSError) as error:
                await self._give_back(order, str(error))
                return
            task = Task(self._kit, order, place)
            self._tasks[order.task_execution_id] = task
            self._working.set()
            try:
                await task.perform()
            except Exception:
                _logger.exception("task execution %s is left to its lease", order.task_execution_id)
            finally:
                del self._tasks[order.task_execution_id]
                if not self._kit.places.recycle(place):
                    background.start_soon(self._remove, place, stack.pop_all(), name="remove workspace")

    async def _give_back(self, order: TaskOrder, message: str) -> None:
        report = Report(
            task_execution_id=order.task_execution_id,
            fence=order.fence,
            ant_id=self._kit.settings.ant_id,
            kind="LOST",
            message=message,
        )
        try:
            await self._kit.bus.report(report)
        except Exception as error:
            _logger.warning("task execution %s is left to its lease: %s; %s", order.task_execution_id, message, error)

    async def _remove(self, place: Place, uid: ExitStack) -> None:
        """The user's number is free only when nothing of its task is left."""
        with uid:
            await self._remove_tree(place.root)

    async def _remove_tree(self, path: Path) -> None:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(remove_tree, path, limiter=self._kit.threads)

    # ---- leases

    async def _beat(self) -> None:
        """Extend all leases together, at a third of the shortest; what is refused is stopped."""
        while True:
            await self._working.wait()
            await anyio.sleep(self._interval())
            if not self._tasks:
                self._working = anyio.Event()
                continue
            fences = {name: task.order.fence for name, task in self._tasks.items()}
            try:
                refused = await self._kit.bus.heartbeat(self._kit.settings.ant_id, fences)
            except (WorldError, OSError) as error:
                _logger.info("no heartbeat: %s", error)
                continue
            except Exception:
                _logger.exception("the heartbeat failed")
                continue
            for name in refused:
                if (task := self._tasks.get(name)) is not None and task.order.fence == fences[name]:
                    task.disown()

    def _interval(self) -> float:
        return min((task.order.lease_seconds for task in self._tasks.values()), default=0.0) / 3

    async def _hear_stops(self) -> None:
        async for task_execution_id in self._kit.bus.stops(self._kit.settings.ant_id):
            if (task := self._tasks.get(task_execution_id)) is not None:
                task.stop()


async def _as_it_is(source: Source) -> None:
    """Repositories of this machine are whole."""
