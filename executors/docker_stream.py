"""Adapter: what a container of an engine says and hears, through the connection that the engine has given away.

The engine sends frames of eight bytes of head and a payload. They are read as they come and never gathered whole.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

SIZE: Final = 1 << 18
HEAD: Final = 8
BURST: Final = 4
MOMENT: Final = 0.001
"""Output that comes in many small pieces is gathered for so long (s) before it is read on."""


class Attached:
    """One connection. It is never read by two tasks at once."""

    def __init__(self, given: Any) -> None:
        self._given = given  # keeps the answer that owns the connection
        self._socket: socket.socket = getattr(given, "_sock", given)
        self._socket.settimeout(0)
        self._early = _read_with_the_head(given)
        self._head = b""
        self._left = 0
        self._quick, self._last, self._took = 0, 0.0, 0

    async def read(self) -> bytes:
        """The next bytes that the container wrote; none at all when it has ended."""
        await self._rest()
        while True:
            data = await self._receive()
            if not data:
                return b""
            if payload := self._payload(data):
                self._took = len(payload)
                return payload

    async def send(self, data: bytes) -> None:
        """Raises BrokenPipeError where nobody listens any more."""
        while data:
            try:
                data = data[self._socket.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise BrokenPipeError(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        answer = getattr(self._given, "_response", None)
        for one in (answer, self._given, self._socket):
            if one is not None:
                with contextlib.suppress(OSError, ValueError):  # some of them close the others
                    one.close()

    async def _receive(self) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        while True:
            try:
                return self._socket.recv(SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                await anyio.wait_readable(self._socket)
            except OSError:
                return b""

    async def _rest(self) -> None:
        """Before and never after reading: what was read must not be lost when this is cancelled."""
        now = time.monotonic()
        self._quick = self._quick + 1 if now - self._last < 3 * MOMENT else 0
        self._last = now
        if self._quick > BURST and self._took < SIZE // 8:
            await anyio.sleep(MOMENT)
        else:
            await checkpoint()

    def _payload(self, data: bytes) -> bytes:
        """The payloads in these bytes, joined."""
        if self._left >= len(data):
            self._left -= len(data)
            return data
        found, view, at = [], memoryview(data), 0
        while at < len(data):
            if self._left:
                piece = view[at : at + self._left]
                found.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            piece = view[at : at + HEAD - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) == HEAD:
                self._left = int.from_bytes(self._head[4:], "big")
                self._head = b""
        return b"".join(found)


def _read_with_the_head(given: Any) -> bytes:
    """What came so soon that it was read together with the head of the engine's answer."""
    try:
        return bytes(given._response.raw._fp.fp.peek())
    except (AttributeError, ssl.SSLWantReadError):
        return b""
