"""A queen whose statuses go to a strict double of GitHub, by way of the outbox."""

import time
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from forges import TOKEN

from formicary.runner.publish.github import GitHub
from formicary.runner.publish.outbox import Outbox
from formicary.runner.publish.statuses import StatusPublisher
from formicary.runner.queen.told import Told
from formicary.runner.telling.statuses import status_effect, sync_owed


class Board:
    """A hive whose statuses go to a double."""

    def __init__(self, hive, double, api, forge="github"):
        self.hive, self.double, self.api, self.forge = hive, double, api, forge

    async def watch(self, repo, **fields):
        fields = {"forge": self.forge, "slug": "acme/app", "api_url": self.api, **fields}
        return await self.hive.watch(repo, **fields)

    async def landed(self, count):
        return await anyio.to_thread.run_sync(self.double.wait, count)

    async def told(self):
        """Nothing is owed any more that lives."""
        with anyio.fail_after(15):
            while self.hive.store.read().outbox_counts().living:
                await anyio.sleep(0.02)

    def dead(self):
        return list(self.hive.store.read().outbox(dead=True).records)


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr("formicary.runner.telling.statuses.COALESCE", 0.1)
    monkeypatch.setattr("formicary.runner.publish.outbox.LONGEST_PAUSE", 0.2)


@pytest.fixture
def world(open_hive, github, quickly):
    """A hive, the outbox and a double; `api` is what lies between them, else the double itself."""

    @asynccontextmanager
    async def opened(double=None, api="", token=TOKEN, mask=str, folder=None, make=GitHub, name="github"):
        double = double or github()
        async with open_hive(folder, told=Told([status_effect], [sync_owed])) as hive:
            forge = make(lambda *_: token)
            publisher = StatusPublisher(
                read=hive.store.read,
                forges={name: forge},
                job_of=hive.queen.job_of,
                why=hive.queen.why,
                problems_of=lambda repository, commit: hive.sources.definitions(repository.path, commit).problems,
                mask=mask,
                url="https://ci.example",
            )
            outbox = Outbox(hive.store, [publisher], time.time)
            hive.store.when_owed(outbox.wake)
            async with anyio.create_task_group() as group:
                group.start_soon(outbox.run)
                yield Board(hive, double, api or double.url, name)
                group.cancel_scope.cancel()
            forge.close()

    return opened
