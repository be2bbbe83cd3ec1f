"""Runs a program that talks to others, within bounds of time and bytes; leaving it ends its whole process group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

LAST_WORDS: Final = 64 << 10
LOOK_EVERY: Final = 0.25
GRACE: Final = 5.0


@dataclass(slots=True)
class Ended:
    """How it ended. `stopped` is why it was ended by us, as a sentence; empty where it ended by itself."""

    code: int = -1
    out: bytearray = field(default_factory=bytearray)
    err: bytes = b""
    stopped: str = ""


async def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    pass_fds: Sequence[int] = (),
    stdin: bytes = b"",
    most_out: int = LAST_WORDS,
    growing: Path | None = None,
    most_bytes: int = 0,
) -> Ended:
    """To the end, or until it is cancelled, too late (seconds), says more than `most_out`, or its files in the folder
    `growing` hold more than `most_bytes`."""
    ended = Ended()
    process = await anyio.open_process(
        list(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    try:
        with anyio.move_on_after(timeout) as scope:
            await _attend(process, ended, stdin, most_out, growing, most_bytes)
        if scope.cancelled_caught and not ended.stopped:
            ended.stopped = f"it took longer than {timeout:.0f} seconds; it is tried again."
    finally:
        if process.returncode is None:
            _end_group(process)
        with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE):
            await process.aclose()
    ended.code = -1 if process.returncode is None else process.returncode
    return ended


async def _attend(
    process: Process, ended: Ended, stdin: bytes, most_out: int, growing: Path | None, most_bytes: int
) -> None:
    assert process.stdin and process.stdout and process.stderr
    stdout, stderr = process.stdout, process.stderr
    async with anyio.create_task_group() as group:

        def stop(why: str) -> None:
            ended.stopped = why
            group.cancel_scope.cancel()

        async def read(stream: ByteReceiveStream) -> None:
            async for piece in stream:
                ended.out += piece
                if len(ended.out) > most_out:
                    stop(f"it answers with more than {most_out} bytes.")

        async def hear(stream: ByteReceiveStream) -> None:
            async for piece in stream:
                ended.err = (ended.err + piece)[-LAST_WORDS:]

        async def watch(folder: Path) -> None:
            while await anyio.to_thread.run_sync(_bytes_in, folder) <= most_bytes:
                await anyio.sleep(LOOK_EVERY)
            stop(f"its mirror would need more than {most_bytes} bytes; raise `limit_mirror`.")

        async def talk() -> None:
            group.start_soon(_write, process.stdin, stdin, name="git's stdin")
            async with anyio.create_task_group() as ears:
                ears.start_soon(read, stdout, name="git's stdout")
                ears.start_soon(hear, stderr, name="git's stderr")
            await process.wait()
            group.cancel_scope.cancel()

        if growing is not None:
            group.start_soon(watch, growing, name="size of the mirror")
        group.start_soon(talk, name="git")


async def _write(stream: ByteSendStream | None, data: bytes) -> None:
    assert stream is not None
    try:
        await stream.send(data)
        await stream.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # it ended first; its exit code says why


def _bytes_in(folder: Path) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        return 0
    return total


def _end_group(process: Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
