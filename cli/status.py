"""`formicary status`: what runs, what waits and why, what has ended; or all about one request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from formicary.cli.client import REQUESTS, Api, Json, connected
from formicary.cli.format import COLOURS, age, as_json, one_line, state, table, took
from formicary.cli.params import REQUEST
from formicary.runner.core.refs import short

RUNNING: Final = ("READY", "STARTED", "EXECUTING")
WAITING: Final = ("PENDING", "PAUSED", "MANUAL_APPROVAL_REQUIRED")
ENDED: Final = ("COMPLETED", "FAILED", "SKIPPED", "CANCELLED")
LATEST: Final = 20
_SHOWN: Final = 50
_EXPLAINED: Final = 20


def overview(api: Api) -> Json:
    running, waiting, latest = (
        api.get(REQUESTS, state=states, page_size=size)
        for states, size in ((RUNNING, _SHOWN), (WAITING, _SHOWN), (ENDED, LATEST))
    )
    for one in waiting["records"][:_EXPLAINED]:
        one["why"] = api.get(f"{REQUESTS}/{one['id']}/why")["why"]
    return {
        "running": running["records"],
        "waiting": waiting["records"],
        "latest": latest["records"],
        "total_running": running["total_records"],
        "total_waiting": waiting["total_records"],
    }


def details(api: Api, request_id: int) -> Json:
    request = api.get(f"{REQUESTS}/{request_id}")
    why = api.get(f"{REQUESTS}/{request_id}/why")["why"]
    children = api.get(f"{REQUESTS}/{request_id}/children")["children"]
    return {"request": request, "tasks": api.tasks(request_id), "why": why, "children": children}


def _overview_lines(found: Json) -> Iterator[str]:
    if not any(found[part] for part in ("running", "waiting", "latest")):
        yield "nothing has run yet; commit something, or: formicary trigger JOB"
    for part, rows in (
        ("running", [_running(one) for one in found["running"]]),
        ("waiting", [_waiting(one) for one in found["waiting"]]),
        ("latest", [_ended(one) for one in found["latest"]]),
    ):
        if rows:
            total = found.get(f"total_{part}", len(rows))
            yield click.style(part, bold=True) + (f" ({len(rows)} of {total})" if total > len(rows) else "")
            yield table(rows)


def _head(one: Json) -> tuple[str, str, str]:
    return f"  {one['id']}", state(one["state"]), _job(one)


def _job(one: Json) -> str:
    repository = f"{one['repository']}/" if one["repository"] else ""
    return one_line(repository + one["job_type"])


def _running(one: Json) -> tuple[str, ...]:
    return (*_head(one), f"for {took(one['started_at'] or one['created_at'], None)}", _ref(one))


def _waiting(one: Json) -> tuple[str, ...]:
    return (*_head(one), f"for {took(one['created_at'], None)}", one_line(one.get("why") or one["reason"]))


def _ended(one: Json) -> tuple[str, ...]:
    said = one_line(one["error_message"] or one["reason"])
    return (*_head(one), age(one["ended_at"]), took(one["started_at"], one["ended_at"]), _ref(one), said)


def _ref(one: Json) -> str:
    return one_line(" ".join(part for part in (short(one["ref"]), one["commit"][:10]) if part))


def _details_lines(found: Json) -> Iterator[str]:
    request = found["request"]
    head = f"{_job(request)} {request['id']}"
    yield f"{click.style(head, bold=True)} {state(request['state'])}: {one_line(found['why'])}"
    yield table([row for row in _facts(request) if row[1]])
    rows = [_task(task) for task in found["tasks"]]
    if rows:
        yield ""
        yield table(rows, ("  state", "took", "attempts", "task", "said"))
    if found["children"]:
        yield ""
        yield click.style("forked", bold=True)
        yield table([(*_head(one), one_line(one["error_message"] or one["reason"])) for one in found["children"]])
    warnings = [(task, text) for task in found["tasks"] for one in task["attempts"] for text in one["warnings"]]
    for task, text in warnings:
        yield click.style(f"  warning: {task['task_type']}: {one_line(text)}", fg=COLOURS["SKIPPED"])


def _facts(request: Json) -> list[tuple[str, str]]:
    params = ", ".join(f"{name}={one_line(str(value))}" for name, value in request["params"].items() if _own(name))
    return [
        ("  asked for", f"{age(request['created_at'])} ({_cause(request)})"),
        ("  forked by", str(request["parent_id"] or "")),
        ("  ref", _ref(request)),
        ("  params", params),
        ("  took", took(request["started_at"], request["ended_at"])),
        ("  error", _error(request)),
    ]


def _cause(request: Json) -> str:
    """A move in git has nobody's name but its own."""
    event, by = request["event"], request["created_by"]
    return f"{event}, by {by}" if by not in ("", event) else str(event)


def _own(name: str) -> bool:
    """Whether a parameter is the job's, and not one of git's facts."""
    return not name.startswith(("Git", "CI")) and name != "FORMICARY"


def _error(request: Json) -> str:
    text = " ".join(part for part in (request["error_code"], one_line(request["error_message"])) if part)
    return click.style(text, fg="red") if text else ""


def _tested(attempt: Json | None) -> str:
    """What its reports say, in figures."""
    return str(attempt["tested"]) if attempt else ""


def _task(task: Json) -> tuple[str, ...]:
    last = task["attempts"][-1] if task["attempts"] else None
    time_taken = took(last["started_at"], last["ended_at"]) if last and last["started_at"] else ""
    said, tested = task["reason"] or (last["error_message"] if last else ""), _tested(last)
    said = said if tested in said else " · ".join(filter(None, (said, tested)))
    name, tries = task["task_type"], str(len(task["attempts"]))
    if whole := task.get("combinations"):
        tries = f"{whole['size'] - whole['left']} of {whole['size']}"
    elif task.get("matrix_of"):
        name = f"  {name.removeprefix(task['matrix_of']).strip(' ')}"
    return f"  {state(task['state'])}", time_taken, tries, name, one_line(said)


@click.command(short_help="What runs, what waits and why, what has ended.")
@click.argument("request_id", metavar="[REQUEST]", required=False, type=REQUEST)
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def command(api: Api, request_id: int | None, json_wanted: bool) -> None:
    """Show what runs, what waits and why, and the latest 20 that have ended; or all about REQUEST.

    \b
    Examples:
      formicary status
      formicary status 12
      formicary status --json | jq '.latest[0].state'
    """
    found = overview(api) if request_id is None else details(api, request_id)
    if json_wanted:
        click.echo(as_json(found))
    else:
        lines = _overview_lines(found) if request_id is None else _details_lines(found)
        click.echo("\n".join(lines))
