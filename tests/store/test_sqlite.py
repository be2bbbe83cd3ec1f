"""What is SQLite's own: durability, locks, migrations, permissions."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys

import pytest

from formicary.runner.core.errors import LostError, NotFound, SetupError, WorldError
from formicary.runner.core.states import State
from formicary.runner.store import schema
from formicary.runner.store.connect import FILE_NAME, open_query_only
from formicary.runner.store.sqlite import open_reader, open_store
from formicary.runner.store.writer import INDEX_AT_ONCE

# On disk before write returns

CHILD = """
import sys, anyio
from pathlib import Path
from formicary.runner.core.records import NewRequest, Version
from formicary.runner.store.sqlite import open_store

async def main():
    store = open_store(Path(sys.argv[1]))
    text = Version(id=0, job_type="j", version=0, digest="d", path="p", index=0, text="t")
    version = await store.write(lambda tx: tx.put_version(text))

    async def lane(number):
        n = 0
        while True:
            new = NewRequest(version_id=version.id, job_type="j", cause_key=f"{number}-{n}")
            await store.write(lambda tx: tx.create_request(new))
            print(new.cause_key, flush=True)
            n += 1

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(lane, number)

anyio.run(main)
"""


def test_every_acknowledged_write_outlives_kill_9(tmp_path):
    """D1: a child writes and says each write that returned; it is killed; every one that it said is there."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    ) as child:
        said = [child.stdout.readline().strip() for _ in range(150)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.read().split("\n")[:-1]
    store = open_store(tmp_path / "data")
    try:
        found, page = set(), 0
        while records := store.read().requests(page=page, page_size=1000).records:
            found |= {request.cause_key for request in records}
            page += 1
        assert len(said) >= 150
        assert set(said) <= found
        assert store.epoch == 2
    finally:
        store.close()


async def test_a_write_is_committed_and_synced_when_it_returns(world):
    """D1: WAL with synchronous=FULL syncs at every commit; a connection of somebody else sees it at once."""
    request = await world.request()
    with sqlite3.connect(world.folder / FILE_NAME) as other:
        assert other.execute("SELECT count(*) FROM requests WHERE id = ?", (request.id,)).fetchone() == (1,)
    other.close()

    def settings(db):
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode", "foreign_keys")]

    assert await world.store._writer.maintain(settings) == [2, "wal", 1]


async def test_a_batch_is_one_begin_one_commit_and_a_savepoint_each(world):
    """Group commit, seen from SQLite."""
    statements = []
    await world.store._writer.maintain(lambda db: db.set_trace_callback(statements.append))
    async with world.one_batch() as tasks:
        for _ in range(5):
            tasks.start_soon(world.request)
    await world.store._writer.maintain(lambda db: db.set_trace_callback(None))
    assert (statements.count("BEGIN IMMEDIATE"), statements.count("COMMIT")) == (2, 2)
    assert statements.count("SAVEPOINT change") == statements.count("RELEASE change") == 6


# The world fails


async def test_a_full_disk_fails_its_batch_and_the_store_goes_on(world):
    """A commit that fails is WorldError for all of its batch; nothing of it is there; the next one works."""

    def limit(db):
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 1}")

    await world.store._writer.maintain(limit)
    with pytest.raises(WorldError, match="full"):
        await world.request(description="x" * 100_000)
    await world.store._writer.maintain(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert world.store.read().requests().total_records == 0
    assert (await world.request()).id == 1


async def test_a_commit_that_fails_fails_every_change_of_its_batch(world):
    """A violation that shows at COMMIT (a deferred key) stands for a commit that fails."""
    await world.store._writer.maintain(lambda db: db.execute("CREATE TABLE p (id INTEGER PRIMARY KEY)"))
    child = "CREATE TABLE c (p INTEGER REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED)"
    await world.store._writer.maintain(lambda db: db.execute(child))
    outcomes = []

    async def write(change):
        try:
            await world.store.write(change)
            outcomes.append("ok")
        except WorldError:
            outcomes.append("world")

    def poison(tx):
        tx._execute("INSERT INTO c VALUES (7)")

    before = world.store.commits
    async with world.one_batch() as tasks:
        for change in (lambda tx: tx.create_request(world.new()), poison, lambda tx: tx.create_request(world.new())):
            tasks.start_soon(write, change)
    assert outcomes == ["world"] * 3
    assert world.store.commits == before + 1
    assert world.store.read().requests().total_records == 0
    assert (await world.request()).id == 1


async def test_a_broken_search_index_does_not_stop_the_queen(world, caplog):
    """D8: requests are written on, and found by everything but their words."""
    await world.store._writer.maintain(lambda db: db.execute("DROP TABLE requests_fts"))
    async with world.one_batch() as tasks:
        for _ in range(INDEX_AT_ONCE):
            tasks.start_soon(world.request)
    assert world.store.read().requests().total_records == INDEX_AT_ONCE
    assert "search index" in caplog.text
    await world.request()


async def test_a_newer_queen_ends_the_older_ones_writes(world):
    """Every transaction carries the epoch: one that is no longer the newest is refused."""
    with sqlite3.connect(world.folder / FILE_NAME) as newer:
        newer.execute("UPDATE store SET epoch = epoch + 1")
    newer.close()
    with pytest.raises(LostError, match="newer queen has taken over"):
        await world.request()
    assert world.store.read().requests().total_records == 0


async def test_rows_that_cannot_be_read_back_say_which(world):
    execution = await world.execution((await world.request()).id)

    def spoil(db):
        db.execute("UPDATE executions SET body = '{'")
        db.execute("DROP TRIGGER plans_never_change")
        db.execute("UPDATE plans SET body = '{'")

    await world.store._writer.maintain(spoil)
    with pytest.raises(LostError, match="cannot be read back"):
        world.store.read().execution(execution.id)
    world.store._memory.plans.drop(execution.id)
    with pytest.raises(LostError, match=f"plan of execution {execution.id} cannot be read back"):
        world.store.read().plan(execution.id)


async def test_a_database_that_cannot_be_read_is_the_worlds_fault(world):
    reader = world.store.read()
    await world.store._writer.maintain(lambda db: db.execute("DROP TABLE outbox"))
    with pytest.raises(WorldError, match=r"could not be read .*doctor"):
        reader.outbox_since(0)
    world.store.close()
    with pytest.raises(LostError, match="closed"):
        reader.outbox_since(0)


async def test_a_plan_never_changes(world):
    await world.execution((await world.request()).id)
    with pytest.raises(LostError, match="a plan never changes"):
        await world.store.write(lambda tx: tx._execute("UPDATE plans SET body = '{}'"))


async def test_a_wiped_secret_is_not_left_in_the_file(world):
    """T8: the secret of an ended request is overwritten, not only forgotten."""
    request = await world.request(secret_params={"Token": "correct-horse-battery"})
    await world.end(await world.execution(request.id))
    await world.store.optimize()
    files = [path for path in world.folder.iterdir() if path.name.startswith(FILE_NAME)]
    assert not [path for path in files if b"correct-horse" in path.read_bytes()]


# One folder, one queen


def test_a_second_queen_is_refused_and_told_who_serves(tmp_path):
    store = open_store(tmp_path / "data")
    try:
        with pytest.raises(SetupError, match=rf"in use by another Formicary \(process {os.getpid()}\).*--data"):
            open_store(tmp_path / "data")
    finally:
        store.close()
    open_store(tmp_path / "data").close()


async def test_a_reader_looks_on_beside_the_queen_and_alone(world):
    request = await world.request()
    with open_reader(world.folder) as reader:
        assert reader.request(request.id) == request
        await world.store.write(lambda tx: tx.end_request(request.id, State.CANCELLED))
        assert reader.request(request.id).ended_at is not None
    world.store.close()
    with open_reader(world.folder) as reader:
        assert reader.requests().total_records == 1


def test_a_reader_cannot_write(tmp_path):
    open_store(tmp_path).close()
    connection = open_query_only(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM requests")
    connection.close()


def test_a_reader_wants_a_database(tmp_path):
    with pytest.raises(SetupError, match="no Formicary data"):
        open_reader(tmp_path)
    (tmp_path / FILE_NAME).touch()
    with pytest.raises(SetupError, match="is empty"):
        open_reader(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(SetupError, match="formicary doctor"):
        open_reader(tmp_path)
    with pytest.raises(SetupError, match="formicary doctor"):
        open_store(tmp_path)


# Permissions


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_its_owners_alone(tmp_path):
    """T19: 0700 and 0600, whatever the umask; the files beside the database too."""
    before = os.umask(0)
    try:
        store = open_store(tmp_path / "a" / "data")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a" / "data") == 0o700
    assert {mode_of(path) for path in (tmp_path / "a" / "data").iterdir()} == {0o600}
    store.close()


def test_an_open_folder_is_closed_if_it_is_ours(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    open_store(data).close()
    assert mode_of(data) == 0o700
    data.chmod(0o755)
    open_store(data).close()
    assert mode_of(data) == 0o700


def test_an_open_folder_of_somebody_is_refused(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    (data / "holiday.jpg").touch()
    with pytest.raises(SetupError, match="chmod 700"):
        open_store(data)
    assert mode_of(data) == 0o755


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be used"):
        open_store(tmp_path / "file" / "data")


# The schema


def test_a_newer_schema_is_refused_in_one_sentence(tmp_path):
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for opener in (open_store, open_reader):
        with pytest.raises(SetupError, match=rf"version 99, .* up to {schema.VERSION}; install the newer"):
            opener(tmp_path)


def test_the_schema_version_counts_the_migrations():
    assert len(schema.MIGRATIONS._migrations) == schema.VERSION


def test_a_migration_that_was_interrupted_is_finished(tmp_path):
    """Killed between the full-text table and its trigger: the next start completes it."""
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    database = schema.Database(connection)
    schema.MIGRATIONS.apply(database, stop_before="2 search")
    database.table("requests").enable_fts(schema.SEARCHED)
    connection.close()
    store = open_store(tmp_path)
    assert store.read().requests(q="x").total_records == 0
    store.close()


async def test_a_number_that_no_row_can_have_is_not_found(world):
    """An address on a page may hold any number."""
    with pytest.raises(NotFound):
        world.store.read().request(10**20)
