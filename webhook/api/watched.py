"""What an admin says of a repository: its place, its branch, its forge. Checked here; secrets are stored elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from formicary.runner.core.definition import NATIVE, Dialect
from formicary.runner.core.errors import Conflict, RequestRefused, SetupError
from formicary.runner.core.records import Repository
from formicary.runner.git.address import Address, parse
from formicary.webhook.api import shared

#: The name of a setting in a body, where the record calls it otherwise.
_FIELDS: Final = {"branch": "tracked_branch"}
_NAME: Final = r"^[\w.-]+( ?[\w./-]+)*$"


class RepositoryBody(shared.Body):
    """What is left out stays as it is, or has its default. A `url` never holds a password."""

    url: str = Field(default="", max_length=2000, description="http(s)://…, ssh://…, file://… or user@host:path")
    path: str = Field(default="", max_length=4000, description="A repository on the server's machine, instead of url")
    name: str = Field(default="", max_length=200, pattern=f"^$|{_NAME}", description="Default: the last part of it")
    branch: str = Field(default="", max_length=500, description="The tracked branch; empty: that of HEAD")
    visibility: Literal["private", "public"] = "private"
    forge: Literal["", "github", "gitlab", "gitea"] = Field(default="", description="Default: by the host")
    slug: str = Field(default="", max_length=300, pattern=r"^$|^[\w.-]+(/[\w.-]+)+$", description="owner/name there")
    api_url: str = Field(default="", max_length=2000, pattern="^$|^https?://", description="The forge's API")
    poll: float | None = Field(default=None, gt=0, le=86400, description="Seconds between looks; null: the server's")
    dialect: Dialect = Field(default=NATIVE, description="Of definitions that do not say their `template`")


def new_repository(body: RepositoryBody, organization_id: str, others: Iterable[Repository], data: Path) -> Repository:
    """Raises RequestRefused, Conflict where it is watched already."""
    if bool(body.url) == bool(body.path):
        raise RequestRefused("Give `url` or `path`, and not both.", field="url")
    others = list(others)
    if body.url:
        address = _address(body.url)
        _refuse_twice(others, address)
        base = Repository(id=0, name=address.name, path="", organization_id=organization_id)
    else:
        path = _local(body.path, others, data)
        base = Repository(id=0, name=path.name.removesuffix(".git"), path=str(path), organization_id=organization_id)
    return changed(base, body, others)


def changed(known: Repository, body: RepositoryBody, others: Iterable[Repository]) -> Repository:
    """The repository with what the body says. A remote may move; a local one is somewhere else when it is another."""
    said = body.model_fields_set
    update: dict[str, Any] = {
        _FIELDS.get(name, name): getattr(body, name) for name in said - {"url", "path", "name", "forge", "slug"}
    }
    if "branch" in said:
        update["pinned"] = bool(body.branch)
    if body.name:
        update["name"] = body.name
    address = _address(body.url or known.url) if body.url or known.url else None
    if body.url and known.id:
        _refuse_move(known, address, others)
    if address is not None:
        update["url"] = address.url
    if body.path and known.id and body.path != known.path:
        raise RequestRefused("Another path is another repository; add that one, and forget this one.", field="path")
    return known.model_copy(update=update | _at_forge(known, body, address))


def _at_forge(known: Repository, body: RepositoryBody, address: Address | None) -> dict[str, str]:
    said = body.model_fields_set
    if not said & {"url", "forge", "slug"}:
        return {}
    forge = body.forge if "forge" in said else known.forge or (address.forge if address else "")
    moved = bool(body.url and forge and address)
    slug = body.slug or (address.slug if moved and address else known.slug)
    return {"forge": forge, "slug": slug if forge else ""}


def _address(url: str) -> Address:
    try:
        return parse(url)
    except SetupError as error:
        raise RequestRefused(str(error), field="url") from error


def _refuse_twice(others: Iterable[Repository], address: Address) -> None:
    for other in others:
        if other.url and parse(other.url).identity == address.identity:
            raise Conflict(f"{address.url} is watched already, as {other.name}.")


def _refuse_move(known: Repository, address: Address | None, others: Iterable[Repository]) -> None:
    if not known.url:
        raise RequestRefused("A repository on this machine does not become a remote one; add that one.", field="url")
    if address is not None:
        _refuse_twice((other for other in others if other.id != known.id), address)


def _local(said: str, others: Iterable[Repository], data: Path) -> Path:
    path = Path(said)
    if not path.is_absolute() or ".." in path.parts or "\0" in said:
        raise RequestRefused("`path` must be absolute, on the server's machine.", field="path")
    if path.name == ".git":
        path = path.parent
    if data.resolve().is_relative_to(path.resolve()) or path.resolve().is_relative_to(data.resolve()):
        raise RequestRefused("The server's data folder is no place for a repository, nor inside one.", field="path")
    for other in others:
        if not other.url and Path(other.path).resolve() == path.resolve():
            raise Conflict(f"{path} is watched already, as {other.name}.")
    return path
