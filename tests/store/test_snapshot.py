"""A copy of the database while it is written: one moment, and nobody waits for it."""

import sqlite3
import threading
import time

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from formicary.runner.core.errors import SetupError
from formicary.runner.store import snapshot
from formicary.runner.store.connect import FILE_NAME
from formicary.runner.store.sqlite import open_reader, open_store


def nothing(done, pages):
    """Nobody wants to know how far it is."""


@pytest.fixture
def into(tmp_path):
    made = tmp_path / "copy"
    made.mkdir()
    return made


async def test_a_copy_is_of_one_moment_while_others_write(world, into, monkeypatch):
    """It is neither torn nor begun anew, though every step finds a database that was changed."""
    for _ in range(20):
        await world.run(description="x" * 10_000)
    monkeypatch.setattr(snapshot, "PAGES", 5)
    steps = []

    def step(done, pages):
        steps.append((done, pages))
        anyio.from_thread.run(world.run)  # a commit between two steps of the copy

    await anyio.to_thread.run_sync(snapshot.copy, world.folder, into, step)
    done = [one for one, _ in steps]
    assert done == sorted(set(done)), "it never begins anew"
    assert len(steps) > 10
    assert snapshot.examine(into) == []
    assert snapshot.contents(into).requests == 20
    assert world.store.read().requests(page_size=1).total_records == 20 + len(steps)


async def test_writers_do_not_wait_for_a_copy(world, into, monkeypatch):
    """While a copy rests between two steps, commits go on."""
    await world.run(description="x" * 100_000)
    monkeypatch.setattr(snapshot, "PAGES", 5)
    began, go_on = threading.Event(), threading.Event()

    def rest(done, pages):
        began.set()
        assert go_on.wait(10)

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, snapshot.copy, world.folder, into, rest)
        await anyio.to_thread.run_sync(began.wait, 10)
        start = time.monotonic()
        for _ in range(20):
            await world.run()
        took = time.monotonic() - start
        go_on.set()
    assert took < 5, "they waited for the copy"
    assert snapshot.contents(into).requests == 1


async def test_what_a_copy_names(world, into):
    request = await world.request()
    await world.run()
    running = await world.execution(request.id)
    snapshot.copy(world.folder, into, nothing)
    found = snapshot.contents(into)
    assert found.requests == 2
    assert found.attempts[f"{running.id}-1"] is True
    assert sorted(found.attempts.values()) == [False, True]
    assert (into / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_what_is_wrong_with_a_copy_is_said(world, into):
    await world.run()
    snapshot.copy(world.folder, into, nothing)
    assert snapshot.examine(into) == []
    connection = sqlite3.connect(into / FILE_NAME)
    connection.execute("INSERT INTO plans VALUES (99, '{}')")
    connection.commit()
    assert "plans" in snapshot.examine(into)[0]
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "version 99" in snapshot.examine(into)[0]
    (into / FILE_NAME).write_bytes(b"no database" * 1000)
    assert "cannot be read" in snapshot.examine(into)[0]


async def test_the_epoch_of_a_restored_copy_is_above_all_others(world, into):
    """A queen that served the original, started however often since, is refused by whoever compares epochs."""
    snapshot.copy(world.folder, into, nothing)
    snapshot.begin_anew(into, 1_800_000_000.5)
    store = open_store(into)
    try:
        assert store.epoch == 1_800_000_001 > world.store.epoch + 1_000_000
    finally:
        store.close()
    snapshot.begin_anew(into, 5.0)
    store = open_store(into)
    try:
        assert store.epoch == 1_800_000_003, "it never falls, whatever the clock says"
    finally:
        store.close()


async def test_no_id_of_a_restored_copy_was_used_since(world, into):
    """Logs, bytes and links outside are filed under ids: those of the original after the copy are left out."""
    snapshot.copy(world.folder, into, nothing)
    late = await world.run()
    snapshot.begin_anew(into, 5.0)
    store = open_store(into)
    try:
        again = await store.write(lambda tx: tx.create_request(world.new()))
        execution = await store.write(
            lambda tx: tx.create_execution(again[0].id, world.one_task(again[0].id), world.plan)
        )
        assert again[0].id == snapshot.GAP + 1 > late.id
        assert execution.id == snapshot.GAP + 1
        version = await store.write(lambda tx: tx.put_version(world.some_version(digest="d2")))
        assert version.id == world.version_id + snapshot.GAP + 1
    finally:
        store.close()


def test_folders_that_have_nothing_to_copy(tmp_path, into):
    with pytest.raises(SetupError, match="no Formicary data"):
        snapshot.copy(tmp_path, into, nothing)
    sqlite3.connect(tmp_path / FILE_NAME).close()
    (tmp_path / FILE_NAME).touch()
    with pytest.raises(SetupError, match="is empty"):
        snapshot.copy(tmp_path, into, nothing)


async def test_a_newer_schema_is_not_copied(world, into):
    connection = sqlite3.connect(world.folder / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SetupError, match="newer Formicary"):
        snapshot.copy(world.folder, into, nothing)


async def test_a_copy_can_be_read_and_forgets(world, into):
    snapshot.copy(world.folder, into, nothing)
    snapshot.forget(into, ["0" * 64])
    with open_reader(into) as reader:
        assert reader.versions("build").total_records == 1
