"""Which executor runs a method: a table of names, so that no executor is imported before a task asks for it.

`pkgutil` finds nothing in an editable install, so the table is written down. Others register by an entry point of the
group `formicary.executors`: its name is the method, its object a factory. A method of ours cannot be replaced. Methods
that need a container engine are offered while one answers, and not before: their tasks wait until then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Final

from formicary.executors import docker_ping
from formicary.executors.contract import Executor
from formicary.executors.docker_settings import DEFAULTS, OFF, DockerSettings
from formicary.executors.process_group import Hands
from formicary.executors.shapes import fork_join
from formicary.runner.core.containing import CONTAINER, DOCKER
from formicary.runner.core.definition import HTTP_METHODS
from formicary.runner.core.errors import NotSupported, SetupError

GROUP: Final = "formicary.executors"
BUILT_IN: Final[Mapping[str, str]] = {
    "SHELL": "formicary.executors.shell:ShellExecutor",
    **dict.fromkeys(HTTP_METHODS, "formicary.executors.http:HttpExecutor"),
    **dict.fromkeys((DOCKER, CONTAINER), "formicary.executors.docker:DockerExecutor"),
}
DOCKERS: Final = frozenset({DOCKER, CONTAINER})

_logger = logging.getLogger(__name__)

Factory = Callable[[Hands, float], Executor]
"""Makes an executor, from the hands that start processes and the grace between TERM and KILL."""
Loader = Callable[[], Factory]
"""Imports a factory."""


class Registry:
    """The executors of one ant, each made when it is first asked for."""

    def __init__(
        self,
        hands: Hands,
        grace: float = 10.0,
        extra: Mapping[str, Loader] | None = None,
        docker: DockerSettings = DEFAULTS,
    ) -> None:
        self._hands = hands
        self._grace = grace
        ours = {name: _loader(place) for name, place in BUILT_IN.items() if name not in DOCKERS}
        self._docker = docker
        engine = _with(BUILT_IN[DOCKER], docker)
        self._loaders = {**_plugins(), **(extra or {}), **ours, **dict.fromkeys(DOCKERS, engine)}
        self._made: dict[Factory, Executor] = {}
        self.complaint = "nobody has looked for a container engine yet"
        """Why there is no container engine; empty while one answers."""
        self._tidied = False

    @property
    def methods(self) -> frozenset[str]:
        """Every method that a task may name here."""
        return frozenset(self._loaders)

    @property
    def offered(self) -> frozenset[str]:
        """Those that can be run now."""
        return self.methods - DOCKERS if self.complaint else self.methods

    @property
    def without(self) -> dict[str, str]:
        """Those that cannot, and why."""
        return dict.fromkeys(self.methods - self.offered, self.complaint)

    async def look(self) -> frozenset[str]:
        """Look whether the container engine answers; what is offered now. At first sight of it, what dead ants have
        left there is removed."""
        docker = self._docker
        complaint = "this ant is told to use no container engine"
        if docker.address != OFF:
            complaint = await docker_ping.complaint(docker.place)
        if not complaint and not self._tidied:
            await self._tidy()
            self._tidied = True
        self.complaint = complaint
        return self.offered

    async def _tidy(self) -> None:
        """The library is imported only if there is anything."""
        try:
            if await docker_ping.labelled(self._docker.place, docker_ping.OURS):
                for name in await self.executor(DOCKER).reap():  # type: ignore[attr-defined]
                    _logger.info("the container %s was left by an ant that is gone; it is removed", name)
        except Exception as error:  # of another engine's, or of a registry's library: no task is to blame
            _logger.warning("what is left of earlier tasks could not be removed: %s", error)

    def executor(self, method: str) -> Executor:
        """The executor of a method. Raises NotSupported, SetupError."""
        factory = self._load(method)
        if factory not in self._made:
            self._made[factory] = factory(self._hands, self._grace)
        return self._made[factory]

    def _load(self, method: str) -> Factory:
        if method not in self._loaders:
            known = ", ".join(sorted(self.methods))
            raise NotSupported(f"This ant cannot run method {method}; it runs {known}.")
        try:
            return self._loaders[method]()
        except ImportError as error:
            raise SetupError(f"Method {method} needs a library that is not installed here: {error}.") from error

    async def aclose(self) -> None:
        """Close the executors that were made."""
        made, self._made = list(self._made.values()), {}
        await fork_join([executor.aclose for executor in made])


def _loader(place: str) -> Loader:
    def load() -> Factory:
        factory: Factory = resolve_name(place)
        return factory

    return load


def _with(place: str, settings: DockerSettings) -> Loader:
    """One factory, however often it is asked for."""

    @cache
    def load() -> Factory:
        return partial(resolve_name(place), settings=settings)

    return load


def _plugins() -> dict[str, Loader]:
    return {point.name: point.load for point in entry_points(group=GROUP)}
