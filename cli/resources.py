"""`formicary resources`: what runs share, such as databases, devices and licences: register, list, switch, forget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import click

from formicary.cli.client import Api, Json, connected
from formicary.cli.format import as_json, one_line, table
from formicary.runner.core.errors import NotFound, UserError

PATH: Final = "/api/jobs/resources"
_NAME: Final = click.option("--name", default="", help="Which one, where there are several of the type.")


@click.group(short_help="What runs share, and how much of it: register, list, switch.")
def command() -> None:
    """Register, list and switch what runs share: databases, devices, licences. Jobs and tasks say `resources`.

    \b
    Examples:
      formicary resources set staging-db --quota 2 --config host=db1.internal
      formicary resources list
      formicary resources disable staging-db
    """


@command.command("list")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
@connected
def list_(api: Api, json_wanted: bool) -> None:
    """List the shared resources, and how many of their units are held now.

    \b
    Examples:
      formicary resources list
      formicary resources list --json
    """
    found = api.records(PATH)
    if json_wanted:
        click.echo(as_json(found))
    elif not found:
        click.echo("nothing is registered; do it with: formicary resources set TYPE --quota 1")
    else:
        click.echo(table([_row(one) for one in found], ("type", "name", "held", "platform", "tags", "properties", "")))


def _row(one: Json) -> tuple[str, ...]:
    properties = " ".join(f"{name}={value}" for name, value in one["configs"].items())
    return (
        one_line(one["resource_type"]),
        one_line(one["name"]) or "-",
        f"{one['held']} of {one['quota']}",
        one_line(one["platform"]) or "-",
        one_line(" ".join(one["tags"])) or "-",
        one_line(properties) or "-",
        "disabled" if one["disabled"] else "",
    )


@command.command("set")
@click.argument("resource_type", metavar="TYPE")
@_NAME
@click.option("--quota", type=click.IntRange(1), help="How many units may be held at a time; 1 for a new one.")
@click.option("--platform", help="What `platform` of a job's `resources` may ask for.")
@click.option("--tag", "tags", multiple=True, help="What `tags` may ask for; repeatable.")
@click.option("--config", "configs", multiple=True, metavar="KEY=VALUE", help="A property, no secret; repeatable.")
@click.option("--description", help="What it is.")
@connected
def set_(
    api: Api,
    resource_type: str,
    name: str,
    quota: int | None,
    platform: str | None,
    tags: Sequence[str],
    configs: Sequence[str],
    description: str | None,
) -> None:
    """Register a shared resource, or change what is said of one. What is not said stays as it is.

    A value that is JSON (a number, true, a list) is taken as such, anything else as text; KEY= without a value removes
    the property.

    \b
    Examples:
      formicary resources set staging-db --quota 2 --config host=db1.internal --config port=5432
      formicary resources set phone --name pixel-8 --platform android --tag usb
    """
    known = _find(api, resource_type, name)
    kept = ("platform", "tags", "quota", "description", "configs")
    body: Json = {key: known[key] for key in kept} if known else {"quota": 1}
    said = {"quota": quota, "platform": platform, "tags": list(tags) or None, "description": description}
    body |= {key: value for key, value in said.items() if value is not None}
    body["configs"] = _with(dict(body.get("configs", {})), configs)
    body |= {"resource_type": resource_type, "name": name}
    answer = api.call("PUT" if known else "POST", f"{PATH}/{known['id']}" if known else PATH, json=body)
    stored: Json = answer.json()
    done = "is changed" if known else "is registered"
    click.echo(f"{_called(stored)} {done}: {stored['quota']} unit{'s' if stored['quota'] > 1 else ''}")


def _with(configs: dict[str, Any], said: Sequence[str]) -> dict[str, Any]:
    """Raises UserError for what is not KEY=VALUE."""
    for one in said:
        key, equals, text = one.partition("=")
        if not key or not equals:
            raise UserError(f"`{one}` is no property; write it as KEY=VALUE")
        if text:
            configs[key] = _value(text)
        else:
            configs.pop(key, None)
    return configs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@command.command()
@click.argument("resource_type", metavar="TYPE")
@_NAME
@connected
def rm(api: Api, resource_type: str, name: str) -> None:
    """Forget a shared resource. Who holds it runs on; who waits for it waits for another one of the type.

    \b
    Examples:
      formicary resources rm staging-db
    """
    found = _must_find(api, resource_type, name)
    api.delete(f"{PATH}/{found['id']}")
    click.echo(f"{_called(found)} is forgotten")


@command.command()
@click.argument("resource_type", metavar="TYPE")
@_NAME
@connected
def disable(api: Api, resource_type: str, name: str) -> None:
    """Give none of it until it is enabled. Who holds it runs on.

    \b
    Examples:
      formicary resources disable staging-db
    """
    _switch(api, resource_type, name, "disable")


@command.command()
@click.argument("resource_type", metavar="TYPE")
@_NAME
@connected
def enable(api: Api, resource_type: str, name: str) -> None:
    """Give it again to those who wait for it.

    \b
    Examples:
      formicary resources enable staging-db
    """
    _switch(api, resource_type, name, "enable")


def _switch(api: Api, resource_type: str, name: str, verb: str) -> None:
    found = _must_find(api, resource_type, name)
    api.post(f"{PATH}/{found['id']}/{verb}")
    click.echo(f"{_called(found)} is {verb}d")


def _called(one: Json) -> str:
    return one_line(one["resource_type"]) + (f" {one_line(one['name'])}" if one["name"] else "")


def _find(api: Api, resource_type: str, name: str) -> Json | None:
    found = api.records(PATH, resource_type=resource_type)
    return next((one for one in found if one["name"] == name), None)


def _must_find(api: Api, resource_type: str, name: str) -> Json:
    found = _find(api, resource_type, name)
    if found is None:
        called = one_line(f"{resource_type} {name}".strip())
        raise NotFound(f"there is no resource `{called}`; `formicary resources list` shows all, with their names")
    return found
