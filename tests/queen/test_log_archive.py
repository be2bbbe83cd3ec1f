"""Logs that move into the object store after a while, and are read as if they had not."""

import os
import time

import pytest

from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.errors import WorldError
from formicary.runner.core.logframes import frame
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.retention import DAY, Keeping, Retention
from formicary.runner.queen.keeping.shelf import Shelf

CI = "job_type: ci\ntasks: [{task_type: t, script: [make]}]\n"
TEXT = b"".join(frame(time.time(), "out", os.urandom(50_000)) for _ in range(30))


class Objects(DirectoryStore):
    """A store that can be away, and counts what is asked of it."""

    away, opened = False, 0

    def _there(self):
        if self.away:
            raise WorldError("The bucket is away.")

    def put(self, source, *, durable=False):
        self._there()
        return super().put(source, durable=durable)

    def open(self, sha256):
        self._there()
        self.opened += 1
        return super().open(sha256)

    def delete(self, sha256, *, put_before=None):
        self._there()
        super().delete(sha256, put_before=put_before)

    def held(self):
        return [path for path in self._objects.rglob("*") if path.is_file()]


@pytest.fixture(params=["directory", "s3"])
def objects(request, tmp_path):
    if request.param == "directory":
        return DirectoryStore(tmp_path / "objects")
    from buckets import open_store

    server = request.getfixturevalue("s3")
    return open_store(server, tmp_path / "scratch", server.bucket())


def a_log(logs, name="12-1", data=TEXT):
    logs.append(name, 0, data)
    logs.close(name)
    return logs.path(name)


def test_the_same_bytes(objects, tmp_path):
    """D13: what is read after the move is what was read before, byte for byte and from any offset."""
    logs = Logs(tmp_path / "logs", objects)
    path = a_log(logs)
    frames = list(logs.frames("12-1"))
    logs.shelf.put(path)
    assert not path.exists()
    assert logs.read("12-1", 0, len(TEXT) + 1) == TEXT
    assert logs.read("12-1", 70_000, 100) == TEXT[70_000:70_100]
    assert list(logs.frames("12-1")) == frames
    again = Logs(tmp_path / "logs", objects)
    assert again.find("12-1").read_bytes() == TEXT, "also after a restart"
    logs.delete("12-1")
    assert logs.read("12-1") == b"" and list((tmp_path / "logs").rglob("*.*")) == []


def test_two_logs_with_the_same_bytes_are_two(tmp_path):
    """Deleting one leaves the other."""
    objects = Objects(tmp_path / "objects")
    logs = Logs(tmp_path / "logs", objects)
    for name in ("1-1", "1-2"):
        logs.shelf.put(a_log(logs, name, b"" if name == "1-3" else TEXT[:100]))
    logs.delete("1-1")
    assert logs.read("1-2") == TEXT[:100]


def test_copies_are_few(tmp_path):
    """They stay for a while, the oldest go first, and one is fetched once."""
    objects = Objects(tmp_path / "objects")
    logs = Logs(tmp_path / "logs", objects)
    logs.shelf = Shelf(objects, logs.folder, most_brought=250)
    for number in range(1, 5):
        logs.shelf.put(a_log(logs, f"1-{number}", TEXT[:100]))
        os.utime(logs.find(f"1-{number}"), (number, number))
    assert sorted(path.name for path in (logs.folder / "brought").iterdir()) == ["1-3.log", "1-4.log"]
    before = objects.opened
    assert logs.read("1-4") == TEXT[:100] and objects.opened == before
    assert logs.read("1-1") == TEXT[:100] and objects.opened == before + 1


def test_an_archive_that_is_away(tmp_path):
    """A put leaves the log where it is; a read says so; a deletion is made good later."""
    objects = Objects(tmp_path / "objects")
    logs = Logs(tmp_path / "logs", objects)
    path = a_log(logs)
    objects.away = True
    with pytest.raises(WorldError):
        logs.shelf.put(path)
    assert path.read_bytes() == TEXT
    objects.away = False
    logs.shelf.put(path)
    objects.away = True
    with pytest.raises(WorldError):
        logs.read("12-1")
    logs.delete("12-1")
    assert logs.read("12-1") == b"" and len(objects.held()) == 1
    objects.away = False
    logs.shelf.delete_unwanted()
    assert objects.held() == [] and list(logs.folder.rglob("*.*")) == []


async def test_logs_of_ended_requests_move_and_go(hive, repo, tmp_path):
    """After `archive_logs` days, not before; with their request they are deleted from the archive too."""
    archive = Objects(tmp_path / "archive")
    logs = Logs(hive.folder / "logs", archive)
    repo.commit({".formicary/ci.yml": CI})
    await hive.watch(repo)
    async with hive.ant() as ant:
        ended, runs = [await hive.submit() for _ in range(2)]
        order = await ant.claim()
        await ant.log(order, "hello\n")
        await ant.work(order)
        await hive.ended(ended.id)
        live = await ant.claim()
        await ant.log(live, "still here\n")

        def keeping(days):
            retention = Retention(archive_days=7)
            clock = lambda: time.time() + days * DAY  # noqa: E731
            return Keeping(hive.store, logs, DirectoryStore(tmp_path / "o"), retention, clock)

        whole = logs.read(order.task_execution_id)
        await keeping(6).tidy()
        assert logs.path(order.task_execution_id).exists()
        await keeping(8).tidy()
        assert not logs.path(order.task_execution_id).exists() and len(archive.held()) == 1
        assert logs.path(live.task_execution_id).exists(), "what runs keeps its log"
        assert logs.read(order.task_execution_id) == whole and b"hello" in whole
        await keeping(91).tidy()
        assert hive.request(ended.id) is None and archive.held() == []
        assert hive.request(runs.id) is not None
