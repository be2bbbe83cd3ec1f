"""`formicary logs`: what a task wrote, as it wrote it, or as it writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final

import anyio
import click
import httpx

from formicary.cli import complete
from formicary.cli.client import REQUESTS, Api, Connection, Json, checked, connected
from formicary.cli.follow import Follower, follow_log, no_task, opened
from formicary.cli.format import ENDED, one_line
from formicary.cli.params import REQUEST
from formicary.cli.show import Lines, result_line
from formicary.runner.core.errors import NotFound

_BATCH: Final = 500
_RANGE_EMPTY: Final = 416


def choose(tasks: Sequence[Json]) -> Json | None:
    """The task that a reader most likely means: one that failed, else one that runs, else the last one."""
    begun = [task for task in tasks if task["attempts"]]
    for wanted in (lambda task: task["state"] == "FAILED", lambda task: task["state"] not in ENDED):
        found = [task for task in begun if wanted(task)]
        if found:
            return found[0]
    return max(begun, key=lambda task: task["attempts"][-1]["started_at"] or "", default=None)


def attempt_of(api: Api, request_id: int, name: str, number: int | None) -> tuple[str, Json]:
    """The task and the attempt whose log is wanted. Raises NotFound."""
    tasks = api.tasks(request_id)
    if name:
        task = next((one for one in tasks if one["task_type"] == name), None)
        if task is None:
            raise NotFound(no_task(request_id, name, tasks))
    else:
        task = choose(tasks)
    if task is not None and task.get("combinations"):
        task = choose([one for one in tasks if one.get("matrix_of") == task["task_type"]]) or task
    if task is None or not task["attempts"]:
        why = one_line(api.get(f"{REQUESTS}/{request_id}/why")["why"])
        raise NotFound(f"nothing of this has run, so there is no log: {(task or {}).get('reason') or why}")
    found = [one for one in task["attempts"] if number in (None, one["number"])]
    if not found:
        raise NotFound(f"`{task['task_type']}` has no attempt {number}; it has {len(task['attempts'])}")
    return task["task_type"], found[-1]


def print_records(api: Api, task: str, attempt: Json, show: Lines) -> None:
    batch: list[Json] = []
    with api.stream(_path(attempt), params={"format": "records"}) as response:
        for line in response.iter_lines():
            batch.append(json.loads(line))
            if len(batch) >= _BATCH:
                show.records(task, attempt, batch)
                batch = []
    show.records(task, attempt, batch)
    show.log_ended(task, attempt)


def print_raw(api: Api, attempt: Json) -> None:
    """Exactly the bytes that the commands wrote."""
    with api.stream(_path(attempt)) as response:
        for chunk in response.iter_bytes():
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


async def follow_raw(connection: Connection, attempt: Json) -> None:
    """The events say when there is more; the bytes are fetched as they are, from where the last ones ended."""
    async with opened(connection) as http:
        at = await _more(http, attempt, 0)
        async for _ in follow_log(connection, http, attempt["id"]):
            at = await _more(http, attempt, at)
        await _more(http, attempt, at)


async def _more(http: httpx.AsyncClient, attempt: Json, at: int) -> int:
    async with http.stream("GET", _path(attempt), headers={"Range": f"bytes={at}-"}) as response:
        if response.status_code == _RANGE_EMPTY:
            return at
        if not response.is_success:
            await response.aread()
            checked(response)
        async for chunk in response.aiter_bytes():
            sys.stdout.buffer.write(chunk)
            at += len(chunk)
    sys.stdout.buffer.flush()
    return at


async def follow(connection: Connection, request_id: int, task: str, show: Lines) -> Json:
    async with opened(connection) as http:
        states = not task and sys.stdout.isatty()
        return await Follower(connection, http, request_id, show, only=task, logs=True, states=states).run()


def _path(attempt: Json) -> str:
    return f"/api/tasks/{attempt['id']}/log"


@click.command(short_help="Show what a task wrote, or follow it.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.argument("task", required=False, default="", shell_complete=complete.request_tasks)
@click.option("--follow", "-f", "following", is_flag=True, help="Go on until the task (without TASK: the job) ends.")
@click.option("--raw", is_flag=True, help="Exactly the bytes that the commands wrote.")
@click.option("--timestamps", "-t", is_flag=True, help="When each line was written (UTC).")
@click.option("--attempt", type=click.IntRange(1), help="Which attempt.  [default: the last one]")
@connected
def command(
    api: Api, request_id: int, task: str, following: bool, raw: bool, timestamps: bool, attempt: int | None
) -> None:
    """Show what TASK of REQUEST wrote. Without TASK: the one that failed, else the one that runs, else the last one.

    With -f and without TASK all tasks are followed, each line with its task's name.

    \b
    Examples:
      formicary logs 12
      formicary logs 12 test -f
      formicary logs 12 build --raw > build.log
    """
    if raw and timestamps:
        raise click.UsageError("--raw shows the bytes alone; leave --timestamps away")
    if following and not raw and attempt is None:
        api.get(f"{REQUESTS}/{request_id}")
        ended = anyio.run(follow, api.connection, request_id, task, Lines(not task, timestamps, task or ""))
        if not task:
            click.echo(result_line(ended), err=True)
        return
    name, found = attempt_of(api, request_id, task, attempt)
    if not task and not raw:
        click.echo(click.style(f"{name}, attempt {found['number']}: {found['state']}", bold=True), err=True)
    if raw and following:
        anyio.run(follow_raw, api.connection, found)
    elif raw:
        print_raw(api, found)
    else:
        print_records(api, name, found, Lines(stamps=timestamps))
