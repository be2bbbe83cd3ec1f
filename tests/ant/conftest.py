"""A queen of the tests' own, and an ant that works for her."""

import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from formicary.ant.ant import Ant
from formicary.ant.settings import AntSettings
from formicary.executors.docker_settings import DockerSettings
from formicary.executors.dummy import DummyExecutor
from formicary.executors.process_group import Hands
from formicary.executors.registry import Registry
from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.bus.memory import MemoryBus
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import StaleFence
from formicary.runner.core.logframes import parse
from formicary.runner.core.messages import TaskOrder

BOUND = 30
NO_ENGINE = DockerSettings("off")


class DeskOfTests:
    """Gives out orders, keeps logs as the queen's files do, and remembers the reports."""

    def __init__(self):
        self._send, self._orders = anyio.create_memory_object_stream(1000)
        self.reports = []
        self.beats = []
        self.logs = {}
        self.refuse = set()
        self.present = []
        self._changed = anyio.Event()
        self.silent = False
        """Final reports are heard, and not acknowledged while this holds."""

    def close(self):
        self._send.close()
        self._orders.close()

    def give(self, order):
        self._send.send_nowait(order)
        return order.task_execution_id

    def joined(self, ant):
        self.present.append(ant)
        self._tell()

    async def left(self, ant_id, *, lost):
        self.present.clear()

    async def claim(self, ant_id, free):
        return await self._orders.receive()

    async def heartbeat(self, ant_id, fences):
        self.beats.append(dict(fences))
        self._tell()
        return frozenset(self.refuse & fences.keys())

    async def report(self, report):
        self.reports.append((report, bytes(self.logs.get(report.task_execution_id, b""))))
        self._tell()
        while self.silent and report.kind != "EXECUTING":
            await self._changed.wait()

    async def log(self, chunk):
        if chunk.task_execution_id in self.refuse:
            raise StaleFence
        log = self.logs.setdefault(chunk.task_execution_id, bytearray())
        if chunk.offset <= len(log):
            log += chunk.data[len(log) - chunk.offset :]
        self._tell()
        return len(log)

    def _tell(self):
        self._changed.set()
        self._changed = anyio.Event()

    # ---- what tests ask

    async def until(self, condition):
        with anyio.fail_after(BOUND):
            while not condition():
                await self._changed.wait()

    def last(self, task_execution_id):
        return next(
            (
                one
                for one, _ in reversed(self.reports)
                if one.task_execution_id == task_execution_id and one.kind != "EXECUTING"
            ),
            None,
        )

    async def finished(self, task_execution_id):
        """The final report, which must have come after the last byte of the log (D13)."""
        await self.until(lambda: self.last(task_execution_id))
        log_then = self.reports[-1][1] if self.reports[-1][0].task_execution_id == task_execution_id else None
        assert log_then is None or log_then == self.logs.get(task_execution_id, b"")
        return self.last(task_execution_id)

    async def executing(self, task_execution_id):
        await self.until(
            lambda: (task_execution_id, "EXECUTING") in [(one.task_execution_id, one.kind) for one, _ in self.reports]
        )

    def frames(self, task_execution_id):
        return [(frame.stream, frame.data) for frame in parse(bytes(self.logs[task_execution_id]))]

    def raw(self, task_execution_id):
        return b"".join(data for stream, data in self.frames(task_execution_id) if stream == "out")

    def sys(self, task_execution_id):
        return b"\n".join(data for stream, data in self.frames(task_execution_id) if stream == "sys").decode()


_numbers = iter(range(1, 10**9))


def make_order(method="DUMMY", *, environment=None, order=None, **task):
    number = next(_numbers)
    task = {"task_type": "t", "method": method, "script": ("run it",), **task}
    fields = {
        "task_execution_id": f"1-{number}",
        "fence": number,
        "request_id": 1,
        "execution_id": 1,
        "organization_id": "default",
        "repository_id": 7,
        "cache_scope": "one-repository",
        "job_type": "ci",
        "task": TaskDefinition(**task),
        "environment": environment or {},
        **(order or {}),
    }
    return TaskOrder(**fields)


class BusOfTests(MemoryBus):
    """Says when a final report was tried."""

    def __init__(self):
        super().__init__()
        self.tried = anyio.Event()

    async def report(self, report):
        if report.kind != "EXECUTING":
            self.tried.set()
        await super().report(report)


class Colony:
    """One queen of the tests', one bus, one ant."""

    def __init__(self, folder):
        self.folder = folder
        self.desk = DeskOfTests()
        self.bus = BusOfTests()
        self.objects = DirectoryStore(folder / "objects")
        self.work = folder / "work"
        self.ant = None

    @asynccontextmanager
    async def running(self, *, hands=1, grace=1.0, docker=NO_ENGINE, **settings):
        async with Hands(hands) as pool:
            registry = Registry(pool, grace, extra={"DUMMY": lambda: DummyExecutor}, docker=docker)
            self.ant = Ant(self.bus, registry, self.objects, self.work, AntSettings("ant", hands=hands, **settings))
            async with anyio.create_task_group() as group:
                await group.start(self.ant.run)
                yield self.ant
                self.ant.drain()
            await registry.aclose()

    async def do(self, order, **settings):
        """One order from its claim to its report."""
        async with self.bus.serve(self.desk), self.running(**settings):
            return await self.desk.finished(self.desk.give(order))


@pytest.fixture
def open_folder():
    """A folder that every user may pass through (pytest's own are closed)."""
    folder = Path(tempfile.mkdtemp(prefix="formicary-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def colony(open_folder):
    made = Colony(open_folder)
    yield made
    made.desk.close()


@pytest.fixture
def an_order():
    return make_order
