"""How this server gets into a watched repository, and what signs its hooks: what the operator's formicary.toml says of
it, else what is stored (`formicary secrets set --credential`).

Read anew each time, so that a new token counts without a restart. A file that others may read is refused.
"""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from formicary.cli.inmemory import InMemory
from formicary.cli.repository import RepositorySettings
from formicary.cli.settings import Settings
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository
from formicary.runner.git.address import parse
from formicary.runner.git.remote import USERNAME, Credentials
from formicary.runner.store import Store

log = logging.getLogger("formicary")

REMEMBERED: Final = 10_000
"""Repositories of which it is remembered which entry of formicary.toml speaks of them."""
_OPENSSH: Final = b"openssh-key-v1\0"
_OLD_AND_LOCKED: Final = re.compile(rb"^(Proc-Type:.*|-----BEGIN )ENCRYPTED", re.M)

Stored = Callable[[int, str], str | None]
"""The credential of this name that is stored for a repository (its number); `Secrets.credential`."""


def nothing_stored(_repository_id: int, _name: str) -> str | None:
    return None


@lru_cache(maxsize=REMEMBERED)
def _identity(url: str) -> object:
    return parse(url).identity


def said_of(settings: Settings, repository: Repository) -> RepositorySettings | None:
    """What the operator says of this one: by its address, or by the name that he gave it."""
    for one in settings.repo:
        if repository.url and one.url and _identity(one.url) == _identity(repository.url):
            return one
    named = [one for one in settings.repo if one.name and one.name == repository.name]
    return next((one for one in named if bool(one.url) == bool(repository.url)), None)


def credential_of(
    settings: Settings, store: Store, stored: Stored, environment: Mapping[str, str] | None = None
) -> Stored:
    """One credential by name: `token`, `username`, `deploy_key` (its text) or `webhook_secret`. Raises SetupError, when
    called, for one that is not there though formicary.toml names it, that others may read, or that does not open."""
    variables = os.environ if environment is None else environment

    def credential(repository_id: int, name: str) -> str | None:
        repository = store.read().repository(repository_id)
        said = said_of(settings, repository) if repository else None
        found = _said(said, name, variables, repository) if said and repository else ""
        return found or stored(repository_id, name) or None

    return credential


def _said(said: RepositorySettings, name: str, variables: Mapping[str, str], repository: Repository) -> str:
    if name == "token":
        return _secret(said.token_env, said.token_file, variables, repository, name)
    if name == "webhook_secret":
        return _secret(said.webhook_secret_env, said.webhook_secret_file, variables, repository, name)
    if name == "deploy_key":
        return _private(said.deploy_key, repository, name).read_text("utf-8") if said.deploy_key else ""
    return said.username


def credentials_of(
    settings: Settings, environment: Mapping[str, str] | None = None, stored: Stored = nothing_stored
) -> Callable[[Repository], Credentials | None]:
    """Raises SetupError, when called, for a secret that is not there or that others may read."""
    variables = os.environ if environment is None else environment
    keys = InMemory()

    def key_of(said: RepositorySettings | None, repository: Repository) -> Path | None:
        if said and said.deploy_key:
            path = _private(said.deploy_key, repository, "deploy_key")
            _unlocked(path.read_bytes(), repository)
            return path
        text = stored(repository.id, "deploy_key")
        _unlocked((text or "").encode(), repository)
        return keys.path(f"{repository.id}", text.rstrip("\n") + "\n") if text else None

    def credentials(repository: Repository) -> Credentials | None:
        said = said_of(settings, repository)
        if said is None and stored is nothing_stored:
            return None
        token = _said(said, "token", variables, repository) if said else ""
        known_hosts = said.known_hosts if said else None
        return Credentials(
            token=token or stored(repository.id, "token") or "",
            username=(said.username if said else "") or stored(repository.id, "username") or USERNAME,
            deploy_key=key_of(said, repository),
            known_hosts=_there(known_hosts, repository) if known_hosts else None,
        )

    return credentials


def hook_secret_of(
    settings: Settings, environment: Mapping[str, str] | None = None, stored: Stored = nothing_stored
) -> Callable[[Repository], bytes | None]:
    """What signs a repository's own hooks at its forge; None where nobody says anything. Where it cannot be had, it is
    one that nobody knows."""
    variables = os.environ if environment is None else environment

    @lru_cache(maxsize=REMEMBERED)
    def said_at(url: str, name: str) -> RepositorySettings | None:
        return said_of(settings, Repository(id=0, name=name, path="", url=url))

    def secret(repository: Repository) -> bytes | None:
        said = said_at(repository.url, repository.name)
        try:
            found = _said(said, "webhook_secret", variables, repository) if said else ""
            return (found or stored(repository.id, "webhook_secret") or "").encode() or None
        except SetupError as error:  # its own hooks are refused, those of other repositories are not (D8)
            log.warning("hooks of %s are refused: %s", repository.name, error)
            return os.urandom(32)

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


def _unlocked(key: bytes, repository: Repository) -> None:
    """ssh only says of a key with a passphrase that the other side does not accept it. The cipher's name follows the
    magic of OpenSSH's format (its PROTOCOL.key); older ones have a header."""
    body = b"".join(line for line in key.splitlines() if not line.startswith(b"-----"))
    try:
        plain = base64.b64decode(body, validate=True)
    except ValueError:
        plain = b""
    locked = plain.startswith(_OPENSSH) and not plain.startswith(_OPENSSH + b"\0\0\0\4none")
    if locked or _OLD_AND_LOCKED.search(key):
        raise SetupError(
            f"The `deploy_key` of {repository.name} has a passphrase, and nobody is here to type it; give it a key "
            "without one (ssh-keygen -p takes it away)."
        )


def _private(path: Path, repository: Repository, key: str) -> Path:
    """A file for nobody else's eyes."""
    mode = _there(path, repository).stat().st_mode
    if mode & 0o077:
        raise SetupError(f"Others may read {path}, the `{key}` of {repository.name}; run: chmod 600 {path}")
    return path.absolute()
