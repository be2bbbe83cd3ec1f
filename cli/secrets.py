"""`formicary secrets`: set, list and remove secrets. A value is typed, piped in or read from a file; it is never
printed, and never a word of the command line, which everybody on the machine can see."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from formicary.cli.clear import in_the_clear
from formicary.cli.client import Api, Json, connected
from formicary.cli.format import age, as_json, one_line, table
from formicary.runner.core.errors import NotFound, SetupError, UserError
from formicary.runner.core.secrets.sight import EVENTS

PATH: Final = "/api/secrets"
NOT_THERE: Final = (
    "a value on the command line can be seen by everybody on this machine and stays in the shell's history; give the "
    "name alone, and type the value when you are asked, or pipe it in"
)
_MOST: Final = 1 << 20


@click.group(short_help="Set, list and remove secrets.")
def command() -> None:
    """Set, list and remove secrets: what tasks may use, and how this server gets into repositories.

    \b
    Examples:
      formicary secrets set DeployKey --repo app --branch main
      pass show ci/npm | formicary secrets set NpmToken
      formicary secrets set deploy_key --credential --repo app --file ~/.ssh/app_ed25519
      formicary secrets list
      formicary secrets rm NpmToken
    """


@command.command("set")
@click.argument("words", nargs=-1, required=True, metavar="NAME")
@click.option("--repo", help="Only for this repository.")
@click.option("--job", default="", help="Only for this job of the repository.")
@click.option(
    "--branch", "branches", multiple=True, metavar="GLOB", help="Only for runs of these branches; repeatable."
)
@click.option("--event", "events", multiple=True, type=click.Choice(EVENTS), help="Only for these; repeatable.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take the value from there.")
@click.option("--credential", is_flag=True, help="How the server gets into the repository: token, deploy_key, …")
@connected
def set_(
    api: Api,
    words: Sequence[str],
    repo: str | None,
    job: str,
    branches: Sequence[str],
    events: Sequence[str],
    file: Path | None,
    credential: bool,
) -> None:
    """Set a secret, or give it another value and other limits.

    The value is asked for twice; or it is what is piped in, without the last line's end; or the file as it is. It is
    sealed with the server's master key and never shown again.

    With --credential the name is token, username, deploy_key or webhook_secret; of these the last line's end is left
    out of a file too, but for deploy_key.

    \b
    Examples:
      formicary secrets set DeployKey --repo app --branch main --branch 'release/*'
      pass show ci/npm | formicary secrets set NpmToken --event push
      formicary secrets set webhook_secret --credential --repo app
    """
    name = _name(words)
    _heard_by_nobody(api)
    body: Json = {
        "name": name,
        "kind": _kind(credential),
        "repository": repo,
        "job": job,
        "branches": branches,
        "events": events,
        "value": value_of(name, file, a_line=credential and name != "deploy_key"),
    }
    answer = api.call("POST", PATH, json=body)
    stored: Json = answer.json()
    done = "is set" if answer.status_code == 201 else "has its new value"
    click.echo(f"{one_line(stored['name'])} {done} for {_scope(stored)}{_limits(stored)}")
    if stored["warning"]:
        click.echo(f"warning: {stored['warning']}", err=True)


def _name(words: Sequence[str]) -> str:
    """Raises UserError, without the value, for whoever wrote one there."""
    if len(words) > 1 or "=" in words[0]:
        raise UserError(NOT_THERE)
    return words[0]


def _kind(credential: bool) -> str:
    return "credential" if credential else "secret"


def _heard_by_nobody(api: Api) -> None:
    if in_the_clear(api.connection.url):
        click.echo(f"warning: {api.connection.url} is not HTTPS; the value can be read on its way", err=True)


def value_of(name: str, file: Path | None, *, a_line: bool = False) -> str:
    """The value that is typed, piped in, or in the file; `a_line`: the end of a file's line is none of it.
    Raises SetupError for what is no text."""
    if file is None and sys.stdin.isatty():
        typed: str = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    if file is None:
        data = sys.stdin.buffer.read(_MOST)
    else:
        with open(file, "rb") as opened:
            data = opened.read(_MOST)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SetupError("the value is no text in UTF-8; store it as base64") from error
    return text if file and not a_line else text.removesuffix("\n").removesuffix("\r")


@command.command("list")
@click.option("--repo", help="Only those of this repository.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, repo: str | None, json_wanted: bool) -> None:
    """List names, scopes and limits; values are never shown.

    \b
    Examples:
      formicary secrets list
      formicary secrets list --repo app --json
    """
    found = api.records(PATH, repository=repo)
    if json_wanted:
        click.echo(as_json(found))
    elif not found:
        click.echo("there are no secrets; set one with: formicary secrets set NAME")
    else:
        click.echo(table([_row(one) for one in found], ("name", "for", "only", "set", "by")))


def _row(one: Json) -> tuple[str, ...]:
    name = one_line(one["name"]) + (" (credential)" if one["kind"] == "credential" else "")
    limits = _limits(one).removeprefix(", ") or "-"
    return name, _scope(one), limits, age(one["updated_at"]), one_line(one["created_by"])


def _scope(one: Json) -> str:
    if not one["repository"]:
        return "all repositories" if one["repository_id"] is None else f"repository {one['repository_id']}"
    return one_line(one["repository"]) + (f", job {one_line(one['job'])}" if one["job"] else "")


def _limits(one: Json) -> str:
    found = ""
    for word, many in (("branches", one["branches"]), ("events", one["events"])):
        found += f", {word} {' '.join(map(one_line, many))}" if many else ""
    return found


@command.command()
@click.argument("name")
@click.option("--repo", help="The repository's.")
@click.option("--job", default="", help="This job's.")
@click.option("--credential", is_flag=True, help="The repository's credential.")
@connected
def rm(api: Api, name: str, repo: str | None, job: str, credential: bool) -> None:
    """Remove a secret of exactly this scope.

    \b
    Examples:
      formicary secrets rm NpmToken
      formicary secrets rm DeployKey --repo app
      formicary secrets rm token --credential --repo app
    """
    wanted: dict[str, Any] = {"name": name, "kind": _kind(credential), "job": job}
    there = [one for one in api.records(PATH, repository=repo) if repo or one["repository_id"] is None]
    found = next((one for one in there if wanted.items() <= one.items()), None)
    if found is None:
        raise NotFound(
            f"there is no such secret `{one_line(name)}`; `formicary secrets list` shows all with their scopes"
        )
    api.delete(f"{PATH}/{found['id']}")
    click.echo(f"{one_line(name)} of {_scope(found)} is removed")
