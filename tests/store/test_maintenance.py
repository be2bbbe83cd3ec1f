"""What `formicary doctor` is told about the store."""

import shutil
import sqlite3
from collections import namedtuple

from formicary.runner.store import maintenance
from formicary.runner.store.connect import FILE_NAME
from formicary.runner.store.maintenance import check


def broken(findings):
    return {finding.part: finding.message for finding in findings if not finding.ok}


async def test_a_healthy_folder(world):
    await world.run()
    findings = check(world.folder)
    assert not broken(findings)
    parts = {"permissions", "write-ahead log", "disk", "integrity", "foreign keys", "schema"}
    assert {finding.part for finding in findings} == parts


def test_a_folder_without_data(tmp_path):
    assert "start `formicary serve`" in broken(check(tmp_path))["database"]


async def test_open_permissions_are_found(world):
    """T19."""
    world.folder.chmod(0o755)
    assert "chmod 700" in broken(check(world.folder))["permissions"]
    world.folder.chmod(0o700)
    (world.folder / FILE_NAME).chmod(0o640)
    assert "chmod 600" in broken(check(world.folder))["permissions"]


async def test_dangling_rows_and_a_foreign_schema_are_found(world):
    world.store.close()
    connection = sqlite3.connect(world.folder / FILE_NAME)
    connection.execute("INSERT INTO plans VALUES (99, '{}')")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    found = broken(check(world.folder))
    assert "plans" in found["foreign keys"]
    assert "newer Formicary" in found["schema"]


async def test_an_older_schema_is_found(world):
    world.store.close()
    connection = sqlite3.connect(world.folder / FILE_NAME)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert "bring it up to date" in broken(check(world.folder))["schema"]


async def test_damage_is_found(world):
    for _ in range(50):
        await world.request(description="x" * 500)
    await world.store.optimize()
    world.store.close()
    path = world.folder / FILE_NAME
    data = bytearray(path.read_bytes())
    for page in range(4, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    found = broken(check(world.folder))
    assert "backup" in found.get("integrity", "") + found.get("database", "")
    path.write_bytes(b"nothing like a database" * 1000)
    assert "cannot be read" in broken(check(world.folder))["database"]


async def test_a_large_log_and_a_full_disk_are_found(world, monkeypatch):
    monkeypatch.setattr(maintenance, "LARGE_WAL", 1)
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = broken(check(world.folder))
    assert set(found) == {"write-ahead log", "disk"}


async def test_vacuum_gives_room_back(world):
    for _ in range(60):
        await world.run(description="x" * 10_000)
    await world.store.optimize()
    before = (world.folder / FILE_NAME).stat().st_size
    await world.store.write(lambda tx: tx.expire(ended_before=5000.0, deliveries_before=0.0))
    await world.store.vacuum()
    assert (world.folder / FILE_NAME).stat().st_size < before / 2
    assert not broken(check(world.folder))
