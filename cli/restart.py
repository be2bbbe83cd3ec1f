"""`formicary restart`: run a request that has ended again, whole or what has failed of it."""

from __future__ import annotations

import click

from formicary.cli.asked import tell
from formicary.cli.client import REQUESTS, Api, connected
from formicary.cli.params import REQUEST


@click.command(short_help="Run a request again, whole or what failed.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.option("--failed", is_flag=True, help="Keep the tasks that completed, with their outputs and artifacts.")
@click.option("--hard", is_flag=True, help="Keep nothing: the default, and stronger than --failed.")
@click.option("--wait", "waiting", is_flag=True, help="Wait for the end; exit 0 or 1 as the job's result is.")
@click.option("--json", "json_wanted", is_flag=True, help="The request as JSON (with --wait, once it has ended).")
@connected
def command(api: Api, request_id: int, failed: bool, hard: bool, waiting: bool, json_wanted: bool) -> None:
    """Run REQUEST again, once it has ended: the same definition, commit and parameters, as a new execution.

    A task with allow_start_if_completed and an always_run task run with --failed too.

    \b
    Examples:
      formicary restart 12
      formicary restart 12 --failed --wait
    """
    given = [f"{name}=true" for name, said in (("failed", failed), ("hard", hard)) if said]
    query = f"?{'&'.join(given)}" if given else ""
    found = api.post(f"{REQUESTS}/{request_id}/restart{query}")
    tell(api, found, waiting=waiting, json_wanted=json_wanted)
