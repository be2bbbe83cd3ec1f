"""What is shown of a request that somebody has just asked for: why it waits, what becomes of it, how it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import click

from formicary.cli.client import REQUESTS, Api, Json
from formicary.cli.follow import Follower, opened
from formicary.cli.format import SUCCESS, as_json, one_line, state
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


def tell(api: Api, request: Json, *, waiting: bool, json_wanted: bool) -> None:
    """Show it; with `waiting` until it has ended, and then exit 0 or 1 as its result is."""
    ended = request
    with goes_on(request):
        if not json_wanted:
            _asked(api, request)
        if waiting:
            ended = anyio.run(_wait, api, request["id"], Silent() if json_wanted else Lines())
    if json_wanted:
        click.echo(as_json(ended))
    elif waiting:
        click.echo(result_line(ended))
    else:
        click.echo(f"  follow it: formicary logs {request['id']} -f")
    if waiting:
        sys.exit(0 if ended["state"] in SUCCESS else 1)


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
