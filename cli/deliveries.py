"""`formicary deliveries`: what hooks have delivered, what came of it, and having one looked at again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Final

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import age, as_json, dim, harmless, one_line, progress, table

PATH: Final = "/api/deliveries"
COLOURS: Final = {"handled": "green", "accepted": "cyan", "held": "yellow"}
#: Seconds that `replay` waits for the reconciler's look, and between two questions.
PATIENCE: Final = 10.0
_PAUSE: Final = 0.1


@click.group(short_help="What hooks delivered, what came of it, and once more.")
def command() -> None:
    """Show what hooks have delivered, what came of it, and have a delivery looked at again.

    \b
    Examples:
      formicary deliveries list
      formicary deliveries show 12
      formicary deliveries replay 12
    """


@command.command("list")
@click.option("--limit", "-n", type=click.IntRange(1, 1000), default=30, show_default=True, help="How many.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, limit: int, json_wanted: bool) -> None:
    """List the newest deliveries, the newest first.

    \b
    Examples:
      formicary deliveries list
      formicary deliveries list -n 1000 --json
    """
    found = api.get(PATH, page_size=limit)["records"]
    if json_wanted:
        click.echo(as_json(found))
    elif not found:
        click.echo("nothing was delivered yet; commits are found without hooks too, a little later")
    else:
        heads = ("id", "came", "forge", "event", "verdict", "requests", "why")
        click.echo(table([_row(one) for one in found], heads))


@command.command()
@click.argument("delivery_id", metavar="ID", type=click.IntRange(1))
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def show(api: Api, delivery_id: int, json_wanted: bool) -> None:
    """Show a delivery with its body, in which secrets are masked. It needs the role maintainer.

    \b
    Examples:
      formicary deliveries show 12
    """
    found = api.get(f"{PATH}/{delivery_id}")
    if json_wanted:
        click.echo(as_json(found))
        return
    click.echo("\n".join(_lines(found)))
    click.echo(harmless(_pretty(found["body"])))


@command.command()
@click.argument("delivery_id", metavar="ID", type=click.IntRange(1))
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def replay(api: Api, delivery_id: int, json_wanted: bool) -> None:
    """Have a delivery looked at again, as if it had just come. It needs the role maintainer.

    What it has caused before is not caused a second time: a request that was made of it stays the only one. To run a
    job again, trigger or restart it.

    \b
    Examples:
      formicary deliveries replay 12
    """
    found = api.post(f"{PATH}/{delivery_id}/replay")
    with progress("the server looks at it"):
        found = _looked_at(api, found)
    if json_wanted:
        click.echo(as_json(found))
        return
    click.echo("\n".join(_lines(found)))
    if found["verdict"] == "accepted":
        click.echo(f"the server looks at it; formicary deliveries show {delivery_id} says later what came of it")


def _looked_at(api: Api, found: Json) -> Json:
    """The delivery once it was looked at; as it is by then where that takes longer."""
    deadline = time.monotonic() + PATIENCE
    while found["verdict"] == "accepted" and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        found = {key: value for key, value in api.get(f"{PATH}/{found['id']}").items() if key != "body"}
    return found


def _row(one: Json) -> tuple[str, ...]:
    return (
        str(one["id"]),
        age(one["received_at"]),
        one["forge"],
        one_line(one["event"]),
        _verdict(one),
        _requests(one),
        one_line(one["reason"]),
    )


def _lines(one: Json) -> Iterator[str]:
    head = click.style(f"delivery {one['id']}", bold=True)
    yield f"{head}: {one_line(one['event'])} of {one['forge']}, {age(one['received_at'])}, {dim(one['delivery_key'])}"
    reason = f": {one_line(one['reason'])}" if one["reason"] else ""
    requests = f"; requests {_requests(one)}" if one["request_ids"] else ""
    yield f"  {_verdict(one)}{reason}{requests}"


def _verdict(one: Json) -> str:
    return click.style(one["verdict"], fg=COLOURS.get(one["verdict"]))


def _requests(one: Json) -> str:
    return ", ".join(str(number) for number in one["request_ids"])


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
