"""Adapter: lends hands, the small processes that start and end a task's processes; it knows nothing of Formicary.

A hand (`launcher.py`) has at most one tree of processes at a time. Whatever happens to this process, the hand sees the
end of its socket and leaves nothing alive; whatever happens to the hand, its tree is killed from here as far as it can
still be found, and the next lend gets a new one.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self

import anyio
from anyio import to_thread

from formicary.executors import leftovers, shapes

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
SCRIPT_PATH: Final = "/dev/fd/62"
"""Where a process finds the script that its spawn brought: in memory, so that its secrets are on no disk."""
IN_MEMORY: Final = hasattr(os, "memfd_create") and Path("/dev/fd").is_dir()
START_BOUND: Final = 30.0
"""Seconds for a new hand to be ready, and for a hand to fork and exec."""
KILL_BOUND: Final = 5.0
"""Seconds that a tree may take to die of KILL; a process in an uninterruptible call can take longer."""
_HEADER: Final = struct.Struct("!I")
_FDS: Final = array.array("i").itemsize


class HandLost(Exception):
    """The hand ended, or does not answer."""


class CannotSpawn(Exception):
    """The process could not be started. `kind`: cwd, missing, exec, large, text (all of what was asked for), or start
    (our side)."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tree ended, after its last process did. `status` is an exit code, or minus the signal's number."""

    status: int
    usage: Mapping[str, float]


class Hand:
    """One helper process. Not to be used by two tasks at a time."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._sock = sock
        self._process = process
        self._buffer = bytearray()
        self._pid = 0
        self._output = ""
        self.lost = False

    @property
    def pid(self) -> int:
        """The helper's own process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Readable when the hand has something to say, or is gone; -1 once it was given up."""
        return self._sock.fileno()

    @property
    def busy(self) -> bool:
        """A tree was started and its end was not read yet."""
        return self._pid != 0

    @classmethod
    async def start(cls) -> Self:
        """A hand that is ready to spawn. Raises HandLost."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs, anyio.CancelScope(shield=True):  # what was started must be known
                process = await to_thread.run_sync(_popen, theirs.fileno())
        except OSError as error:
            ours.close()
            raise HandLost(f"no new hand could be started: {error}") from error
        hand = cls(ours, process)
        try:
            await shapes.with_deadline(START_BOUND, hand._receive, "starting a hand")
        except BaseException as error:
            await hand.aclose()
            if isinstance(error, TimeoutError):
                raise HandLost(str(error)) from error
            raise
        return hand

    async def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        stdout: int,
        mark: int | None = None,
        script: str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        limits: Mapping[str, int] | None = None,
        umask: int = 0o022,
    ) -> int:
        """Start a process group with `stdout` as its fds 1, 2 and `mark`; its process id. `limits`: RLIMIT_… → value;
        `script` is what it finds in SCRIPT_PATH (where IN_MEMORY).

        Raises CannotSpawn, HandLost. Cannot be cancelled, for what was started must be known; it is quick.
        """
        spec = {"argv": argv, "env": dict(env), "cwd": cwd, "mark": mark, "uid": uid, "gid": gid, "umask": umask}
        message = {"spawn": {**spec, "script": script, "limits": limits or {}}}
        self._output = leftovers.name_of(stdout)
        with anyio.move_on_after(START_BOUND, shield=True):
            await self._send(message, stdout)
            reply = await self._receive()
            if "error" in reply:
                self._forget()
                raise CannotSpawn(reply["kind"], reply["error"])
            self._pid = reply["pid"]
            return self._pid
        self.abandon()
        raise HandLost("the hand did not start the process in time")

    async def ended(self) -> Ended:
        """Wait for the end of the whole tree. May be cancelled and called again. Raises HandLost."""
        reply = await self._receive()
        self._forget()
        return Ended(reply["status"], reply["usage"])

    def signal(self, name: Literal["TERM", "KILL"]) -> None:
        """Signal the whole tree; nothing happens when it has ended."""
        if self.busy and not self.lost:
            try:
                self._sock.send(_packed({"signal": name}))
            except OSError:
                self.abandon()

    async def end(self, grace: float) -> None:
        """TERM, `grace` seconds, KILL; returns when the tree has ended, or could not be ended in KILL_BOUND."""
        for name, bound in (("TERM", grace), ("KILL", KILL_BOUND)):
            if self.busy and not self.lost:
                self.signal("TERM" if name == "TERM" else "KILL")
                with anyio.move_on_after(bound, shield=True):
                    try:
                        await self.ended()
                    except HandLost:
                        pass
        if self.busy:
            self.abandon()

    def abandon(self) -> None:
        """Give this hand up: kill it, and of its tree whatever can be found without it."""
        self.lost = True
        self._sock.close()
        self._process.kill()
        if self._pid or self._output:  # the pid is not known when the hand was killed before it could tell
            leftovers.kill(self._pid, self._output)
        self._forget()

    def _forget(self) -> None:
        self._pid, self._output = 0, ""

    async def aclose(self) -> None:
        """Let the helper end, with whatever it still runs."""
        self._sock.close()
        with anyio.move_on_after(2 * KILL_BOUND, shield=True):
            await to_thread.run_sync(partial(_wait, self._process, KILL_BOUND))

    def still_there(self) -> bool:
        """Whether this hand can be lent: it is idle, alive, and has nothing left to say."""
        if self.lost or self.busy:
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def _send(self, message: Mapping[str, Any], fd: int) -> None:
        data = memoryview(_packed(message))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            # An idle hand's socket is empty, so the first bytes always fit, and with them goes the descriptor.
            data = data[self._sock.sendmsg([data], rights) :]
            while data:
                await anyio.wait_writable(self._sock)
                data = data[self._sock.send(data) :]
        except OSError as error:
            self.abandon()
            raise HandLost("the hand ended") from error

    async def _receive(self) -> dict[str, Any]:
        """The next message. Cancelling loses nothing."""
        while (message := self._take()) is None:
            if self.lost:
                raise HandLost("the hand ended")
            try:
                data = self._sock.recv(4096)
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
                continue
            except OSError:
                data = b""
            if not data:
                self.abandon()
            self._buffer += data
        return message

    def _take(self) -> dict[str, Any] | None:
        if len(self._buffer) < _HEADER.size:
            return None
        end = _HEADER.size + _HEADER.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        message: dict[str, Any] = json.loads(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return message


class Hands:
    """Keeps `count` hands ready, and starts more when more are asked for: it never makes anybody wait for another."""

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._idle: list[Hand] = []

    async def __aenter__(self) -> Self:
        self._idle += await shapes.fork_join([Hand.start] * self._count)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the idle hands, and those still lent as they come back."""
        self._count = 0
        idle, self._idle = self._idle, []
        await shapes.fork_join([hand.aclose for hand in idle])

    @asynccontextmanager
    async def lend(self, grace: float = 10.0) -> AsyncIterator[Hand]:
        """A hand for one task. What still runs in it at the end is ended: TERM, `grace` seconds, KILL."""
        hand = await self._take()
        try:
            yield hand
        finally:
            if hand.busy:
                with anyio.CancelScope(shield=True):
                    await hand.end(grace)
            if hand.still_there() and len(self._idle) < self._count:
                self._idle.append(hand)
            else:
                await hand.aclose()

    async def _take(self) -> Hand:
        while self._idle:
            hand = self._idle.pop()
            if hand.still_there():
                return hand
            await hand.aclose()
        return await Hand.start()


def _packed(message: Mapping[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return _HEADER.pack(len(data)) + data


def _popen(fd: int) -> subprocess.Popen[bytes]:
    """Start a helper: its own session, so that no terminal's signal reaches it; standard error stays ours."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", str(LAUNCHER), str(fd)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[fd],
        env={},
        cwd="/",
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
