"""`formicary trigger`: ask the server to run a job, and wait for its result where that is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio
import click

from formicary.cli import complete
from formicary.cli.client import REQUESTS, Api, Json, connected
from formicary.cli.follow import Follower, opened
from formicary.cli.format import SUCCESS, as_json, one_line, state
from formicary.cli.params import PARAM, params_of
from formicary.cli.show import Lines, result_line


class Silent(Lines):
    """For --json: the end alone is told."""

    def state(self, task: Json) -> None:
        pass

    def retried(self, task: Json, attempt: Json) -> None:
        pass


@contextmanager
def goes_on(request: Json) -> Iterator[None]:
    """Ctrl-C within this ends the waiting, not the job."""
    try:
        yield
    except KeyboardInterrupt:
        name = f"{request['job_type']} {request['id']}"
        click.echo(f"\nstopped waiting; {name} goes on. To cancel it: formicary cancel {request['id']}", err=True)
        raise


async def _wait(api: Api, request_id: int, show: Lines) -> Json:
    """Show the tasks' states until the request has ended; returns it."""
    async with opened(api.connection) as http:
        return await Follower(api.connection, http, request_id, show).run()


def _asked(api: Api, request: Json) -> None:
    head = f"{request['job_type']} {request['id']}"
    where = f" of {request['repository']}" if request["repository"] else ""
    commit = f" at {request['commit'][:10]}" if request["commit"] else ""
    click.echo(f"{click.style(head, bold=True)}{where}{commit}: {state(request['state'])}")
    if request["state"] == "PENDING":
        why = api.get(f"{REQUESTS}/{request['id']}/why")["why"]
        click.echo(f"  {one_line(why)}")


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
    ended = request = api.post(REQUESTS, body)
    with goes_on(request):
        if not json_wanted:
            _asked(api, request)
        if waiting:
            show = Silent() if json_wanted else Lines()
            ended = anyio.run(_wait, api, request["id"], show)
    if json_wanted:
        click.echo(as_json(ended))
    elif waiting:
        click.echo(result_line(ended))
    else:
        click.echo(f"  follow it: formicary logs {request['id']} -f")
    if waiting:
        sys.exit(0 if ended["state"] in SUCCESS else 1)
