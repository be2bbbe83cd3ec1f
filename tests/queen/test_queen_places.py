"""Whatever happens to jobs, in any order: no more units are held than there are, one of a group runs, and in the end
every place is free."""

from __future__ import annotations

import random
from contextlib import suppress

import anyio
import pytest

from formicary.runner.core.errors import Conflict
from formicary.runner.core.records import JobResource
from formicary.runner.core.states import TERMINAL, State

JOBS = {
    "whole": "resources: {resource_type: db, value: 2}\nretry: 1\ntasks:\n"
    "  - {task_type: a, script: [x], on_exit_code: {'3': PAUSE_JOB, '4': RESTART_JOB}}\n"
    "  - {task_type: z, script: [x], always_run: true}\n",
    "parts": "tasks:\n  - {task_type: a, script: [x], resources: {resource_type: db}, retry: 1}\n"
    "  - {task_type: b, script: [x], resources: {resource_type: db, value: 2}, on_exit_code: {'3': RESTART_TASK}}\n",
    "group": "concurrency: {group: g}\nresources: {resource_type: db}\nscript: [x]\n",
    "newest": "concurrency: {group: g, cancel_in_progress: true}\nscript: [x]\n",
    "plain": "script: [x]\n",
}
RESULTS = [{}, {}, {}, {"exit_code": 1}, {"exit_code": 3}, {"exit_code": 4}]


class Chaos:
    def __init__(self, hive, seed):
        self.hive, self.random, self.stops = hive, random.Random(seed), 0
        self.asked = []

    async def work(self, ant, quiet):
        """Take what comes; now and then it gets lost."""
        while True:
            order = await self.hive.bus.claim(ant.ant.ant_id, 1)
            self.check()
            await anyio.lowlevel.checkpoint()
            if not quiet.is_set() and self.random.random() < 0.1:
                await ant.report(order, "LOST")
            else:
                result = {} if quiet.is_set() else self.random.choice(RESULTS)
                await ant.work(order, **result)
            self.check()

    def check(self):
        places = self.hive.queen._board.places
        assert all(0 <= units <= 3 for units in places._units.values()), places._units
        assert all(count >= 0 for count in places._by_job.values())
        running = [
            one.request.id
            for one in self.hive.queen._board.live.values()
            if not one.resting and one.plan.definition.concurrency and not self.is_cancelled(one)
        ]
        assert len(running) <= 1, running

    def is_cancelled(self, live):
        return self.hive.store.read().execution(live.execution_id).cancelled

    async def meddle(self):
        for _ in range(60):
            choice = self.random.random()
            try:
                if choice < 0.6 or not self.asked:
                    self.asked.append((await self.hive.submit(self.random.choice(list(JOBS)))).id)
                else:
                    verb = self.random.choice([self.hive.queen.cancel, self.hive.queen.pause, self.hive.queen.resume])
                    await verb(self.random.choice(self.asked), by="ada")
            except Conflict:
                pass  # it has ended, or does not rest
            self.check()
            await anyio.sleep(0.002)


@pytest.mark.parametrize("seed", range(3))
async def test_places_are_free_in_the_end(hive, repo, seed):
    head = "job_type: {name}\nmax_concurrency: 3\npause_time: 20ms\n{text}"
    repo.commit({f".formicary/{name}.yml": head.format(name=name, text=text) for name, text in JOBS.items()})
    await hive.watch(repo)
    await hive.queen.registry.put_resource(JobResource(resource_type="db", quota=3))
    chaos, quiet, board = Chaos(hive, seed), anyio.Event(), hive.queen._board
    async with hive.ant(hands=4) as ant, anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(chaos.work, ant, quiet)
        await chaos.meddle()
        quiet.set()
        with anyio.fail_after(20):
            while board.live or any(one.state not in TERMINAL for one in hive.requests()):
                for one in hive.requests(states=[State.PAUSED]):
                    with suppress(Conflict):
                        await hive.queen.resume(one.id, by="ada")
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert hive.queen.registry.held() == {}
    assert not any(board.places._by_job.values()) and not board.places._by_group
    assert (board.live, board.waiting, board.needy, board.offers, board.superseded) == ({}, {}, 0, {}, {})
