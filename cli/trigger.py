"""`formicary trigger`: ask the server to run a job, and wait for its result where that is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import click

from formicary.cli import complete
from formicary.cli.asked import tell
from formicary.cli.client import REQUESTS, Api, Json, connected
from formicary.cli.params import PARAM, params_of


@click.command(short_help="Ask the server to run a job.")
@click.argument("job", shell_complete=complete.server_jobs)
@click.option(
    "--repo",
    shell_complete=complete.repositories,
    help="The repository whose job it is; needed where several have one of this name.",
)
@click.option("--ref", help="Branch or tag to run it on.  [default: the tracked branch]")
@click.option("--param", "-p", multiple=True, type=PARAM, metavar="K=V", help="A parameter; repeatable.")
@click.option("--wait", "waiting", is_flag=True, help="Wait for the end; exit 0 or 1 as the job's result is.")
@click.option("--json", "json_wanted", is_flag=True, help="The request as JSON (with --wait, once it has ended).")
@connected
def command(
    api: Api,
    job: str,
    repo: str | None,
    ref: str | None,
    param: Sequence[tuple[str, str]],
    waiting: bool,
    json_wanted: bool,
) -> None:
    """Ask the server to run JOB.

    \b
    Examples:
      formicary trigger ci
      formicary trigger deploy --param Env=staging --wait
      formicary trigger ci --repo app --ref release/2 --json
    """
    body: Json = {"job_type": job, "repository": repo, "ref": ref, "params": params_of(param)}
    tell(api, api.post(REQUESTS, body), waiting=waiting, json_wanted=json_wanted)
