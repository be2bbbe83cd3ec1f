"""The middle of the shell executor: runs a script in a hand, passes on what it writes, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Final

import anyio
from anyio import to_thread

from formicary.executors import shapes
from formicary.executors.contract import Limits, Outcome, Prepared, Session, Sink
from formicary.executors.fresh_shells import script_for
from formicary.executors.pipe import Pipe
from formicary.executors.process_group import IN_MEMORY, SCRIPT_PATH, CannotSpawn, Ended, Hand, HandLost, Hands
from formicary.executors.shell_script import MARK_FD, Announcer, Script, is_sh
from formicary.runner.core.errors import ERR_DEFINITION, ERR_EXIT_CODE, ERR_LOST, LostError

DRAIN_BOUND: Final = 2.0
"""Seconds to read on after the tree has ended, should a stranger hold the pipe open."""

_SIGNAL_MEANS: Final = {
    signal.SIGKILL: "maybe it ran out of memory",
    signal.SIGXCPU: "it used up its limit of CPU time",
    signal.SIGXFSZ: "it wrote a file larger than its limit",
}


class ShellExecutor:
    """Runs scripts as process groups on this machine. The hands stay the caller's, who closes them."""

    methods: frozenset[str] = frozenset({"SHELL"})

    def __init__(self, hands: Hands, grace: float = 10.0) -> None:
        self._hands = hands
        self._grace = grace

    @asynccontextmanager
    async def open(self, prepared: Prepared) -> AsyncIterator[Session]:
        """A hand of its own for this task."""
        async with _lent(self._hands, self._grace) as hand:
            yield ShellSession(prepared, hand, self._hands, self._grace)

    async def aclose(self) -> None:
        """Nothing is kept ready here."""


class ShellSession:
    """One task's place: the workspace, and the hand that runs its scripts."""

    def __init__(self, prepared: Prepared, hand: Hand, hands: Hands, grace: float) -> None:
        self._prepared = prepared
        self._hand = hand
        self._hands = hands
        self._grace = grace

    async def run(self, items: Sequence[str], sink: Sink, *, name: str = "script", check: bool = True) -> Outcome:
        """See `contract.Session`."""
        nonce = f"\x1e{token_hex(16)}:"
        script = script_for(self._prepared.task, name, items, nonce, check=check)
        try:
            if "\0" in script.text:
                raise ValueError("The script contains a NUL character, which no shell can run: remove it.")
            cwd = _working_dir(self._prepared)
        except ValueError as error:
            return Outcome(None, ERR_DEFINITION, str(error))
        try:
            path = await self._place(name, script)
        except OSError as error:
            return Outcome(None, ERR_LOST, f"The script could not be written: {error}.")
        announcer = Announcer(sink, nonce, script.marked)
        if not self._hand.lost:
            return await self._run(self._hand, script, path, cwd, announcer, sink)
        async with _lent(self._hands, self._grace) as hand:  # an after_script runs although the script lost its hand
            return await self._run(hand, script, path, cwd, announcer, sink)

    async def _place(self, name: str, script: Script) -> str:
        """Where the shell will find its script. Other shells than sh may want to know a file by its real name."""
        prepared = self._prepared
        if IN_MEMORY and is_sh(prepared.task.shell):
            return SCRIPT_PATH
        # A name that the task could not prepare for: it may own run_dir, and a script runs before an after_script.
        path = prepared.run_dir / f"{name}-{token_hex(4)}"
        data = script.text.encode("utf-8", "surrogateescape")
        await to_thread.run_sync(partial(_write_script, path, data, prepared.uid, prepared.gid))
        return str(path)

    async def _run(self, hand: Hand, script: Script, path: str, cwd: Path, announcer: Announcer, sink: Sink) -> Outcome:
        started = time.monotonic()
        with closing(Pipe(self._prepared.uid)) as pipe:
            try:
                await self._spawn(hand, pipe, script, path, cwd)
                for item in script.at_once:
                    sink.cmd(item)
                ended = await self._to_the_end(hand, pipe, announcer)
            except CannotSpawn as error:
                return _not_started(error, self._prepared)
            except HandLost as error:
                return Outcome(None, ERR_LOST, f"The process that watched over this script is gone: {error}.")
            finally:
                announcer.close()
        return _outcome(ended, time.monotonic() - started)

    async def _spawn(self, hand: Hand, pipe: Pipe, script: Script, path: str, cwd: Path) -> None:
        prepared = self._prepared
        await hand.spawn(
            [*prepared.task.shell, path],
            prepared.environment,
            str(cwd),
            stdout=pipe.writing,
            mark=MARK_FD if script.marked else None,
            script=script.text if path == SCRIPT_PATH else None,
            uid=prepared.uid,
            gid=prepared.gid,
            limits=_rlimits(prepared.limits),
        )
        pipe.close_writing()

    async def _to_the_end(self, hand: Hand, pipe: Pipe, announcer: Announcer) -> Ended:
        """Follow the script; if that is cancelled, end it, and still pass on what it says meanwhile."""
        try:
            return await _follow(hand, pipe, announcer)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await shapes.watch_while(partial(pipe.pump, announcer.feed), partial(hand.end, self._grace))
                with anyio.move_on_after(DRAIN_BOUND):
                    await pipe.pump(announcer.feed)
            raise


@asynccontextmanager
async def _lent(hands: Hands, grace: float) -> AsyncIterator[Hand]:
    """A hand. Raises LostError when there is none to be had."""
    async with AsyncExitStack() as stack:
        try:
            hand = await stack.enter_async_context(hands.lend(grace))
        except HandLost as error:
            raise LostError(f"The script could not be started: {error}.") from error
        yield hand


async def _follow(hand: Hand, pipe: Pipe, announcer: Announcer) -> Ended:
    """Pass on the output until the tree has ended and, unless a stranger holds it, the pipe too. Raises HandLost."""
    await pipe.pump(announcer.feed, beside=hand.fileno())
    try:
        return await hand.ended()
    finally:
        with anyio.move_on_after(DRAIN_BOUND):
            await pipe.pump(announcer.feed)


def _write_script(path: Path, data: bytes, uid: int | None, gid: int | None) -> None:
    """Only the task's user may read it: its text may hold secrets."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as file:
        if uid is not None or gid is not None:
            os.fchown(fd, -1 if uid is None else uid, -1 if gid is None else gid)
        file.write(data)


def _working_dir(prepared: Prepared) -> Path:
    """Raises ValueError when it leads out of the workspace."""
    if not prepared.task.working_dir:
        return prepared.workspace
    path = (prepared.workspace / prepared.task.working_dir).resolve()
    if not path.is_relative_to(prepared.workspace.resolve()):
        raise ValueError(
            f"working_dir {prepared.task.working_dir!r} leads out of the workspace: name a folder below it."
        )
    return path


def _rlimits(limits: Limits) -> dict[str, int]:
    named = {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_size_bytes,
    }
    return {name: value for name, value in named.items() if value is not None}


def _not_started(error: CannotSpawn, prepared: Prepared) -> Outcome:
    """Whose fault it is that there is no process, and what to do about it."""
    shell, where = prepared.task.shell[0], prepared.task.working_dir or "."
    outcomes = {
        "cwd": (
            None,
            ERR_DEFINITION,
            f"The working_dir {where!r} cannot be entered: {error}. Is it in the repository?",
        ),
        "text": (
            None,
            ERR_DEFINITION,
            f"The shell, a variable or a secret holds what no process can be given ({error}): no NUL, no broken text.",
        ),
        "large": (None, ERR_DEFINITION, "The environment is too large for a process: pass large values by files."),
        "missing": (127, ERR_EXIT_CODE, f"The shell {shell!r} was not found: install it here, or change `shell`."),
        "exec": (126, ERR_EXIT_CODE, f"The shell {shell!r} cannot be run: {error}. Change `shell`."),
    }
    return Outcome(*outcomes.get(error.kind, (None, ERR_LOST, f"The script could not be started: {error}.")))


def _outcome(ended: Ended, wall: float) -> Outcome:
    usage = {**ended.usage, "wall_seconds": wall}
    if ended.status == 0:
        return Outcome(0, usage=usage)
    if ended.status < 0:
        number = -ended.status
        return Outcome(128 + number, ERR_EXIT_CODE, f"The script was ended by {_named(number)}.", usage)
    message = f"The script ended with exit code {ended.status}"
    if ended.status > 128 and (named := _named(ended.status - 128)):
        message += f": a command was ended by {named}"
    return Outcome(ended.status, ERR_EXIT_CODE, f"{message}.", usage)


def _named(number: int) -> str:
    """A signal by name, and what it may mean; empty if there is no such signal."""
    try:
        name = signal.Signals(number)
    except ValueError:
        return ""
    return name.name + (f" ({_SIGNAL_MEANS[name]})" if name in _SIGNAL_MEANS else "")
