"""`formicary why`: one sentence that says why a request is where it is."""

from __future__ import annotations

import click

from formicary.cli.client import REQUESTS, Api, connected
from formicary.cli.format import as_json, harmless, state
from formicary.cli.params import REQUEST


@click.command(short_help="Say why a request waits, or is where it is.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, request_id: int, json_wanted: bool) -> None:
    """Say why REQUEST waits, or is where it is.

    \b
    Examples:
      formicary why 12
    """
    found = api.get(f"{REQUESTS}/{request_id}/why")
    click.echo(as_json(found) if json_wanted else f"{request_id} {state(found['state'])}: {harmless(found['why'])}")
