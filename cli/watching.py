"""The repositories of the settings become watched ones when a server starts; those of earlier starts stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio

from formicary.cli.clear import in_the_clear
from formicary.cli.credentials import Stored, credential_of
from formicary.cli.house import House
from formicary.cli.repository import RepositorySettings
from formicary.cli.settings import Settings
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository
from formicary.runner.git.address import Address, parse

TITLE: Final = "formicary serves:"
FIRST_LOOK: Final = 20.0
"""Seconds that the start waits for the first looks; a large remote goes on in the background."""


async def watch_all(house: House, settings: Settings, say: Any) -> None:
    """Raises SetupError for what cannot be watched; a remote that does not answer now is said, and tried again."""
    named: dict[int, Repository] = {}
    for one in settings.repo:
        stored = await house.reconciler.add(_wanted(house, settings, one))
        named[stored.id] = stored

    async def look(repository_id: int) -> None:
        named[repository_id] = await house.reconciler.sync(repository_id)

    with anyio.move_on_after(FIRST_LOOK):
        async with anyio.create_task_group() as group:
            for repository_id in named:
                group.start_soon(look, repository_id, name=f"first look at {repository_id}")
    say(TITLE)
    for repository in named.values():
        say(_found(house, repository))
    for repository in house.store.read().repositories():
        if repository.id not in named:  # named at an earlier start
            say(_found(house, repository))
    credential = credential_of(settings, house.store, house.queen.secrets.credential)
    for sentence in tokens_in_the_clear(house.store.read().repositories(), credential):
        say(f"  warning   {sentence}")


def tokens_in_the_clear(repositories: list[Repository], credential: Stored) -> Iterator[str]:
    """What to say of those whose token goes over plain HTTP."""
    for one in repositories:
        place = next((url for url in (one.url, one.api_url) if in_the_clear(url)), "")
        if place and _has_token(one, credential):
            yield f"the token of {one.name} can be read on its way to {place}; use its https address"


def _has_token(repository: Repository, credential: Stored) -> bool:
    try:
        return bool(credential(repository.id, "token"))
    except SetupError:  # there is one, which is not at hand now
        return True


def _wanted(house: House, settings: Settings, one: RepositorySettings) -> Repository:
    if one.path is None:
        address = parse(one.url)
        known = _known_remote(house, address, one)
        base = known or Repository(id=0, name=_free_name(house, address.name, _owner(address)), path="")
        return _with_settings(base, one, address)
    path = _path(one.path)
    if settings.data.resolve().is_relative_to(path.resolve()):
        raise SetupError(f"the data folder {settings.data} lies in the watched repository {path}; give another --data")
    name = path.name.removesuffix(".git") or "root"
    base = _known(house, path) or Repository(id=0, name=_free_name(house, name, path.parent.name), path=str(path))
    return _with_settings(base, one, None)


def _with_settings(base: Repository, one: RepositorySettings, address: Address | None) -> Repository:
    """What the operator said counts; what he did not say of a known one stays as it is where it was found out."""
    update: dict[str, object] = {
        "visibility": one.visibility,
        "pinned": bool(one.branch),
        "forge": {"": address.forge if address else "", "none": ""}.get(one.forge, one.forge),
        "api_url": one.api_url,
        "poll": one.poll,
        "dialect": one.dialect,
    }
    update["slug"] = one.slug or (address.slug if address and update["forge"] else "")
    if address is not None:
        update["url"] = address.url
    if one.name:
        update["name"] = one.name
    if one.branch:
        update["tracked_branch"] = one.branch
    return base.model_copy(update=update)


def _path(said: Path) -> Path:
    """One repository, one spelling; a link stays one, for it may lead elsewhere tomorrow."""
    path = said.expanduser().absolute()
    if path.name == ".git" and path.is_dir():
        path = path.parent
    return path.resolve() if ".." in path.parts else path


def _known(house: House, path: Path) -> Repository | None:
    """The repository that is watched there already, by whichever path: watched twice, everything would run twice."""
    local = (one for one in house.store.read().repositories() if not one.url)
    return next((one for one in local if _same(Path(one.path), path)), None)


def _known_remote(house: House, address: Address, one: RepositorySettings) -> Repository | None:
    """The one of this address; else the remote that had this name: then it has moved here, and keeps its history."""
    remote = [other for other in house.store.read().repositories() if other.url]
    here = [other for other in remote if parse(other.url).identity == address.identity]
    named = [other for other in remote if one.name and other.name == one.name]
    return next(iter([*here, *named]), None)


def _same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


def _owner(address: Address) -> str:
    return address.slug.rpartition("/")[0].rpartition("/")[2]


def _free_name(house: House, name: str, above: str) -> str:
    """The folder's name, or with its parent's before it, or with a number behind it."""
    taken = {repository.name for repository in house.store.read().repositories()}
    candidates = (name, f"{above}-{name}", *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(one for one in candidates if one not in taken)


def _found(house: House, repository: Repository) -> str:
    definitions = house.store.read().definitions(repository_id=repository.id)
    head = f"  watching  {repository.name} ({repository.url or repository.path}"
    if repository.tracked_branch:
        head += f", branch {repository.tracked_branch}"
    lines = [head + ")"]
    if repository.error:
        lines.append(f"            {repository.error}")
    elif repository.url and repository.seen_at is None:
        lines.append("            its first fetch goes on")
    elif not repository.tracked_branch:
        lines.append("            its HEAD names no branch; check one out, or name it in formicary.toml (branch)")
    elif not definitions:
        lines.append("            no .formicary/*.yml there yet; commit one and it runs")
    for definition in definitions:
        lines.append(f"            {definition.state.value:<9} {definition.job_type}  ({definition.path})")
        lines.extend(f"              {line}" for problem in definition.problems for line in problem.splitlines())
    return "\n".join(lines)
