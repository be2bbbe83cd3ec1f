"""`formicary audits`: who did what, and when."""

from __future__ import annotations

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import as_json, harmless


def _line(one: Json) -> str:
    who = one["user_id"] + (f" (token {one['token_id']})" if one["token_id"] is not None else "")
    about = ", ".join(f"{name}={value}" for name, value in one["detail"].items())
    return harmless(f"{one['at'][:19]}  {who}  {one['action']}  {one['subject']}" + (f"  {about}" if about else ""))


@click.command(short_help="Who did what, and when.")
@click.option("--user", help="Only what this one did.")
@click.option("--action", help="Only this, such as approve or secret.set.")
@click.option("--request", "request_id", type=int, help="Only what was done to this request.")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(
    api: Api, user: str | None, action: str | None, request_id: int | None, count: int, json_wanted: bool
) -> None:
    """Show who did what, the newest first: approvals, cancelled and restarted jobs, secrets, repositories, tokens.

    \b
    Examples:
      formicary audits
      formicary audits --action approve --request 12
    """
    found = api.get("/api/audits", user=user, action=action, request=request_id, page_size=count)["records"]
    click.echo(as_json(found) if json_wanted else "\n".join(map(_line, found)) or "nothing has been done yet")
