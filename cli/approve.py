"""`formicary approve`: approve or reject a task that waits for people, and see what waits."""

from __future__ import annotations

import click

from formicary.cli.client import REQUESTS, Api, Json, connected
from formicary.cli.format import as_json, harmless, state
from formicary.cli.params import REQUEST


def _line(one: Json) -> str:
    said = ", ".join(f"{'yes' if vote['approved'] else 'no'} of {vote['by']}" for vote in one["votes"])
    about = f" at {one['commit'][:10]}" if one["commit"] else ""
    head = f"{click.style(harmless(one['task']), bold=True)}{about}: {state(one['state'])}"
    return f"{head}; for {harmless(one['who'])} to decide; {harmless(said) or 'no vote yet'}"


@click.command(short_help="Approve or reject a task that waits for people.")
@click.argument("request_id", metavar="REQUEST", type=REQUEST)
@click.argument("task", required=False, default="")
@click.option("--reject", is_flag=True, help="Reject it.")
@click.option("--comment", default="", help="Kept with the vote.")
@click.option("--show", is_flag=True, help="Only show what waits, who may decide, and the votes.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, request_id: int, task: str, reject: bool, comment: str, show: bool, json_wanted: bool) -> None:
    """Approve TASK of REQUEST, or the task that waits if there is one alone.

    The commit goes with the vote: nothing else is approved by it.

    \b
    Examples:
      formicary approve 12
      formicary approve 12 production --comment "seen on staging"
      formicary approve 12 --reject --comment "not on a Friday"
      formicary approve 12 --show
    """
    if show:
        found = api.records(f"{REQUESTS}/{request_id}/approvals")
        click.echo(as_json(found) if json_wanted else "\n".join(map(_line, found)) or "nobody is asked anything")
        return
    commit = api.get(f"{REQUESTS}/{request_id}")["commit"]
    word = "reject" if reject else "approve"
    body = {"task": task, "commit": commit, "comment": comment}
    found_now = api.post(f"{REQUESTS}/{request_id}/{word}", body)
    if json_wanted:
        click.echo(as_json(found_now))
    else:
        at = f" at {commit[:10]}" if commit else ""
        click.echo(f"your vote counts: {word}; {found_now['job_type']} {request_id}{at} is {state(found_now['state'])}")
