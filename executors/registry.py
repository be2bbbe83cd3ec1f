"""Which executor runs a method: a table of names, so that no executor is imported before a task asks for it.

`pkgutil` finds nothing in an editable install, so the table is written down. Others register by an entry point of the
group `formicary.executors`: its name is the method, its object a factory. A method of ours cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Final

from formicary.executors.contract import Executor
from formicary.executors.process_group import Hands
from formicary.executors.shapes import fork_join
from formicary.runner.core.definition import HTTP_METHODS
from formicary.runner.core.errors import NotSupported, SetupError

GROUP: Final = "formicary.executors"
BUILT_IN: Final[Mapping[str, str]] = {
    "SHELL": "formicary.executors.shell:ShellExecutor",
    **dict.fromkeys(HTTP_METHODS, "formicary.executors.http:HttpExecutor"),
}

Factory = Callable[[Hands, float], Executor]
"""Makes an executor, from the hands that start processes and the grace between TERM and KILL."""
Loader = Callable[[], Factory]
"""Imports a factory."""


class Registry:
    """The executors of one ant, each made when it is first asked for."""

    def __init__(self, hands: Hands, grace: float = 10.0, extra: Mapping[str, Loader] | None = None) -> None:
        self._hands = hands
        self._grace = grace
        self._loaders = {**_plugins(), **(extra or {}), **{name: _loader(place) for name, place in BUILT_IN.items()}}
        self._made: dict[Factory, Executor] = {}

    @property
    def methods(self) -> frozenset[str]:
        """Every method that a task may name here."""
        return frozenset(self._loaders)

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


def _plugins() -> dict[str, Loader]:
    return {point.name: point.load for point in entry_points(group=GROUP)}
