"""The log pump: what leaves when, what waits where, and that all of it arrives once and in order."""

import anyio
import pytest

from formicary.ant import log as logs
from formicary.ant.backlog import Backlog
from formicary.ant.log import Log
from formicary.runner.core.errors import StaleFence, WorldError
from formicary.runner.core.logframes import parse
from formicary.runner.core.secrets.masking import Masker


class BusOfLogs:
    """The queen's log file, with the troubles that a test wants."""

    def __init__(self):
        self.file, self.chunks = bytearray(), []
        self.away = self.stale = False
        self.came = anyio.Event()

    async def log(self, chunk):
        await anyio.lowlevel.checkpoint()
        if self.stale:
            raise StaleFence
        if self.away:
            raise WorldError
        self.chunks.append(chunk)
        if chunk.offset <= len(self.file):
            self.file += chunk.data[len(self.file) - chunk.offset :]
        self.came.set()
        self.came = anyio.Event()
        return len(self.file)

    def out(self):
        return b"".join(frame.data for frame in parse(bytes(self.file)) if frame.stream == "out")


@pytest.fixture
def bus():
    return BusOfLogs()


@pytest.fixture
def log(bus, an_order, tmp_path):
    return Log(bus, an_order(), Masker(["hunter2secret"]), tmp_path / "spool")


async def test_the_first_bytes_leave_at_once_then_they_are_gathered(bus, log, monkeypatch):
    monkeypatch.setattr(logs, "GATHER", 60)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(log.pump)
            log.out(b"first\n")
            await bus.came.wait()
            for number in range(1000):
                log.out(b"%d\n" % number)
                await anyio.lowlevel.checkpoint()
            assert len(bus.chunks) == 1
            log.close()
    assert len(bus.chunks) == 2
    assert bus.out() == b"first\n" + b"".join(b"%d\n" % number for number in range(1000))


async def test_much_does_not_wait_to_be_gathered(bus, log, monkeypatch):
    monkeypatch.setattr(logs, "GATHER", 60)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(log.pump)
            for _ in range(40):
                log.out(b"x" * 65536)
                await anyio.lowlevel.checkpoint()
            while len(bus.file) < 30 * 65536:
                await bus.came.wait()
            log.close()
    assert bus.out() == b"x" * 65536 * 40
    assert all(len(chunk.data) <= logs.BATCH + 65536 for chunk in bus.chunks)  # the last one came in one piece


async def test_what_is_held_back_is_let_go_when_nothing_comes(bus, log):
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(log.pump)
            log.out(b"password: hu")
            while bus.out() != b"password: hu":
                await bus.came.wait()
            log.out(b" hunter2se")
            log.out(b"cret")
            log.close()
    assert bus.out() == b"password: hu ***"


async def test_a_queen_that_has_lost_some(bus, log, monkeypatch):
    """D13: appends name their offset; after a power cut the ant goes on from what she has."""
    monkeypatch.setattr(logs, "GATHER", 0)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(log.pump)
            for text in (b"kept\n", b"lost\n"):
                log.out(text)
                await bus.came.wait()
            del bus.file[bus.chunks[1].offset :]
            log.out(b"later\n")
            log.close()
    assert bus.out() == b"kept\nlater\n"


async def test_a_queen_that_is_away(bus, log):
    """D7: nothing is lost, nothing comes twice."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(log.pump)
            bus.away = True
            for number in range(100):
                log.out(b"%d\n" % number)
                await anyio.lowlevel.checkpoint()
            bus.away = False
            log.close()
    assert bus.out() == b"".join(b"%d\n" % number for number in range(100))


async def test_an_old_fence_takes_no_more(bus, log):
    """D2."""
    bus.stale = True
    log.out(b"x")
    with anyio.fail_after(20):
        await log.pump()
    assert log.disowned and not bus.file


async def test_a_disk_without_room_is_said(bus, an_order, tmp_path):
    log = Log(bus, an_order(), Masker(), tmp_path / "missing" / "spool")
    for _ in range(10):
        log.out(b"x" * (1 << 20))
    log.close()
    with anyio.fail_after(20):
        await log.pump()
    assert log.full
    assert 0 < len(bus.out()) < 10 << 20, "what was there was sent"


def test_a_backlog_goes_to_disk_and_comes_back(tmp_path):
    path = tmp_path / "spool"
    backlog = Backlog(path, in_memory=10)
    taken = b""

    def take(size):
        data = backlog.peek(size)
        backlog.drop(len(data))
        return data

    backlog.append(b"0123456")
    assert not path.exists()
    backlog.append(b"789abc")
    backlog.append(b"d")
    assert path.exists() and path.stat().st_mode & 0o777 == 0o600 and len(backlog) == 14
    taken += take(3) + take(100)
    backlog.append(b"ef")
    while len(backlog):
        taken += take(4)
    assert taken == b"0123456789abcdef" and not path.exists()
    backlog.append(b"again")
    assert take(100) == b"again" and not path.exists()
