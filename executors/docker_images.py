"""The middle of the DOCKER executor: the images of a task, pulled as its policy says.

An image that cannot be had is the world's fault and not the task's (D12).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import Lock

from formicary.executors.docker_api import Engine, EngineSays
from formicary.executors.docker_spec import Image
from formicary.runner.core.containing import PullPolicy
from formicary.runner.core.errors import ERR_DEFINITION, ERR_IMAGE

Say = Callable[[str], None]


class Wrong(Exception):
    """The task cannot be run as it is; its outcome's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Images:
    """Tasks that want the same image at the same time pull it once."""

    engine: Engine
    _pulling: dict[str, tuple[Lock, list[None]]] = field(default_factory=dict)

    async def have(self, name: str, policy: PullPolicy | None, say: Say) -> Image:
        """The image, there. Raises Wrong, EngineAway."""
        try:
            found = None if policy == "always" else await self.engine.image(name)
            if found is None:
                if policy == "never":
                    raise Wrong(ERR_IMAGE, f"The image {name} is not on this engine, and pull_policy is never.")
                found = await self._pulled(name, policy, say)
        except EngineSays as error:
            if "invalid reference" in str(error):
                raise Wrong(ERR_DEFINITION, f"{name!r} is no name of an image: {error}.") from error
            raise Wrong(ERR_IMAGE, f"The image {name} cannot be had: {error}.") from error
        image = Image.of(name, found)
        say(f"Image {name}, {image.digest}.")
        return image

    async def _pulled(self, name: str, policy: PullPolicy | None, say: Say) -> dict[str, object]:
        lock, waiting = self._pulling.setdefault(name, (Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                found = None if policy == "always" else await self.engine.image(name)
                if found is None:
                    say(f"Pulling the image {name}.")
                    await self.engine.pull(name)
                    found = await self.engine.image(name)
        finally:
            waiting.pop()
            if not waiting:
                del self._pulling[name]
        if found is None:
            raise Wrong(ERR_IMAGE, f"The image {name} was pulled, and is not there: was it removed meanwhile?")
        return found
