"""An executor for tests: it does what its task's environment says, and starts nothing.

DUMMY_OUTPUT is written after the items were announced, DUMMY_OUTPUTS (`k=v` lines) goes to $FORMICARY_OUTPUT;
DUMMY_SLEEP waits so many seconds, DUMMY_HANG=1 for ever, DUMMY_FAIL=lost raises LostError, DUMMY_EXIT_CODE is how it
ends. That is the script; an after_script is announced and succeeds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from formicary.executors.contract import Outcome, Prepared, Session, Sink
from formicary.executors.process_group import Hands
from formicary.runner.core.errors import ERR_EXIT_CODE, LostError


class DummyExecutor:
    """Takes what every executor's factory is given, and needs none of it."""

    methods: frozenset[str] = frozenset({"DUMMY"})

    def __init__(self, hands: Hands | None = None, grace: float = 0.0) -> None:
        del hands, grace

    @asynccontextmanager
    async def open(self, prepared: Prepared) -> AsyncIterator[Session]:
        yield DummySession(prepared)

    async def aclose(self) -> None:
        """Nothing is kept."""


class DummySession:
    def __init__(self, prepared: Prepared) -> None:
        self._environment = prepared.environment

    async def run(self, items: Sequence[str], sink: Sink, *, name: str = "script", check: bool = True) -> Outcome:
        """See `contract.Session`."""
        started = time.monotonic()
        for item in items:
            sink.cmd(item)
        code = await self._act(sink) if name == "script" else 0
        usage = {"wall_seconds": time.monotonic() - started}
        if code == 0:
            return Outcome(0, usage=usage)
        return Outcome(code, ERR_EXIT_CODE, f"The script ended with exit code {code}.", usage)

    async def _act(self, sink: Sink) -> int:
        env = self._environment
        if output := env.get("DUMMY_OUTPUT"):
            sink.out(output.encode())
        _write_outputs(env)
        if env.get("DUMMY_HANG") == "1":
            await anyio.sleep_forever()
        await anyio.sleep(float(env.get("DUMMY_SLEEP", "0")))
        if env.get("DUMMY_FAIL") == "lost":
            raise LostError("The dummy was told to be lost.")
        return int(env.get("DUMMY_EXIT_CODE", "0"))


def _write_outputs(env: Mapping[str, str]) -> None:
    if outputs := env.get("DUMMY_OUTPUTS"):
        with Path(env["FORMICARY_OUTPUT"]).open("a") as file:
            file.write(outputs.rstrip("\n") + "\n")
