"""The forges that take statuses and tell of pull requests, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from formicary.runner.core.records import PullRequest, Repository
from formicary.runner.publish import Credential
from formicary.runner.publish.gitea import Gitea
from formicary.runner.publish.github import GitHub
from formicary.runner.publish.gitlab import GitLab
from formicary.runner.publish.status import Forge


class Told(Forge, Protocol):
    """A forge that also tells which pull requests are open."""

    def close(self) -> None:
        """Let go of connections that are kept open."""
        ...

    async def open_pulls(self, repository: Repository) -> list[PullRequest]:
        """Raises ToldToWait, Undeliverable, WorldError."""
        ...


_MAKING: Final[Mapping[str, Callable[[Credential], Told]]] = {"github": GitHub, "gitlab": GitLab, "gitea": Gitea}


def forges_of(credential: Credential) -> dict[str, Told]:
    """Each with the tokens that `credential` gives."""
    return {name: make(credential) for name, make in _MAKING.items()}


def open_pulls_of(forges: Mapping[str, Told]) -> Callable[[Repository], Awaitable[list[PullRequest]]]:
    """Asks the forge of a repository."""

    async def ask(repository: Repository) -> list[PullRequest]:
        return await forges[repository.forge].open_pulls(repository)

    return ask


def close_all(forges: Mapping[str, Told]) -> None:
    for forge in forges.values():
        forge.close()
