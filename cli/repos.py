"""`formicary repos`: what is watched, what was synced of it, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from formicary.cli import complete
from formicary.cli.clear import in_the_clear
from formicary.cli.client import Api, Json, connected
from formicary.cli.format import age, as_json, harmless, one_line, progress, state, table
from formicary.runner.core.errors import NotFound, WorldError
from formicary.runner.git.address import is_address

PATH = "/api/repos"


@click.command(short_help="What is watched, how it is synced, what is wrong.")
@click.option("--sync", is_flag=True, help="Let the server look at each of them first.")
@click.option("--add", "address", metavar="URL|PATH", help="Watch this one too: an address, or a folder.")
@click.option("--name", help="With --add: what to call it.")
@click.option("--branch", help="With --add: the branch to track.  [default: that of HEAD]")
@click.option(
    "--forget",
    metavar="NAME",
    shell_complete=complete.repositories,
    help="Watch this one no longer; its requests stay until they are too old.",
)
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(
    api: Api,
    sync: bool,
    address: str | None,
    name: str | None,
    branch: str | None,
    forget: str | None,
    json_wanted: bool,
) -> None:
    """Show the watched repositories, their definitions, and what is wrong with these.

    \b
    Examples:
      formicary repos
      formicary repos --sync
      formicary repos --add https://github.com/owner/name.git --branch main
      formicary repos --add git@example.org:owner/name.git
      formicary repos --forget old-project

    What a private one needs is stored with `formicary secrets set --credential`, or named in formicary.toml.
    """
    if address is None and (name or branch):
        raise click.UsageError("--name and --branch belong to --add")
    if address is not None:
        _add(api, address, name or "", branch or "", json_wanted)
        return
    if forget is not None:
        _forget(api, forget)
        return
    with progress("looking at the repositories"):
        found = [_sync(api, one["id"], sync) for one in api.records(PATH)]
    if json_wanted:
        click.echo(as_json(found))
    elif not found:
        click.echo("no repository is watched; name one: formicary serve --repo PATH")
    for one in () if json_wanted else found:
        click.echo("\n".join(_lines(one)))


def _add(api: Api, address: str, name: str, branch: str, json_wanted: bool) -> None:
    place = {"url": address} if is_address(address) else {"path": str(Path(address).expanduser().absolute())}
    if in_the_clear(address):
        click.echo(f"warning: {address} is not HTTPS; a token that you give it can be read on its way", err=True)
    said = {"name": name, "branch": branch}
    made = api.post(PATH, place | {key: value for key, value in said.items() if value})
    try:
        with progress("looking at it"):
            found = api.post(f"{PATH}/{made['id']}/sync")
    except WorldError as error:
        click.echo(f"{one_line(made['name'])} is watched from now on, but: {error}", err=True)
        found = _sync(api, made["id"], False)
    click.echo(as_json(found) if json_wanted else "\n".join(_lines(found)))


def _forget(api: Api, name: str) -> None:
    found = {one["name"]: one["id"] for one in api.records(PATH)}
    if name not in found:
        known = ", ".join(map(one_line, sorted(found))) or "none"
        raise NotFound(f"no repository called `{one_line(name)}` is watched; there is {known}")
    api.delete(f"{PATH}/{found[name]}")
    click.echo(f"{one_line(name)} is watched no longer; a server that is started with --repo watches it again")


def _sync(api: Api, repository_id: int, look: bool) -> Json:
    """What is known of it; `look`: after a look. What cannot be read holds up no other, and its own line says why."""
    path = f"{PATH}/{repository_id}/sync"
    if look:
        with suppress(WorldError):
            return api.post(path)
    return api.get(path)


def _lines(found: Json) -> Iterator[str]:
    repository = found["repository"]
    branch = f", branch {repository['tracked_branch']}" if repository["tracked_branch"] else ""
    place = one_line(repository["url"] or repository["path"])
    looked = f"; looked at {age(repository['looked_at'])}" if repository["looked_at"] else ""
    yield click.style(one_line(repository["name"]), bold=True) + f" ({place}{branch})"
    synced = f"synced {found['commit'][:10]}, {age(found['synced_at'])}" if found["commit"] else "nothing synced yet"
    trouble = f"; {repository['state']}: {one_line(repository['error'])}" if repository["error"] else ""
    yield f"  {synced}{looked}{click.style(trouble, fg='red')}"
    rows = [(f"  {state(one['state'])}", one_line(one["job_type"]), one["path"]) for one in found["definitions"]]
    if rows:
        yield table(rows)
    if found["commit"] and all(one["state"] == "Orphaned" for one in found["definitions"]):
        remedy = "commit a .formicary/*.yml (`formicary init` writes a first one)"
        yield f"  no job is defined at {found['commit'][:10]}; {remedy}"
    for one in found["definitions"]:
        for problem in one["problems"]:
            yield from (f"    {line}" for line in harmless(problem).splitlines())
