"""Stores to test, and the little world that most tests want."""

import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.execution import Attempt, Execution, Plan, TaskRun
from formicary.runner.core.records import Lease, NewRequest, Version
from formicary.runner.core.states import State
from formicary.runner.store.sqlite import SqliteStore, open_store

#: Every implementation of the protocol: name → open(folder, clock). A new one passes the contract with one more line.
IMPLEMENTATIONS = {"sqlite": lambda folder, clock: open_store(folder, clock=clock)}


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


PLAN = Plan(
    definition=JobDefinition(
        job_type="build",
        job_variables={"A": 1, "B": 1.5, "C": True, "D": None, "E": ["x", {"y": 2}]},
        tasks=(TaskDefinition(task_type="a", script=("true",), allow_failure=(3,), except_="false"),),
    ),
    tainted=("A",),
)


def one_task(request_id: int, state: State = State.STARTED) -> Callable[[int], Execution]:
    """Makes an execution whose only task is under way."""

    def make(execution_id: int) -> Execution:
        attempt = Attempt(id=f"{execution_id}-1", number=1, fence=1, ant_id="ant", state=State.STARTED)
        run = TaskRun(name="a", state=State.STARTED, attempts=(attempt,))
        return Execution(
            id=execution_id, request_id=request_id, state=state, created_at=1.0, next_number=2, tasks={"a": run}
        )

    return make


def lease(execution: Execution, **values) -> Lease:
    given = {"ant_id": "ant", "fence": 1, "deadline": 1030.0, "task_type": "a", **values}
    return Lease(
        task_execution_id=f"{execution.id}-1", execution_id=execution.id, request_id=execution.request_id, **given
    )


def some_version(**values) -> Version:
    given = {"id": 0, "job_type": "build", "version": 0, "digest": "d1", "path": "p.yml", "index": 0, "text": "text"}
    return Version(**{**given, **values})


@dataclass
class World:
    """A store with one version, and short words for what tests do with it."""

    store: SqliteStore
    clock: Clock
    folder: Path
    version_id: int = 0
    plan = PLAN
    one_task = staticmethod(one_task)
    lease = staticmethod(lease)
    some_version = staticmethod(some_version)

    def new(self, **values) -> NewRequest:
        return NewRequest(**{"version_id": self.version_id, "job_type": "build", **values})

    async def request(self, **values):
        request, _ = await self.store.write(lambda tx: tx.create_request(self.new(**values)))
        return request

    async def execution(self, request_id, state=State.STARTED):
        return await self.store.write(lambda tx: tx.create_execution(request_id, one_task(request_id, state), PLAN))

    async def end(self, execution, state=State.COMPLETED, **values):
        self.clock.now += 1
        ended = execution.model_copy(update={"state": state, "ended_at": self.clock.now, **values})
        await self.store.write(lambda tx: tx.save_execution(ended))
        return ended

    @asynccontextmanager
    async def one_batch(self):
        """A task group whose writes gather while a commit is under way, so that they become one commit."""
        gate, held = threading.Event(), threading.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.store.write, lambda tx: (held.set(), gate.wait(30)))
            try:
                await anyio.to_thread.run_sync(held.wait, 30)
                yield tasks
                await anyio.wait_all_tasks_blocked()
            finally:
                gate.set()

    async def run(self, state=State.COMPLETED, **values):
        """A request that has run to its end."""
        request = await self.request(**values)
        await self.end(await self.execution(request.id), state)
        return self.store.read().request(request.id)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=IMPLEMENTATIONS)
def reopen(request, tmp_path, clock):
    """Opens the store of this test again and again; what is still open at the end is closed."""
    opened = []

    def opener():
        for store in opened:
            store.close()
        opened.append(IMPLEMENTATIONS[request.param](tmp_path / "data", clock))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
async def world(reopen, clock, tmp_path) -> World:
    world = World(reopen(), clock, tmp_path / "data")
    version = await world.store.write(lambda tx: tx.put_version(some_version()))
    world.version_id = version.id
    return world
