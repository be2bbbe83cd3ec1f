"""`formicary outbox`: what is owed to the outside, such as commit statuses, and sending dead letters again."""

from __future__ import annotations

import time
from typing import Final

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import age, as_json, moment, one_line, table
from formicary.runner.core.errors import UserError
from formicary.site.times import duration

PATH: Final = "/api/outbox"


@click.group(short_help="What is owed to the outside, and dead letters sent again.")
def command() -> None:
    """Show what is owed to the outside, and have dead letters sent again.

    \b
    Examples:
      formicary outbox list
      formicary outbox list --dead
      formicary outbox resend 12
    """


@command.command("list")
@click.option("--dead", is_flag=True, help="Only what was given up.")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=30, show_default=True, help="How many.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, dead: bool, limit: int, json_wanted: bool) -> None:
    """List what is still to be sent and what was given up, the newest first. What was sent is not in it.

    \b
    Examples:
      formicary outbox list
      formicary outbox list --dead --json
    """
    found = api.get(PATH, page_size=limit, state="dead" if dead else None)
    if json_wanted:
        click.echo(as_json(found["records"]))
        return
    if not found["records"]:
        click.echo("no dead letters" if dead else "nothing is owed: all was sent")
        return
    heads = ("id", "kind", "request", "owed since", "tries", "next", "of what", "error")
    click.echo(table([_row(one) for one in found["records"]], heads))
    if found["total_records"] > limit:
        click.echo(f"and {found['total_records'] - limit} more; -n shows more of them")


@command.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1))
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def resend(api: Api, ids: tuple[int, ...], everything: bool, json_wanted: bool) -> None:
    """Send dead letters again, or at once what waits for its next try. It needs the role maintainer.

    \b
    Examples:
      formicary outbox resend 12 13
      formicary outbox resend --all
    """
    if bool(ids) == everything:
        raise UserError("name what is to be sent again by its number (formicary outbox list), or give --all")
    wanted = ids or [one["id"] for one in api.records(PATH, state="dead")]
    found = [api.post(f"{PATH}/{number}/resend") for number in wanted]
    if json_wanted:
        click.echo(as_json(found))
        return
    for one in found:
        click.echo(f"{one['kind']} {one_line(one['key'])} is sent again, as number {one['id']}")
    if not found:
        click.echo("no dead letters")


def _row(one: Json) -> tuple[str, ...]:
    return (
        str(one["id"]),
        one["kind"],
        str(one["request_id"] or ""),
        age(one["created_at"]),
        str(one["attempts"]),
        click.style("dead", fg="red") if one["state"] == "dead" else _next(one),
        one_line(one["key"]),
        one_line(one["error"]),
    )


def _next(one: Json) -> str:
    """What is due goes when its destination takes it: one at a time, where that is in trouble."""
    left = (moment(one["due_at"]) or 0.0) - time.time()
    return f"in {duration(left)}" if left > 0 else "in turn"
