"""The middle of the DOCKER executor: how the workspace and our own files get into a task's container and back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Final

from anyio import to_thread

from formicary.executors import docker_carry as carry
from formicary.executors.contract import Prepared
from formicary.executors.docker_api import Engine, EngineSays, Missing
from formicary.executors.docker_images import Wrong
from formicary.executors.docker_spec import Image
from formicary.executors.inside import OUTPUT, RUN, mount_path
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import ERR_ARTIFACT, ERR_DEFINITION

MOST_ARCHIVE: Final = 12 << 30
MOST_SMALL: Final = 4 << 20


@dataclass(slots=True)
class Sees:
    """Whether the engine sees this machine's folders; None until that was tried."""

    known: bool | None = None


@dataclass(slots=True)
class Files:
    """Those of one task."""

    engine: Engine
    prepared: Prepared
    sees: Sees
    at: str = field(init=False)
    mounted: bool = field(init=False)
    owner: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.at = mount_path(self.prepared.task)
        may = self.engine.local and os.geteuid() == 0 if self.sees.known is None else self.sees.known
        self.mounted = may and self.at != "/"

    @property
    def wanted(self) -> bool:
        """Whether anything of the workspace is looked at after the task, or between its scripts."""
        task = self.prepared.task
        return bool(task.artifacts.paths or task.cache or _reports(task) or task.fresh_shell)

    # ---- in

    async def seen(self, container: str) -> bool:
        """Whether the folder that was mounted is ours: tried once."""
        if not self.mounted or self.sees.known is not None:
            return True
        probe = self.prepared.workspace / f".formicary-{token_hex(8)}"
        probe.touch()
        try:
            await self.engine.get(container, f"{self.at}/{probe.name}", BytesIO(), MOST_SMALL)
            self.sees.known = True
        except Missing:
            self.copy_from_now_on()
        finally:
            probe.unlink()
        return self.mounted

    def copy_from_now_on(self) -> None:
        self.sees.known = self.mounted = False

    async def carry_in(self, container: str, image: Image, scripts: Mapping[str, bytes]) -> None:
        """All that a new container needs. Raises Wrong, EngineSays, EngineAway, OSError."""
        wanted = self.prepared.task.container
        self.owner = await self._ids(container, (wanted.user if wanted else "") or image.user)
        await self.workspace_in(container)
        await self.engine.put(container, "/", await to_thread.run_sync(self._own, scripts))

    async def workspace_in(self, container: str) -> None:
        """The workspace as it is now. No process of the task runs."""
        workspace = self.prepared.workspace
        if self.mounted:
            return await to_thread.run_sync(partial(carry.give, workspace, *self.owner))
        with tempfile.TemporaryFile(dir=self.prepared.run_dir) as file:
            await to_thread.run_sync(partial(carry.pack, workspace, self.at, self.owner, file))
            await self.engine.put(container, "/", file)

    def _own(self, scripts: Mapping[str, bytes]) -> bytes:
        """The first script, the file for outputs, and values that are too long for the environment."""
        folder = self.prepared.run_dir
        there = {path.name: path.read_bytes() for path in folder.glob("env_*") if path.is_file()}
        output = folder / OUTPUT
        return carry.as_tar({**there, **scripts, OUTPUT: output.read_bytes() if output.is_file() else b""}, RUN)

    async def scripts_in(self, container: str, scripts: Mapping[str, bytes]) -> None:
        """One more script, for a container that is there."""
        await self.engine.put(container, "/", carry.as_tar(scripts, RUN))

    async def _ids(self, container: str, user: str) -> tuple[int, int]:
        """The numbers of the container's user. Raises Wrong."""
        if user.partition(":")[0] in ("", "root", "0"):
            return 0, 0
        read = [await self._small(container, f"/etc/{name}") for name in ("passwd", "group")]
        ids = carry.user_ids(user, *read)
        if ids is None:
            raise Wrong(ERR_DEFINITION, f"The image knows no user {user!r}: name another `user`, or its number.")
        return ids

    async def _small(self, container: str, path: str) -> bytes:
        file = BytesIO()
        try:
            await self.engine.get(container, path, file, MOST_SMALL)
        except Missing:
            return b""
        return carry.one_file(file)

    # ---- back

    async def outputs_back(self, container: str) -> None:
        data = await self._small(container, f"{RUN}/{OUTPUT}")
        if data:
            await to_thread.run_sync(carry.overwrite, self.prepared.run_dir / OUTPUT, data)

    async def workspace_back(self, container: str) -> None:
        """What is in it now, for whoever looks at it. Raises Wrong, EngineSays, EngineAway, OSError."""
        if self.mounted or not self.wanted:
            return
        await to_thread.run_sync(carry.clear, self.prepared.workspace)
        for path, below in await self._parts(container):
            with tempfile.TemporaryFile(dir=self.prepared.run_dir) as file:
                try:
                    whole = await self.engine.get(container, path, file, MOST_ARCHIVE)
                    if not whole:
                        raise carry.TooMuch(f"{path} has more than {MOST_ARCHIVE} bytes.")
                    file.seek(0)
                    await to_thread.run_sync(partial(carry.unpack, file, self.prepared.workspace, below))
                except Missing:
                    continue
                except carry.TooMuch as error:
                    raise Wrong(ERR_ARTIFACT, f"The files of the task cannot be copied: {error}") from error
        await to_thread.run_sync(self._hand_back)

    async def _parts(self, container: str) -> list[tuple[str, str]]:
        """What is copied back, and where to: the whole workspace, but of `/` only what the task asks for."""
        if self.at != "/":
            return [(self.at, "")]
        task = self.prepared.task
        paths = [*task.artifacts.paths, *(path for cache in task.cache for path in (*cache.paths, *cache.key_paths))]
        paths += _reports(task)
        found = carry.roots(paths)
        if found is not None:
            return [(f"/{name}", ".") for name in found]
        changed = await self.engine.changes(container)
        return [(path, str(Path(path).parent)[1:] or ".") for path in carry.tops(changed)]

    def hand_back(self) -> None:
        """A mounted workspace belongs to its task's user again. Nothing of the task runs any more. Blocking."""
        if self.mounted:
            self._hand_back()

    def _hand_back(self) -> None:
        prepared = self.prepared
        if prepared.uid is not None and prepared.gid is not None:
            carry.give(prepared.workspace, prepared.uid, prepared.gid)


def _reports(task: TaskDefinition) -> tuple[str, ...]:
    return (*task.reports.junit, *task.reports.coverage)


def gone(error: EngineSays) -> bool:
    """Whether the engine does not find what was mounted."""
    return "bind source path does not exist" in str(error)
