"""A task's log on its way to the queen: masked, read for commands, framed, and sent in order from its offset.

The first bytes leave at once; while more come they are gathered, up to 256 KiB or 20 ms. While the queen is away they
wait in a backlog. `out` frames, one after the other, are what the commands wrote.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import anyio

from formicary.ant.backlog import Backlog
from formicary.ant.commands import Commands
from formicary.ant.persist import FIRST_DELAY, persistently
from formicary.runner.bus import Bus
from formicary.runner.core.definition import HTTP_METHODS
from formicary.runner.core.errors import StaleFence
from formicary.runner.core.logframes import Stream, header
from formicary.runner.core.messages import LogChunk, TaskOrder
from formicary.runner.core.secrets.masking import Masker

BATCH: Final = 256 * 1024
GATHER: Final = 0.02
IDLE: Final = 0.1
DEFAULT_MAX_LOG: Final = 1 << 30


class Log:
    """The executor's sink, and the pump behind it. The sink's methods never raise and never wait."""

    def __init__(
        self, bus: Bus, order: TaskOrder, masker: Masker, spool: Path, max_bytes: int = DEFAULT_MAX_LOG
    ) -> None:
        self._bus, self._order, self._max = bus, order, max_bytes
        self.masker = masker
        self.commands = Commands()
        self._obeys = order.task.method not in HTTP_METHODS
        self._backlog = Backlog(spool)
        self._offset = self._out = 0
        self._cut = self._closed = False
        self.full = False
        """The disk had no room for what the queen had not taken yet: the log is not whole."""
        self.disowned = False
        """The queen takes no more of this attempt's log: it is not the newest."""
        self._more = anyio.Event()
        self._enough = anyio.Event()

    # ---- the sink

    def cmd(self, text: str) -> None:
        self._out_now(self.masker.idle())
        self.commands.close()  # what an item writes first begins a line
        self._frame("cmd", self.masker.text(text).encode("utf-8", "surrogateescape"))

    def sys(self, text: str) -> None:
        self._out_now(self.masker.idle())
        self._frame("sys", self.masker.text(text).encode("utf-8", "surrogateescape"))

    def out(self, data: bytes) -> None:
        self._out_now(self.masker.feed(data))

    def close(self) -> None:
        """Nothing more will be said."""
        if not self._closed:
            self._out_now(self.masker.close())
            self.commands.close()
            self._closed = True
            self._wake()

    def _out_now(self, data: bytes) -> None:
        if not data:
            return
        if self._obeys:  # a server's answer sets no outputs and makes no warnings
            self.commands.feed(data)
        room = self._max - self._out
        if len(data) <= room:
            self._out += len(data)
            self._frame("out", data)
        elif not self._cut:
            self._cut, self._out = True, self._max
            self._frame("out", data[:room])
            self._frame("sys", f"The log is longer than {self._max} bytes; the rest is left out.".encode())

    def _frame(self, stream: Stream, data: bytes) -> None:
        if self.full or self.disowned:
            return
        try:
            self._backlog.append(header(time.time(), stream, len(data)), data, b"\n")
        except OSError:
            self.full = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        if self._closed or len(self._backlog) >= BATCH:
            self._enough.set()

    # ---- the pump

    async def pump(self) -> None:
        """Send until everything was taken after `close`. Raises what `persistently` raises, except StaleFence."""
        try:
            while await self._something():
                await self._send()
                await self._gather()
        except StaleFence:
            self.disowned = True
        finally:
            self._backlog.close()

    async def _something(self) -> bool:
        """Wait for bytes; False when there are none and never will be."""
        while not len(self._backlog):
            if self._closed:
                return False
            self._more = anyio.Event()
            if not self.masker.holds:
                await self._more.wait()
                continue
            with anyio.move_on_after(IDLE) as idle:
                await self._more.wait()
            if idle.cancelled_caught:
                self._let_go()
        return True

    def _let_go(self) -> None:
        self._out_now(self.masker.idle())
        self.masker.holds = False

    async def _send(self) -> None:
        data = self._backlog.peek(BATCH)
        order = self._order
        chunk = LogChunk(task_execution_id=order.task_execution_id, fence=order.fence, offset=self._offset, data=data)
        size = await persistently(lambda: self._bus.log(chunk), "sending the log")
        taken = min(max(size - self._offset, 0), len(data))
        self._backlog.drop(taken)
        self._offset = size
        if not taken:
            await anyio.sleep(FIRST_DELAY)

    async def _gather(self) -> None:
        if self._closed or len(self._backlog) >= BATCH:
            return
        self._enough = anyio.Event()
        with anyio.move_on_after(GATHER):
            await self._enough.wait()
