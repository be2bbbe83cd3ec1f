"""`formicary token`: make, list and revoke the tokens that people and programs call the server with."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import age, as_json, moment, one_line, table
from formicary.site.times import duration

PATH: Final = "/api/users/admin/tokens"
ROLES: Final = ("viewer", "developer", "maintainer", "admin")
_UNITS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SESSION: Final = "browser session"


class Lifetime(click.ParamType[str]):
    """`30d`, `12h`, `never`, as the moment when it ends; "" for never."""

    name = "30d"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "never":
            return ""
        found = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", value)
        if not found:
            self.fail(f"{value!r} is no lifetime; give 12h, 30d, 8w or never", param, ctx)
        return datetime.fromtimestamp(time.time() + int(found[1]) * _UNITS[found[2]], UTC).isoformat()


@click.group(short_help="Make, list and revoke tokens.")
def command() -> None:
    """Make, list and revoke the tokens that people and programs call the server with.

    \b
    Examples:
      formicary token create laptop --role developer
      formicary token create dashboard --role viewer --repo app --expires 8w
      formicary token list
      formicary token revoke 3
    """


@command.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it may do.")
@click.option("--repo", help="It may see and do things of this repository alone.")
@click.option("--expires", type=Lifetime(), metavar="30d", help="12h, 30d, 8w or never.  [default: 90d]")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def create(api: Api, name: str, role: str, repo: str | None, expires: str | None, json_wanted: bool) -> None:
    """Make a token and print it, this once.

    Only the token goes to the standard output, so that it can be put into a file or a variable.

    \b
    Examples:
      formicary token create laptop --role developer
      FORMICARY_TOKEN=$(formicary token create script --role viewer --expires 1h)
    """
    body: Json = {"name": name, "role": role, "repository": repo}
    if expires is not None:
        body["expires_at"] = expires or None
    found = api.post(PATH, body)
    if json_wanted:
        click.echo(as_json(found))
        return
    until = f"until {found['expires_at'][:10]}" if found["expires_at"] else "for ever"
    scope = f", {found['repository']} only" if found["repository"] else ""
    click.echo(f"token {found['id']} ({found['role']}{scope}), good {until}; it is shown this once:", err=True)
    click.echo(found["token"])


@command.command("list")
@click.option("--all", "sessions", is_flag=True, help="Browser sessions too.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, sessions: bool, json_wanted: bool) -> None:
    """List the tokens; their secrets are kept nowhere.

    \b
    Examples:
      formicary token list
      formicary token list --all --json
    """
    found = [one for one in api.records(PATH) if sessions or not one["name"].startswith(_SESSION)]
    if json_wanted:
        click.echo(as_json(found))
        return
    heads = ("id", "role", "expires", "used", "repository", "name")
    click.echo(table([_row(one) for one in found], heads))


def _row(one: Json) -> tuple[str, ...]:
    used = age(one["used_at"]) or "never"
    return str(one["id"]), one["role"], _expires(one), used, one["repository"] or "all", one_line(one["name"])


def _expires(one: Json) -> str:
    ends = moment(one["expires_at"])
    if ends is None:
        return "never"
    left = ends - time.time()
    return f"in {duration(left)}" if left > 0 else click.style("expired", fg="red")


@command.command()
@click.argument("token_id", metavar="ID", type=click.IntRange(1))
@connected
def revoke(api: Api, token_id: int) -> None:
    """Revoke a token, and the browser sessions that were begun with it, at once.

    \b
    Examples:
      formicary token revoke 3
    """
    api.delete(f"{PATH}/{token_id}")
    click.echo(f"token {token_id} is revoked")
