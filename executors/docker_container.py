"""The middle of the DOCKER executor: one container that stands, and what is said between us and its holder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any, Final

import anyio

from formicary.executors.docker_api import Engine, EngineAway, EngineSays
from formicary.executors.docker_images import Wrong
from formicary.executors.docker_stream import Attached
from formicary.executors.inside import ALIVE, GONE, READY, Hearing
from formicary.runner.core.errors import ERR_LOST

Out = Callable[[bytes], None]
PRIVATE: Final = "private"
LOOK: Final = 0.02
"""Seconds between two looks whether all processes have ended."""
KILL_SECONDS: Final = 10.0
"""So long may it take until processes are gone that were killed."""


class Standing:
    """A container whose first process is the holder, or the image's own command. `ended` is set once it is over."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name
        self.nonce = token_hex(16)
        self.ended = True
        self.made = False
        self.wrote = True
        """Whether there may be outputs in it."""
        self.out_of_memory = 0
        self._line: Attached | None = None
        self._hearing = Hearing(self.nonce)
        self._heard: list[list[str]] = []

    async def create(self, config: Mapping[str, Any]) -> None:
        """Raises EngineSays, EngineAway."""
        self.made = True
        await self.engine.create(self.name, config)
        mode = (await self.engine.inspect(self.name))["HostConfig"].get("PidMode") or PRIVATE
        if mode != PRIVATE:  # the holder ends every process that it sees
            raise Wrong(ERR_LOST, f"not supported: an engine whose containers share their processes ({mode}).")

    async def start(self) -> None:
        """Attach and start; also again, after it has ended. Raises EngineSays, EngineAway."""
        self.hang_up()
        self._hearing, self._heard = Hearing(self.nonce), []
        self._line = await self.engine.attach(self.name)
        await self.engine.start(self.name)
        self.ended = False

    async def ready(self, out: Out) -> bool:
        """Wait for the holder; False if the container ended without."""
        return await self.hear(out, READY) is not None

    async def say(self, line: bytes) -> None:
        """Where nobody listens any more, reading tells."""
        if self._line is not None and not self.ended:
            try:
                await self._line.send(line)
            except BrokenPipeError:
                return

    async def hear(self, out: Out, *wanted: str) -> list[str] | None:
        """Pass on what is written until one of these words is said: the words after it, and it; None at the end."""
        while True:
            while self._heard:
                words = self._heard.pop(0)
                if words and words[0] in wanted:
                    return words
            if self.ended or self._line is None:
                return None
            data = await self._line.read()
            if not data:
                self.ended = True
                self._hearing.close(out)
                return None
            self._heard += self._hearing.feed(data, out)

    async def follow(self, out: Out) -> int:
        """Pass on what its own command writes; how that ended. Raises EngineSays, EngineAway."""
        await self.hear(out)
        return await self.engine.wait(self.name)

    async def clear(self, out: Out, grace: float) -> None:
        """End every process but the holder: TERM, and after `grace` KILL. Bounded; the container is killed where the
        holder does not obey."""
        if self.ended:
            return
        with anyio.move_on_after(grace + KILL_SECONDS):
            if await self._clear(out, grace):
                return
        await self.kill()

    async def _clear(self, out: Out, grace: float) -> bool:
        await self.say(b"term\nask\n" if grace else b"kill\nask\n")
        deadline = anyio.current_time() + grace
        while (words := await self.hear(out, ALIVE, GONE)) is not None:
            if words[0] == GONE:
                return True
            await anyio.sleep(LOOK)
            await self.say(b"ask\n" if anyio.current_time() < deadline else b"kill\nask\n")
        return False

    async def stop(self, out: Out, grace: float) -> None:
        """End a container that runs its own command."""
        try:
            await self.engine.kill(self.name, "SIGTERM")
            with anyio.move_on_after(grace):
                await self.hear(out)
            if not self.ended:
                await self.kill()
                with anyio.move_on_after(KILL_SECONDS):
                    await self.hear(out)
        except (EngineSays, EngineAway):
            self.ended = True  # removing it will tell

    async def kill(self) -> None:
        try:
            await self.engine.kill(self.name)
        except (EngineSays, EngineAway):
            return
        self.ended = True

    async def state(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.engine.inspect(self.name))["State"]
        return found

    def hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
