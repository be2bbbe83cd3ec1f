"""`formicary resume`: let a paused request go on."""

from __future__ import annotations

import click

from formicary.cli.client import REQUESTS, Api, connected
from formicary.cli.format import as_json
from formicary.cli.params import REQUEST


@click.command(short_help="Let a paused request go on.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, request_id: int, json_wanted: bool) -> None:
    """Let REQUEST go on, as soon as it is its turn. Tasks that completed are kept.

    \b
    Examples:
      formicary resume 12
    """
    found = api.post(f"{REQUESTS}/{request_id}/resume")
    click.echo(as_json(found) if json_wanted else f"{found['job_type']} {request_id} goes on when it is its turn")
