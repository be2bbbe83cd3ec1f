"""`formicary plugins`: which versions of plugins there are, and what one of them says."""

from __future__ import annotations

from typing import Final

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import as_json, harmless, one_line, table
from formicary.runner.core.errors import NotFound

PATH: Final = "/api/plugins"


@click.group(short_help="Jobs with versions that others fork: list them, show one.")
def command() -> None:
    """List and show plugins: jobs with a `sem_version`, which FORK_JOB tasks name by it. A released version never
    changes.

    \b
    Examples:
      formicary plugins list
      formicary plugins show io.example.scan --version ^1.2
    """


@command.command("list")
@click.argument("job_type", required=False, metavar="[JOB]")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, job_type: str | None, json_wanted: bool) -> None:
    """List the versions of all plugins, or of one, the newest first.

    \b
    Examples:
      formicary plugins list
      formicary plugins list io.example.scan
    """
    found = api.records(PATH, job_type=job_type)
    if json_wanted:
        click.echo(as_json(found))
    elif not found:
        click.echo("there are no plugins yet; write `sem_version` in a job that others fork")
    else:
        click.echo(table([_row(one) for one in found], ("plugin", "version", "commit", "from", "")))


def _row(one: Json) -> tuple[str, ...]:
    notes = [word for word, true in (("public", one["public"]), ("may change", not one["released"])) if true]
    return (
        one_line(one["job_type"]),
        one_line(one["sem_version"]),
        one["commit"][:12] or "-",
        one_line(one["repository"]) or one_line(one["organization_id"]),
        ", ".join(notes),
    )


@command.command()
@click.argument("job_type", metavar="JOB")
@click.option("--version", "wanted", default="", help="This one, or `^1.2`; else the newest.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def show(api: Api, job_type: str, wanted: str, json_wanted: bool) -> None:
    """Show the text of a plugin: of the newest release, or of the newest version that is wanted.

    \b
    Examples:
      formicary plugins show io.example.scan
      formicary plugins show io.example.scan --version 1.0-dev
    """
    found = api.records(PATH, job_type=job_type, wanted=wanted or None)
    if not found:
        raise NotFound(
            f"there is no version {wanted} of `{job_type}`" if wanted else f"there is no plugin `{job_type}`"
        )
    newest = next((one for one in found if one["released"]), found[0])
    one = api.get(f"{PATH}/{newest['id']}")
    click.echo(as_json(one) if json_wanted else _text(one))


def _text(one: Json) -> str:
    where = one_line(one["repository"]) or one_line(one["organization_id"])
    head = f"# {one_line(one['job_type'])} {one_line(one['sem_version'])}, {where} {one['commit'][:12]}"
    return f"{head}\n{harmless(one['text'].rstrip())}"
