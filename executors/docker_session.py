"""The middle of the DOCKER executor: one task's containers, from the first script to the last trace of them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Final

import anyio
from anyio import to_thread

from formicary.executors import docker_spec as spec
from formicary.executors import inside
from formicary.executors.contract import Outcome, Prepared, Sink
from formicary.executors.docker_api import Engine, EngineAway, EngineSays
from formicary.executors.docker_container import Standing
from formicary.executors.docker_files import Files, Sees, gone
from formicary.executors.docker_images import Images, Wrong
from formicary.executors.docker_outcomes import not_begun, not_started, outcome_of, whole_outcome
from formicary.executors.docker_reaping import Owner
from formicary.executors.docker_services import Services
from formicary.executors.fresh_shells import script_for
from formicary.executors.shell_script import Announcer
from formicary.runner.core.errors import ERR_DEFINITION, ERR_LOST, LOST_CODES, LostError

CLEANING_SECONDS: Final = 180.0
"""A bound on removing what a task had: its containers are killed within it, and its files copied."""

Removal = Callable[[], Awaitable[object]]

_logger = logging.getLogger(__name__)


class DockerSession:
    """See `contract.Session`."""

    def __init__(
        self,
        prepared: Prepared,
        engine: Engine,
        images: Images,
        owner: Owner,
        sees: Sees,
        grace: float,
        owed: list[Removal],
    ) -> None:
        self._owed = owed
        self._prepared, self._engine, self._images, self._grace = prepared, engine, images, grace
        safe = re.sub(r"[^A-Za-z0-9_.-]", "-", prepared.task_execution_id)[:60]
        self._name = f"formicary-{safe}-{token_hex(4)}"
        self._labels = owner.labels(prepared)
        self._files = Files(engine, prepared, sees)
        self._around: spec.Surroundings | None = None
        self._image: spec.Image | None = None
        self._services: Services | None = None
        self._made: list[Standing] = []
        self._standing: Standing | None = None
        self._had_before = self._lost = False

    async def run(self, items: Sequence[str], sink: Sink, *, name: str = "script", check: bool = True) -> Outcome:
        """See `contract.Session`. A task without a script runs the command of its image, or of its definition."""
        started = time.monotonic()
        try:
            if items:
                outcome = await self._script(items, sink, name, check)
            else:
                outcome = await self._whole(sink)
        except Wrong as error:
            outcome = Outcome(None, error.code, str(error))
        except ValueError as error:
            outcome = Outcome(None, ERR_DEFINITION, str(error))
        except EngineSays as error:
            outcome = not_started(error, self._image)
        except (EngineAway, OSError) as error:
            outcome = Outcome(None, ERR_LOST, f"{error}.")
        if not outcome.ok and self._services is not None and name == "script":
            await self._tell_of_services(sink)
        self._lost = outcome.error_code in LOST_CODES
        return replace(outcome, usage={**outcome.usage, "wall_seconds": time.monotonic() - started})

    async def _tell_of_services(self, sink: Sink) -> None:
        try:
            if self._services is not None:
                await self._services.tell(sink)
        except (EngineAway, EngineSays) as error:
            sink.sys(f"What the services wrote cannot be had: {error}.")

    # ---- a script

    async def _script(self, items: Sequence[str], sink: Sink, name: str, check: bool) -> Outcome:
        if name == "after_script" and not self._made:
            sink.sys("after_script is passed by: there never was a container.")
            return Outcome(0)
        nonce = f"\x1e{token_hex(16)}:"
        script = script_for(self._prepared.task, name, items, nonce, check=check, mark_path=inside.MARK_PATH)
        if "\0" in script.text:
            raise ValueError("The script contains a NUL character, which no shell can run: remove it.")
        file = f"{name}-{token_hex(4)}"
        standing = await self._stand(sink, name, {file: script.text.encode("utf-8", "surrogateescape")})
        announcer = Announcer(sink, nonce, script.marked)
        try:
            line = inside.run_line(self._prepared.task.shell, f"{inside.RUN}/{file}", standing.nonce)
            for item in script.at_once:
                sink.cmd(item)
            await standing.say(line)
            words = await standing.hear(announcer.feed, inside.END, inside.NO_SHELL)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await standing.clear(announcer.feed, self._grace)
            raise
        finally:
            announcer.close()
        if name == "before_script":
            self._had_before = True
            await self._files.workspace_back(standing.name)
        return await outcome_of(words, standing, self._prepared.task, self._image)

    async def _stand(self, sink: Sink, name: str, scripts: Mapping[str, bytes]) -> Standing:
        """The container, ready for a script; what an earlier script left running is ended. Raises Wrong, EngineSays,
        EngineAway, ValueError, OSError."""
        standing = self._standing
        if standing is None:
            image, around = await self._surroundings(sink)
            standing = self._standing = Standing(self._engine, self._name)
            await self._make(standing, image, around, inside.holder(standing.nonce), scripts)
        else:
            await standing.clear(sink.out, 0.0)
            await self._files.scripts_in(standing.name, scripts)
            if name == "script" and self._had_before:
                await self._files.workspace_in(standing.name)
        if standing.ended:
            await self._start(standing, sink)
        return standing

    async def _start(self, standing: Standing, sink: Sink) -> None:
        try:
            await standing.start()
            if not await standing.ready(sink.out):
                raise await not_begun(standing, self._prepared.task, self._image)
        except anyio.get_cancelled_exc_class():
            if not standing.ended:
                sink.sys("The container had not begun the script yet: does its entrypoint run what it is given?")
            with anyio.CancelScope(shield=True):
                await standing.kill()
            raise

    # ---- its own command

    async def _whole(self, sink: Sink) -> Outcome:
        """Run the container as it is, to its end."""
        image, around = await self._surroundings(sink)
        standing = Standing(self._engine, f"{self._name}-own")
        await self._make(standing, image, around)
        sink.sys(f"Running the command of {image.name}.")
        try:
            await standing.start()
            code = await standing.follow(sink.out)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await standing.stop(sink.out, self._grace)
            raise
        await self._files.outputs_back(standing.name)
        await self._files.workspace_back(standing.name)
        return await whole_outcome(code, standing, self._prepared.task)

    # ---- what is around

    async def _surroundings(self, sink: Sink) -> tuple[spec.Image, spec.Surroundings]:
        """The image, the network with ready services, the volumes; made once. Raises Wrong, EngineSays, EngineAway,
        ValueError."""
        if self._image is not None and self._around is not None:
            return self._image, self._around
        task = self._prepared.task
        self._check_folder()
        if task.container is None or not task.container.image:
            raise ValueError("The task has no image: say `container: {image: …}`.")
        for said in spec.unkept(task):
            sink.sys(said)
        image = await self._images.have(task.container.image, task.container.pull_policy, sink.sys)
        around = spec.Surroundings(self._labels, volumes={})
        spec.network_mode(task, "")  # before anything is made
        if volumes := {name: f"{self._name}-{number}" for number, name in enumerate(spec.empty_dirs(task))}:
            around = self._around = replace(around, volumes=volumes)
            for volume in volumes.values():
                await self._engine.make_volume(volume, self._labels)
        if task.services:
            around = self._around = replace(around, network=self._name)
            await self._engine.make_network(self._name, self._labels)
            services = Services(self._engine, self._images, self._prepared, around, self._name)
            self._services = services
            await services.start(sink)
        self._image, self._around = image, around
        return image, around

    def _check_folder(self) -> None:
        """Raises ValueError where a script could not begin."""
        folder = self._prepared.task.working_dir
        inside.working_dir(self._prepared.task)
        if not folder.startswith("/") and not (self._prepared.workspace / folder).is_dir():
            raise ValueError(f"The working_dir {folder!r} cannot be entered. Is it in the repository?")

    async def _make(
        self,
        standing: Standing,
        image: spec.Image,
        around: spec.Surroundings,
        holder: Sequence[str] = (),
        scripts: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """The container with all its files, not started. Raises Wrong, EngineSays, EngineAway, ValueError, OSError."""
        self._made.append(standing)
        await self._create(standing, image, around, holder)
        if not await self._files.seen(standing.name):
            await self._engine.remove(standing.name)
            await self._create(standing, image, around, holder)
        await self._files.carry_in(standing.name, image, scripts)

    async def _create(
        self, standing: Standing, image: spec.Image, around: spec.Surroundings, holder: Sequence[str]
    ) -> None:
        prepared, files = self._prepared, self._files
        moved: dict[Path, str] = {prepared.run_dir: inside.RUN, prepared.workspace: files.at}
        environment = inside.environment(prepared.environment, moved)
        if files.mounted:
            around = replace(around, workspace=str(prepared.workspace), mounted_at=files.at)
        config = spec.main_container(prepared, image, environment, around, holder)
        try:
            await standing.create(config)
        except EngineSays as error:
            if not (files.mounted and gone(error)):
                raise
            files.copy_from_now_on()
            await self._create(standing, image, replace(around, workspace=""), holder)

    # ---- the end

    async def close(self) -> None:
        """Nothing of the task is left after this. Raises LostError where its files could not be had, and nobody knows
        yet that it is lost."""
        failed: list[str] = []
        if (standing := self._standing) is not None:
            await self._bring_back(standing, failed)
        for one in self._made:
            await self._quietly(partial(self._engine.remove, one.name))
            one.hang_up()
        if self._services is not None:
            await self._quietly(self._services.remove)
        if self._around is not None:
            if self._around.network:
                await self._quietly(partial(self._engine.remove_network, self._around.network))
            for volume in (self._around.volumes or {}).values():
                await self._quietly(partial(self._engine.remove_volume, volume))
        if self._made:
            await to_thread.run_sync(self._files.hand_back)
        if failed and not self._lost:
            raise LostError(failed[0])

    async def _bring_back(self, standing: Standing, failed: list[str]) -> None:
        if not standing.made or self._image is None:
            return
        try:
            if standing.wrote:
                await self._files.outputs_back(standing.name)
            if self._files.wanted and not self._files.mounted:
                await standing.kill()
                await self._files.workspace_back(standing.name)
        except (Wrong, EngineSays, EngineAway, OSError) as error:
            failed.append(f"The files of its container could not be copied: {error}.")

    async def _quietly(self, remove: Removal) -> None:
        if why := await removed(remove):
            _logger.warning("something of %s is removed later: %s", self._prepared.task_execution_id, why)
            self._owed.append(remove)


async def removed(remove: Removal) -> str:
    """Why something could not be removed; empty if it was."""
    try:
        await remove()
    except (EngineSays, EngineAway, ExceptionGroup) as error:
        return str(error)
    return ""
