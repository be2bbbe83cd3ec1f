"""A queen on a real store and a real git repository, and an ant that does what the test says."""

from contextlib import asynccontextmanager

import anyio
import pytest

from formicary.reconciler.reconciler import Reconciler
from formicary.runner.bus.memory import MemoryBus
from formicary.runner.core.execution import Result
from formicary.runner.core.logframes import frame
from formicary.runner.core.messages import Ant, LogChunk, Report
from formicary.runner.core.records import Repository
from formicary.runner.core.states import TERMINAL
from formicary.runner.queen.ask import Ask
from formicary.runner.queen.logs import Logs
from formicary.runner.queen.queen import Queen, QueenSettings
from formicary.runner.queen.sources import Sources
from formicary.runner.store.sqlite import open_store


class Hive:
    """Queen, reconciler and bus of one test; `ant()` joins a scripted ant."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.store = open_store(folder)
        self.bus = MemoryBus()
        self.logs = Logs(folder / "logs")
        self.sources = Sources()
        self.queen = Queen(self.store, self.bus, self.logs, self.sources, QueenSettings(**settings))
        self.reconciler = Reconciler(
            self.store,
            self.sources,
            self.queen.changes,
            created=self.queen.created,
            registered=self.queen.clockwork.look,
            poll=3600,
        )

    async def watch(self, repo, **fields):
        fields = {"name": repo.path.name, "path": str(repo.path), **fields}
        stored = await self.reconciler.add(Repository(id=0, **fields))
        return await self.reconciler.sync(stored.id)

    async def submit(self, job_type="ci", **fields):
        request, _ = await self.queen.submit(Ask(job_type=job_type, **fields))
        return request

    def requests(self, **filters):
        return list(self.store.read().requests(order="id", **filters).records)

    def request(self, request_id):
        return self.store.read().request(request_id)

    def execution(self, request_id):
        return self.store.read().execution(self.request(request_id).execution_id)

    async def until(self, wanted):
        """Wait until wanted() is true; it is asked again after each change."""
        with self.queen.changes.subscribe() as news, anyio.fail_after(10):
            while not wanted():
                await news.next()

    async def ended(self, request_id):
        await self.until(lambda: self.request(request_id).state in TERMINAL)
        return self.request(request_id)

    async def refused(self):
        """Submit `ci` while an ant waits for it, and give the request that ended without reaching the ant."""
        async with self.ant() as ant, anyio.create_task_group() as group:
            group.start_soon(ant.claim)
            ended = await self.ended((await self.submit()).id)
            group.cancel_scope.cancel()
        return ended

    @asynccontextmanager
    async def ant(self, ant_id="a1", hands=1, tags=(), methods=("SHELL",), **fields):
        ant = ScriptedAnt(self, Ant(ant_id=ant_id, hands=hands, tags=set(tags), methods=set(methods), **fields))
        async with self.bus.join(ant.ant):
            yield ant


class ScriptedAnt:
    def __init__(self, hive, ant):
        self.hive, self.ant = hive, ant

    async def claim(self):
        with anyio.fail_after(10):
            return await self.hive.bus.claim(self.ant.ant_id, 1)

    async def log(self, order, text, offset=0):
        data = frame(1.0, "out", text.encode())
        return await self.hive.bus.log(
            LogChunk(task_execution_id=order.task_execution_id, fence=order.fence, offset=offset, data=data)
        )

    async def report(self, order, kind="FINISHED", **result):
        await self.hive.bus.report(
            Report(
                task_execution_id=order.task_execution_id,
                fence=order.fence,
                ant_id=self.ant.ant_id,
                kind=kind,
                result=Result(**{"exit_code": 0, **result}) if kind == "FINISHED" else None,
                message="the ant says so" if kind == "LOST" else "",
            )
        )

    async def work(self, order, **result):
        await self.report(order, "EXECUTING")
        await self.report(order, **result)


@pytest.fixture
def open_hive(tmp_path):
    """A context manager: a hive whose queen and reconciler run; open it again for what a restart would find."""

    @asynccontextmanager
    async def opened(folder=None, **settings):
        hive = Hive(folder or tmp_path / "data", **settings)
        try:
            async with anyio.create_task_group() as group:
                await group.start(hive.queen.run)
                await group.start(hive.reconciler.run)
                yield hive
                group.cancel_scope.cancel()
        finally:
            hive.sources.close()
            hive.logs.close_all()
            hive.store.close()

    return opened


@pytest.fixture
async def hive(open_hive):
    async with open_hive() as opened:
        yield opened
