"""Adapter: the pipe that a task's processes write to, read as fast as they write and no more often than needed."""

from __future__ import annotations

import fcntl
import os
import selectors
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

SIZE: Final = 1 << 20
SMALL_READ: Final = 1 << 16
BURST: Final = 4
"""So many reads with hardly a pause between them: from then on output is gathered for a moment before it is read."""
MOMENT: Final = 0.001


class Pipe:
    """One pipe. The writing end is blocking and belongs to `owner`, so that `>/dev/stderr` works for another user."""

    def __init__(self, owner: int | None = None) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._size = _enlarge(self._reading)
        if owner is not None:
            os.fchown(self.writing, owner, -1)

    def close_writing(self) -> None:
        """Leave writing to the task, so that the end of the task is the end of the pipe."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def close(self) -> None:
        self.close_writing()
        os.close(self._reading)

    async def pump(self, feed: Callable[[bytes], None], beside: int | None = None) -> None:
        """Feed what is written, until everybody has closed the pipe; or until there is something to read `beside`, and
        nothing is left in the pipe. May be cancelled and called again."""
        if beside is None:
            return await self._pump(feed, self._written)
        if beside < 0:
            return await self._pump(feed, _gone)
        # One more selector, waited for as a whole, is a tenth of what two tasks in a group would cost.
        with selectors.DefaultSelector() as both:
            both.register(self._reading, selectors.EVENT_READ)
            both.register(beside, selectors.EVENT_READ)
            await self._pump(feed, partial(_either, both, beside))

    async def _written(self) -> bool:
        await anyio.wait_readable(self._reading)
        return False

    async def _pump(self, feed: Callable[[bytes], None], wait: Callable[[], Awaitable[bool]]) -> None:
        quick, length, last, last_words = 0, SMALL_READ, 0.0, False
        while True:
            try:
                data = os.read(self._reading, length)
            except BlockingIOError:
                if last_words:
                    return
                last_words = await wait()
                continue
            if not data:
                return
            feed(data)
            now = time.monotonic()
            quick = quick + 1 if now - last < 3 * MOMENT else 0
            last = now
            if len(data) == length:
                length = SIZE
            if quick > BURST and len(data) < self._size // 16:
                await anyio.sleep(MOMENT)
            else:
                await checkpoint()


async def _gone() -> bool:
    """There is nobody to wait for any more."""
    return True


async def _either(both: selectors.DefaultSelector, beside: int) -> bool:
    """Wait until one of the two can be read; whether the one beside can."""
    await anyio.wait_readable(both)
    return any(key.fd == beside for key, _ in both.select(0))


def _enlarge(fd: int) -> int:
    """Make the pipe hold more, where the system allows it; how much it holds."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return SMALL_READ
    try:
        return fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, SIZE)
    except OSError:  # this user has used up its share of pipe memory
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
