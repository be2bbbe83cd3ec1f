"""What the operator's formicary.toml says of a watched repository: how it is read, and what signs its hooks.

Read anew each time, so that a new token counts without a restart. A file that others may read is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from formicary.cli.repository import RepositorySettings
from formicary.cli.settings import Settings
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository
from formicary.runner.git.address import parse
from formicary.runner.git.remote import USERNAME, Credentials


def said_of(settings: Settings, repository: Repository) -> RepositorySettings | None:
    """What the operator says of this one: by its address, or by the name that he gave it."""
    for one in settings.repo:
        if repository.url and one.url and parse(one.url).identity == parse(repository.url).identity:
            return one
    named = [one for one in settings.repo if one.name and one.name == repository.name]
    return next((one for one in named if bool(one.url) == bool(repository.url)), None)


def credentials_of(
    settings: Settings, environment: Mapping[str, str] | None = None
) -> Callable[[Repository], Credentials | None]:
    """Raises SetupError, when called, for a secret that is not there or that others may read."""
    variables = os.environ if environment is None else environment

    def credentials(repository: Repository) -> Credentials | None:
        said = said_of(settings, repository)
        if said is None:
            return None
        return Credentials(
            token=_secret(said.token_env, said.token_file, variables, repository, "token"),
            username=said.username or USERNAME,
            deploy_key=_private(said.deploy_key, repository, "deploy_key") if said.deploy_key else None,
            known_hosts=_there(said.known_hosts, repository) if said.known_hosts else None,
        )

    return credentials


def hook_secret_of(
    settings: Settings, environment: Mapping[str, str] | None = None
) -> Callable[[Repository], bytes | None]:
    """What signs a repository's own hooks at its forge; None where the operator says nothing."""
    variables = os.environ if environment is None else environment

    def secret(repository: Repository) -> bytes | None:
        said = said_of(settings, repository)
        if said is None:
            return None
        name, file = said.webhook_secret_env, said.webhook_secret_file
        return _secret(name, file, variables, repository, "webhook_secret").encode() or None

    return secret


def _secret(name: str, file: Path | None, variables: Mapping[str, str], repository: Repository, key: str) -> str:
    if file is not None:
        found = _private(file, repository, f"{key}_file").read_text("utf-8").strip()
        if not found:
            raise SetupError(f"{file} is empty; the `{key}_file` of {repository.name} holds its {key} on one line.")
        return found
    if not name:
        return ""
    found = variables.get(name, "").strip()
    if not found:
        raise SetupError(f"The variable {name} is not set; `{key}_env` of {repository.name} says that it holds one.")
    return found


def _there(path: Path, repository: Repository) -> Path:
    if not path.is_file():
        raise SetupError(f"{path} is no file; formicary.toml names it for {repository.name}.")
    return path.absolute()


def _private(path: Path, repository: Repository, key: str) -> Path:
    """A file for nobody else's eyes."""
    mode = _there(path, repository).stat().st_mode
    if mode & 0o077:
        raise SetupError(f"Others may read {path}, the `{key}` of {repository.name}; run: chmod 600 {path}")
    return path.absolute()
