"""D8: what goes wrong with one thing ends that thing at most, and a disk that is full for a moment loses nothing."""

import os
import sqlite3
import time
from functools import partial

import anyio
import pytest

from formicary.runner.core.errors import WorldError
from formicary.runner.core.states import State
from formicary.runner.publish.outbox import Outbox
from formicary.runner.queen.dispatch import Dispatcher
from formicary.runner.queen.keeping.logs import Logs

ONE = "job_type: ci\nscript: [make]\n"


@pytest.fixture
def disk(hive, monkeypatch):
    """Lets the next writes fail as on a full disk: `disk(2)` = two of them; an event when the last has failed."""
    real, left, over = hive.store.write, [0], anyio.Event()

    async def write(change):
        if left[0]:
            left[0] -= 1
            if not left[0]:
                over.set()
            raise WorldError("the disk is full")
        return await real(change)

    monkeypatch.setattr(hive.store, "write", write)

    def fail(times):
        left[0] = times
        return over

    return fail


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("formicary.runner.queen.timers.AGAIN", 0.01)
    monkeypatch.setattr("formicary.runner.queen.dispatch.AGAIN", 0.01)


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_a_request_is_admitted_when_the_disk_has_room_again(hive, repo, disk, failures):
    """Neither the dispatcher nor the request ends, and no running job is counted that does not run."""
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    request = await hive.submit()
    disk(failures)
    async with hive.ant() as ant:
        await ant.work(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED
    assert not any(hive.queen._board.places._by_job.values())


async def test_a_ready_task_is_offered_again_when_the_disk_has_room(hive, repo, disk):
    two = "job_type: ci\ntasks:\n  - {task_type: a, script: [x]}\n  - {task_type: b, script: [y]}\n"
    repo.commit({".formicary/ci.yml": two})
    await hive.watch(repo)
    request = await hive.submit()
    async with hive.ant() as ant:
        first = await ant.claim()
        full = disk(2)
        async with anyio.create_task_group() as group:
            found = []

            async def second():
                found.append(await ant.claim())

            group.start_soon(second)
            await full.wait()
        await ant.work(first)
        await ant.work(found[0])
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_a_retry_that_is_due_while_the_disk_is_full_is_made_later(hive, repo, disk):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [x]\nretry: 1\ndelay_between_retries: 50ms\n"})
    await hive.watch(repo)
    request = await hive.submit()
    async with hive.ant() as ant:
        await ant.work(await ant.claim(), exit_code=1)
        await disk(2).wait()
        await ant.work(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_news_that_are_held_survive_a_write_that_fails(hive, repo, disk):
    """D2: a report that could not be written is said again by the ant, and nothing that was held before it is lost."""
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    request = await hive.submit()
    async with hive.ant() as ant:
        order = await ant.claim()
        await ant.report(order, "EXECUTING")
        disk(1)
        with pytest.raises(WorldError):
            await ant.report(order)
        await ant.report(order)
        assert (await hive.ended(request.id)).state is State.COMPLETED
        assert hive.execution(request.id).tasks["ci"].last.executing_at is not None


async def test_a_lost_ants_task_is_repeated_even_if_that_cannot_be_written_at_once(open_hive, repo, monkeypatch):
    """D2: the lease is looked at until its loss is on disk."""
    repo.commit({".formicary/ci.yml": ONE})
    async with open_hive(lease_seconds=0.1) as hive:
        await hive.watch(repo)
        request = await hive.submit()
        real, failed = hive.store.write, []

        async def write(change):
            if len(failed) < 2:
                failed.append(change)
                raise WorldError("the disk is full")
            return await real(change)

        async with hive.ant() as ant:
            await ant.claim()
            monkeypatch.setattr(hive.store, "write", write)
            again = await ant.claim()
            assert again.attempt == 2 and len(failed) == 2
            await ant.report(again)
            assert (await hive.ended(request.id)).state is State.COMPLETED


async def test_a_row_that_cannot_be_read_does_not_stop_the_start(open_hive, repo, tmp_path):
    repo.commit({".formicary/ci.yml": ONE})
    async with open_hive() as hive:
        await hive.watch(repo)
        async with hive.ant("far") as ant:
            broken, fine = await hive.submit(), await hive.submit()
            await ant.claim()
            order = await ant.claim()
            hive.queen._board.workers["far"].running.clear()
            number = hive.request(broken.id).execution_id
    with sqlite3.connect(tmp_path / "data/formicary.db") as database:
        database.execute("UPDATE executions SET body = '{' WHERE id = ?", (number,))
    database.close()
    async with open_hive() as hive, hive.ant("far") as ant:
        await ant.report(order)
        assert (await hive.ended(fine.id)).state is State.COMPLETED


async def test_a_cancel_that_meets_the_start_of_its_job_is_not_lost(hive, repo, monkeypatch):
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    request = await hive.submit()
    real = Dispatcher.end_waiting

    async def end_waiting(self, *args, **fields):
        """The job begins after the queen has seen that it waits, and before that is written."""
        await hive.until(lambda: hive.queen._board.live)
        await real(self, *args, **fields)

    monkeypatch.setattr(Dispatcher, "end_waiting", end_waiting)
    async with hive.ant() as ant, anyio.create_task_group() as group:
        group.start_soon(partial(hive.queen.cancel, request.id, by="ada"))
        order = await ant.claim()
        await hive.until(lambda: hive.execution(request.id).cancelled)
        await ant.report(order, exit_code=None, error_code="ERR_CANCELLED")
    assert (await hive.ended(request.id)).state is State.CANCELLED


async def test_a_look_that_fails_in_an_unforeseen_way_ends_nothing(hive, repo, make_repo, monkeypatch):
    other = make_repo("other")
    for one in (repo, other):
        one.commit({".formicary/ci.yml": ONE})
    real = hive.sources.definitions

    def definitions(path, *rest):
        if path == str(other.path):
            raise ValueError("unforeseen")
        return real(path, *rest)

    monkeypatch.setattr(hive.sources, "definitions", definitions)
    found = await hive.watch(other)
    assert found.state == "unavailable" and "unforeseen" in found.error
    assert (await hive.watch(repo)).state == "ok"


async def test_the_outbox_goes_on_when_the_store_failed(hive, monkeypatch):
    monkeypatch.setattr("formicary.runner.publish.outbox.AGAIN", 0.01)
    told, real, done, failures = [], hive.store.write, anyio.Event(), []

    class Publisher:
        kind = "site"

        async def publish(self, key, payload):
            told.append(key)

    async def write(change):
        if len(failures) < 2:
            failures.append(change)
            raise WorldError("the disk is full")
        result = await real(change)
        done.set()
        return result

    await hive.store.write(lambda tx: tx.owe("site", "request:1", {}))
    monkeypatch.setattr(hive.store, "write", write)
    outbox = Outbox(hive.store, [Publisher()], time.time)
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        with anyio.fail_after(5):
            await done.wait()
        group.cancel_scope.cancel()
    assert len(told) == 3
    assert hive.store.read().outbox_since(0) == []


def test_a_log_goes_on_after_a_write_that_was_cut_off(tmp_path, monkeypatch):
    """D13: what a full disk took of a chunk is not written a second time."""
    logs, real = Logs(tmp_path), os.write
    logs.append("1-1", 0, b"first ")

    def write(descriptor, data):
        real(descriptor, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError):
        logs.append("1-1", 6, b"second")
    monkeypatch.setattr(os, "write", real)
    assert logs.append("1-1", 6, b"second") == 12
    assert logs.read("1-1") == b"first second"
    logs.close_all()


async def test_reasons_of_many_that_wait_come_from_one_look(hive, repo, monkeypatch):
    """A page of 200 among thousands that wait must not look at thousands 200 times."""
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    first = await hive.submit()
    looks, real = [], Dispatcher.look
    monkeypatch.setattr(Dispatcher, "look", lambda self: looks.append(1) or real(self))
    assert {hive.queen.why(first.id) for _ in range(100)} == {"no ant is connected"}
    second = await hive.submit()
    assert hive.queen.why(second.id) == "no ant is connected"
    assert len(looks) <= 4
    hive.queen._board.unqueue(second.id)
    hive.queen._dispatcher._looked = None
    assert hive.queen._dispatcher.reason(second.id) is None


async def test_a_request_that_cannot_be_looked_at_now_is_taken_up_later(hive, repo, monkeypatch):
    """D1: it was answered for and is on disk, so it runs; and so does the one after it."""
    monkeypatch.setattr("formicary.runner.queen.queen.AGAIN", 0.01)
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    real, failures = hive.queen._version, []

    def version(number):
        if len(failures) < 2 and hive.requests():
            failures.append(number)
            raise WorldError("the database is locked")
        return real(number)

    monkeypatch.setattr(hive.queen, "_version", version)
    request = await hive.submit()
    async with hive.ant() as ant:
        await ant.report(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED
    assert len(failures) == 2


async def test_a_pass_that_fails_is_not_the_last_one(hive, repo, monkeypatch):
    repo.commit({".formicary/ci.yml": ONE})
    await hive.watch(repo)
    real, failures = Dispatcher._admissions, []

    def admissions(self, *given):
        if len(failures) < 2:
            failures.append(1)
            raise ValueError("unforeseen")
        return real(self, *given)

    monkeypatch.setattr(Dispatcher, "_admissions", admissions)
    request = await hive.submit()
    async with hive.ant() as ant:
        await ant.report(await ant.claim())
        assert (await hive.ended(request.id)).state is State.COMPLETED
