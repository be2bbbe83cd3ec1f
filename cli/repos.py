"""`formicary repos`: what is watched, what was synced of it, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import age, as_json, harmless, one_line, progress, state, table
from formicary.runner.core.errors import NotFound

PATH = "/api/repos"


@click.command(short_help="What is watched, how it is synced, what is wrong.")
@click.option("--sync", is_flag=True, help="Let the server look at each of them first.")
@click.option("--forget", metavar="NAME", help="Watch this one no longer; its requests stay until they are too old.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, sync: bool, forget: str | None, json_wanted: bool) -> None:
    """Show the watched repositories, their definitions, and what is wrong with these.

    \b
    Examples:
      formicary repos
      formicary repos --sync
      formicary repos --forget old-project
    """
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


def _forget(api: Api, name: str) -> None:
    found = {one["name"]: one["id"] for one in api.records(PATH)}
    if name not in found:
        known = ", ".join(map(one_line, sorted(found))) or "none"
        raise NotFound(f"no repository called `{one_line(name)}` is watched; there is {known}")
    api.delete(f"{PATH}/{found[name]}")
    click.echo(f"{one_line(name)} is watched no longer; a server that is started with --repo watches it again")


def _sync(api: Api, repository_id: int, look: bool) -> Json:
    path = f"{PATH}/{repository_id}/sync"
    return api.post(path) if look else api.get(path)


def _lines(found: Json) -> Iterator[str]:
    repository = found["repository"]
    branch = f", branch {repository['tracked_branch']}" if repository["tracked_branch"] else ""
    yield click.style(one_line(repository["name"]), bold=True) + f" ({one_line(repository['path'])}{branch})"
    synced = f"synced {found['commit'][:10]}, {age(found['synced_at'])}" if found["commit"] else "nothing synced yet"
    trouble = f"; {repository['state']}: {one_line(repository['error'])}" if repository["error"] else ""
    yield f"  {synced}{click.style(trouble, fg='red')}"
    rows = [(f"  {state(one['state'])}", one_line(one["job_type"]), one["path"]) for one in found["definitions"]]
    if rows:
        yield table(rows)
    for one in found["definitions"]:
        for problem in one["problems"]:
            yield from (f"    {line}" for line in harmless(problem).splitlines())
