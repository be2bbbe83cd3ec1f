"""The middle of the DOCKER executor: the services of a task, on a network of their own, ready before its script.

A service is ready when its health command succeeds, its port takes connections or its image's HEALTHCHECK says so; what
it wrote is told when it fails, or the script does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from formicary.executors.contract import Prepared, Sink
from formicary.executors.docker_api import Engine, EngineSays, lines_of
from formicary.executors.docker_images import Images, Wrong
from formicary.executors.docker_spec import Image, Surroundings, service_container
from formicary.executors.shapes import fork_join, poll_until, with_deadline
from formicary.runner.core.containing import Service
from formicary.runner.core.errors import ERR_DEFINITION, ERR_SERVICE

TAIL: Final = 20
"""Lines of a failed service that are told."""
_LISTENS: Final = "0A"


@dataclass(slots=True)
class Services:
    """Those of one task. `made` holds the containers' names, so that whatever happens they can be removed."""

    engine: Engine
    images: Images
    prepared: Prepared
    around: Surroundings
    prefix: str
    made: dict[str, str] = field(default_factory=dict)
    """Service → container."""

    async def start(self, sink: Sink) -> None:
        """All of them at once; returns when all are ready. Raises Wrong, EngineAway."""
        try:
            await fork_join([partial(self._start, one, sink) for one in self.prepared.task.services])
        except BaseExceptionGroup as several:  # one of their reasons is enough
            raise several.exceptions[0] from None

    async def _start(self, service: Service, sink: Sink) -> None:
        def say(text: str) -> None:
            sink.sys(f"Service {service.name}: {text}")

        image = await self.images.have(service.image, service.pull_policy, say)
        name = f"{self.prefix}-{service.name}"
        try:
            config = service_container(service, image, self.prepared.limits, self.around)
            self.made[service.name] = name
            await self.engine.create(name, config)
            await self.engine.start(name)
        except ValueError as error:
            raise Wrong(ERR_DEFINITION, f"Service {service.name}: {error}") from error
        except EngineSays as error:
            raise Wrong(ERR_SERVICE, f"Service {service.name} cannot be started: {error}.") from error
        await self._ready(service, image, sink)

    async def _ready(self, service: Service, image: Image, sink: Sink) -> None:
        health = service.health
        check = self._check(service, image)
        last: list[str] = ["it says nothing"]

        async def again() -> bool | None:
            state = (await self.engine.inspect(self.made[service.name]))["State"]
            if not state["Running"]:
                raise Wrong(ERR_SERVICE, f"Service {service.name} ended with exit code {state['ExitCode']}.")
            with anyio.move_on_after(health.timeout):
                complaint = await check(state)
                last[0] = complaint or last[0]
                return None if complaint else True
            last[0] = f"a check takes longer than {health.timeout:g} s"
            return None

        # A service that is quick need not wait for a whole interval.
        first = min(health.interval, 0.1)
        patience = health.retries * max(health.interval, 0.1)
        try:
            await with_deadline(
                patience, lambda: poll_until(again, first, factor=1.5, at_most=health.interval), service.name
            )
        except TimeoutError:
            told = f"Service {service.name} was not ready within {patience:g} s: {last[0]}."
            raise Wrong(ERR_SERVICE, told) from None
        except EngineSays as error:
            raise Wrong(ERR_SERVICE, f"Service {service.name} is gone: {error}.") from error
        sink.sys(f"Service {service.name} is ready.")

    def _check(self, service: Service, image: Image) -> Callable[[Mapping[str, Any]], Any]:
        """What says why it is not ready yet; nothing if it is."""
        name, health = self.made[service.name], service.health
        if health.command:
            return partial(self._by_command, name, list(health.command))
        if health.port is not None:
            return partial(self._by_ports, name, [health.port])
        if image.checks_health:
            return self._by_image
        ports = [port.number for port in service.ports if port.protocol == "TCP"]
        return partial(self._by_ports, name, ports)

    async def _by_command(self, name: str, command: list[str], state: Mapping[str, Any]) -> str:
        del state
        code, said = await self.engine.run_in(name, command)
        last = said.decode("utf-8", "replace").strip()[-200:]
        return f"its health command ends with {code}" + (f" ({last})" if last else "") if code else ""

    async def _by_image(self, state: Mapping[str, Any]) -> str:
        status = str((state.get("Health") or {}).get("Status") or "unknown")
        return "" if status == "healthy" else f"its HEALTHCHECK says {status}"

    async def _by_ports(self, name: str, ports: list[int], state: Mapping[str, Any]) -> str:
        for port in ports:
            if not await self._listens(name, port):
                return f"nothing listens at port {port}"
        return ""

    async def _listens(self, name: str, port: int) -> bool:
        """By connecting, where its network can be reached from here; else as its own kernel tells."""
        if self.engine.local and (address := await self._address(name)):
            try:
                stream = await anyio.connect_tcp(address, port)
            except OSError:
                return False
            await stream.aclose()
            return True
        code, said = await self.engine.run_in(name, ["cat", "/proc/net/tcp", "/proc/net/tcp6"])
        rows = [line.split() for line in lines_of(said)]
        listening = {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTENS}
        return port in listening or (code in (126, 127) and not listening)

    async def _address(self, name: str) -> str:
        networks = (await self.engine.inspect(name))["NetworkSettings"]["Networks"]
        return next((str(one["IPAddress"]) for one in networks.values() if one["IPAddress"]), "")

    async def tell(self, sink: Sink) -> None:
        """What they wrote last, in our words."""
        for service, name in self.made.items():
            try:
                state = (await self.engine.inspect(name))["State"]
                said = await self.engine.logs(name, TAIL)
            except EngineSays:
                continue  # it was never made
            how = "runs" if state["Running"] else f"ended with exit code {state['ExitCode']}"
            lines = list(lines_of(said))
            sink.sys(f"Service {service} {how}; " + ("it wrote last:" if lines else "it wrote nothing."))
            for line in lines:
                sink.sys(f"{service}: {line}")

    async def remove(self) -> None:
        await fork_join([partial(self.engine.remove, name) for name in self.made.values()])
