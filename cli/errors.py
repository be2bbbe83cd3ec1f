"""`formicary errors`: what failures are called, by what they say, and whether they are tried again."""

from __future__ import annotations

from typing import Any, Final

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import as_json, one_line, table
from formicary.runner.core.errors import NotFound, UserError

PATH: Final = "/api/errors"
_SCOPES: Final = ("job_type", "task_type", "platform")


@click.group(short_help="What failures are called, and whether they are tried again.")
def command() -> None:
    """Name failures by what they say or their exit code, and say whether they are worth another try.

    \b
    Examples:
      formicary errors set ERR_DISK_FULL --regex 'No space left on device' --hard --message 'clean the runner'
      formicary errors set ERR_FLAKY_NET --regex 'Connection reset' --retry 2
      formicary errors list
    """


@command.command("list")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, json_wanted: bool) -> None:
    """List the error codes: by what a failure is known, where, and what follows.

    \b
    Examples:
      formicary errors list
      formicary errors list --json
    """
    found = api.records(PATH)
    if json_wanted:
        click.echo(as_json(found))
    elif not found:
        click.echo("no failure has a name of its own; give it one with: formicary errors set ERR_NAME --regex TEXT")
    else:
        click.echo(table([_row(one) for one in found], ("id", "code", "known by", "where", "then", "message")))


def _row(one: Json) -> tuple[str, ...]:
    known = [f"/{one['regex']}/"] if one["regex"] else []
    known += [f"exit {one['exit_code']}"] if one["exit_code"] is not None else []
    where = " ".join(f"{name.partition('_')[0]}={one[name]}" for name in _SCOPES if one[name] not in ("", "*"))
    return (
        str(one["id"]),
        one["error_code"],
        one_line(" and ".join(known)),
        one_line(where) or "anywhere",
        _then(one),
        one_line(one["message"]) or "-",
    )


def _then(one: Json) -> str:
    retry = one["retry"]
    words = {"RETRY_TASK": f"the task up to {retry} times more", "RETRY_JOB": f"the job up to {retry} times more"}
    return {"": "-", "HARD_FAILURE": "no more tries", **words}[one["action"]]


@command.command("set")
@click.argument("error_code", metavar="CODE")
@click.option("--regex", default="", help="What the error message or one of the last lines of the log says (RE2).")
@click.option("--exit-code", type=int, help="What the task ended with.")
@click.option("--job", "job_type", default="", help="Only in this job.")
@click.option("--task", "task_type", default="", help="Only in tasks of this name.")
@click.option("--platform", default="", help="Only in jobs that ask for this platform.")
@click.option("--retry", type=click.IntRange(1, 100), help="The task is tried again, up to so many times.")
@click.option("--retry-job", type=click.IntRange(1, 100), help="The job is tried again, up to so many times.")
@click.option("--hard", is_flag=True, help="Neither task nor job is tried again, as with FATAL.")
@click.option("--message", help="What people are told with the failure.")
@click.option("--description", help="What it is, for those who look at this list.")
@connected
def set_(
    api: Api,
    error_code: str,
    regex: str,
    exit_code: int | None,
    job_type: str,
    task_type: str,
    platform: str,
    retry: int | None,
    retry_job: int | None,
    hard: bool,
    message: str | None,
    description: str | None,
) -> None:
    """Call failures CODE (ERR_…) that are known by --regex, --exit-code or both; or change what follows.

    One code may be known in several ways. The same way again changes what is said of it. Failures that have happened
    keep their codes.

    \b
    Examples:
      formicary errors set ERR_DISK_FULL --regex 'No space left on device' --hard --message 'clean the runner'
      formicary errors set ERR_FLAKY_NET --regex '(?i)connection reset' --retry 2
      formicary errors set ERR_LICENCE --exit-code 77 --job nightly --retry-job 3
    """
    if sum((retry is not None, retry_job is not None, hard)) > 1:
        raise UserError("--retry, --retry-job and --hard exclude each other: say one of them")
    way: Json = {"regex": regex, "exit_code": exit_code}
    way |= {"job_type": job_type, "task_type": task_type, "platform": platform}
    same = (one for one in api.records(PATH, error_code=error_code) if all(one[key] == way[key] for key in way))
    known = next(same, None)
    body = {"error_code": error_code, **way, **_follows(retry, retry_job, hard)}
    for name, said in (("message", message), ("description", description)):
        body[name] = said if said is not None else known[name] if known else ""
    stored: Json = api.call("PUT" if known else "POST", f"{PATH}/{known['id']}" if known else PATH, json=body).json()
    then = _then(stored)
    click.echo(
        f"{error_code} ({stored['id']}) is {'changed' if known else 'set'}" + (f": {then}" if then != "-" else "")
    )


def _follows(retry: int | None, retry_job: int | None, hard: bool) -> dict[str, Any]:
    if hard:
        return {"action": "HARD_FAILURE", "retry": 0}
    if retry_job is not None:
        return {"action": "RETRY_JOB", "retry": retry_job}
    return {"action": "RETRY_TASK", "retry": retry} if retry is not None else {"action": "", "retry": 0}


@command.command()
@click.argument("which", metavar="ID|CODE")
@connected
def rm(api: Api, which: str) -> None:
    """Forget an error code: one way to know it by its id, or all ways of a CODE.

    \b
    Examples:
      formicary errors rm 3
      formicary errors rm ERR_DISK_FULL
    """
    found = [one for one in api.records(PATH) if which in (str(one["id"]), one["error_code"])]
    if not found:
        raise NotFound(f"there is no error code `{one_line(which)}`; `formicary errors list` shows all, with their ids")
    for one in found:
        api.delete(f"{PATH}/{one['id']}")
        click.echo(f"{one['error_code']} ({one['id']}) is forgotten")
