"""What is SQLite's own: durability, locks, the schema, permissions, the shape of its queries."""

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from formicary.runner.core.errors import LostError, SetupError, WorldError
from formicary.runner.core.states import State
from formicary.runner.store import rows, schema
from formicary.runner.store.connect import FILE_NAME, open_query_only
from formicary.runner.store.lists import RequestFilter, page_of_ids, rows_of, totals
from formicary.runner.store.sql import QUERIES, SQL, parse
from formicary.runner.store.sqlite import open_reader, open_store

STORE = Path(schema.__file__).parent

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


@pytest.fixture
def database(tmp_path):
    open_store(tmp_path).close()
    connection = open_query_only(tmp_path)
    yield connection
    connection.close()


SHAPES = {
    "repositories": rows.REPOSITORY,
    "refs": rows.REF,
    "versions": rows.VERSION,
    "definitions": rows.DEFINITION,
    "requests": rows.REQUEST,
    "artifacts": rows.ARTIFACT,
    "deliveries": rows.DELIVERY,
    "tokens": rows.TOKEN,
    "outbox": rows.OUTBOX,
    "leases": rows.LEASE,
}


@pytest.mark.parametrize("table", SHAPES)
def test_a_table_has_a_column_for_every_field_and_no_other(database, table):
    """Columns are the fields of the record; leases know their organization besides."""
    columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    assert columns - {"organization_id"} == set(SHAPES[table].fields) - {"organization_id"}


WITHOUT_ORGANIZATION = {"store", "refs", "crons", "request_secrets", "plans", "loose_digests"}
"""The store itself, and parts that are only reached through a row that has one."""


def test_every_table_that_needs_it_knows_its_organization(database):
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    ours = {name for name in tables if not name.startswith(("sqlite_", "_sqlite", "requests_fts"))}
    without = {
        name
        for name in ours
        if "organization_id" not in {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
    }
    assert without == WITHOUT_ORGANIZATION


# The queries

SMALL = {
    "store",
    "leases",
    "repositories",
    "definitions",
    "tokens",
    "ended",
    "loose",
    "outbox",
    "loose_digests",
    "refs",
}
"""Tables that stay small, or (outbox) whose list is walked by its key."""


def plan_of(database, text):
    names = dict.fromkeys(re.findall(r":(\w+)", text))
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {text}", names)]


def scans(plan):
    """Tables that are read whole: a walk along an index, or by id up to a limit, is none."""
    return {step.split()[1] for step in plan if step.startswith("SCAN") and "USING" not in step}


@pytest.mark.parametrize("name", [name for name in QUERIES if not SQL[name].startswith("INSERT")])
def test_no_statement_reads_a_big_table_whole(database, name):
    """D14: every list has an index; nothing is sorted that may be long."""
    plan = plan_of(database, SQL[name])
    assert not scans(plan) - SMALL, plan
    if name not in {"definition_of_repository", "definitions_named", "count_ended", "live_executions"}:
        assert not [step for step in plan if "TEMP B-TREE" in step], plan


@pytest.mark.parametrize("name", [n for n in QUERIES if SQL[n].startswith("SELECT") and "ORDER BY" in SQL[n]])
def test_every_list_has_a_limit(name):
    """D14."""
    assert "LIMIT" in SQL[name]


WANTED = [
    RequestFilter(),
    RequestFilter(organization_id="o"),
    RequestFilter(repository_id=1),
    RequestFilter(repository_id=1, job_type="j"),
    RequestFilter(job_type="j"),
    RequestFilter(ref="r"),
    RequestFilter(commit="c"),
    RequestFilter(states=("FAILED",)),
    RequestFilter(states=("FAILED", "PENDING")),
    RequestFilter(states=("FAILED", "PENDING"), organization_id="o", job_type="j", ref="r"),
    RequestFilter(q="word"),
    RequestFilter(q="word", states=("FAILED", "PENDING")),
]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_lists_of_requests_walk_an_index(database, wanted):
    """D14: only the list without any filter walks the table, by id and up to its limit."""
    statement = page_of_ids(wanted, 0, 200)
    scanned = scans(plan_of(database, statement.text))
    if wanted != RequestFilter():
        assert "requests" not in scanned
    for total in totals(wanted):
        assert "requests" not in scans(plan_of(database, total.text))
    assert "requests" not in scans(plan_of(database, rows_of([1, 2], "-id").text))


def test_every_statement_says_what_it_is_for_and_is_used():
    sources = "".join(path.read_text() for path in STORE.glob("*.py"))
    for query in QUERIES.values():
        assert query.purpose.endswith("."), query.name
        assert f'"{query.name}"' in sources, f"{query.name} is used by nobody"
    with pytest.raises(ValueError, match="two statements called a"):
        parse("-- name: a\n-- One.\nSELECT 1\n\n-- name: a\n-- Two.\nSELECT 2\n")


def test_a_field_without_a_column_kind_is_refused_at_the_start():
    class Odd(rows.Record):
        when: complex

    with pytest.raises(TypeError, match="no column kind"):
        rows.Shape(Odd)
