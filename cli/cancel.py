"""`formicary cancel`: end a request; its always_run tasks still run."""

from __future__ import annotations

import click

from formicary.cli.client import REQUESTS, Api, connected
from formicary.cli.format import ENDED, as_json, state
from formicary.cli.params import REQUEST


@click.command(short_help="Cancel a request.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.option("--reason", default="", help="Shown with the request.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, request_id: int, reason: str, json_wanted: bool) -> None:
    """Cancel REQUEST. Its always_run tasks still run; cancel it a second time to end these too.

    \b
    Examples:
      formicary cancel 12
      formicary cancel 12 --reason "wrong branch"
    """
    found = api.post(f"{REQUESTS}/{request_id}/cancel", {"reason": reason})
    if json_wanted:
        click.echo(as_json(found))
    elif found["state"] in ENDED:
        click.echo(f"{found['job_type']} {request_id} is {state(found['state'])}")
    else:
        click.echo(f"cancelling {found['job_type']} {request_id}; see it end: formicary logs {request_id} -f")
