"""`formicary pause`: let nothing new of a request start; `formicary resume` lets it go on."""

from __future__ import annotations

import click

from formicary.cli.client import REQUESTS, Api, connected
from formicary.cli.format import as_json, state
from formicary.cli.params import REQUEST


@click.command(short_help="Pause a request when what runs has ended.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.option("--reason", default="", help="Shown with the request.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, request_id: int, reason: str, json_wanted: bool) -> None:
    """Let nothing new of REQUEST start. What runs finishes; then it rests until it is resumed.

    \b
    Examples:
      formicary pause 12 --reason "the disk is changed"
      formicary resume 12
    """
    found = api.post(f"{REQUESTS}/{request_id}/pause", {"reason": reason})
    if json_wanted:
        click.echo(as_json(found))
    elif found["state"] == "PAUSED":
        click.echo(f"{found['job_type']} {request_id} is {state(found['state'])}")
    else:
        click.echo(f"{found['job_type']} {request_id} pauses when what runs has ended")
