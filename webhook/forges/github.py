"""GitHub's hooks: what its headers and bodies say, as a Fact. Pure; the signature was checked before.

https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from pydantic import Field

from formicary.runner.core.records import Fact
from formicary.runner.publish.github_shapes import Pull, Repository, Said, Text, User, pull_request

FORGE: Final = "github"
SIGNATURE: Final = "x-hub-signature-256"
EVENT: Final = "x-github-event"
DELIVERY: Final = "x-github-delivery"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


class WrongType(ValueError):
    """Neither JSON nor a form."""


def payload_text(content_type: str, body: bytes) -> str:
    """The JSON of a body: the body itself, or the form's field `payload`. Raises WrongType, ValueError."""
    kind = content_type.partition(";")[0].strip().lower()
    text = body.decode("utf-8")
    if kind == JSON:
        return text
    if kind != FORM:
        raise WrongType(f"Send the hook as {JSON} or {FORM}.")
    found = parse_qs(text, max_num_fields=100).get("payload", [])
    if len(found) != 1:
        raise ValueError("The form has no field `payload`.")
    return found[0]


def json_text(content_type: str, body: bytes) -> str:
    """The JSON of a body that may be nothing else. Raises WrongType, ValueError."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise WrongType(f"Send the hook as {JSON}.")
    return body.decode("utf-8")


def fact_of(event: str, text: str) -> Fact:
    """What this delivery says. Raises ValueError for what is no such event of GitHub's."""
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError("The body is no JSON object.")
    read = _READERS.get(event)
    return read(said) if read else _common(_Hook.model_validate(said), "ping" if event == "ping" else "other")


class _Hook(Said):
    action: Text = ""
    repository: Repository | None = None
    sender: User | None = None


class _Push(_Hook):
    ref: str = Field(pattern=r"^refs/", max_length=1000)


class _RefChange(_Hook):
    """`create` and `delete`: a branch's or tag's short name."""

    ref: str = Field(min_length=1, max_length=1000)
    ref_type: str = Field(pattern="^(branch|tag)$")


class _PullHook(_Hook):
    pull_request: Pull


def _common(hook: _Hook, event: str, **more: Any) -> Fact:
    slug = hook.repository.full_name if hook.repository else ""
    return Fact(event=event, action=hook.action, slug=slug, sender=hook.sender.login if hook.sender else "", **more)


def _push(said: Mapping[str, Any]) -> Fact:
    hook = _Push.model_validate(said)
    return _common(hook, "push", refs=(hook.ref,))


def _ref_change(event: str) -> Callable[[Mapping[str, Any]], Fact]:
    def read(said: Mapping[str, Any]) -> Fact:
        hook = _RefChange.model_validate(said)
        folder = "refs/heads/" if hook.ref_type == "branch" else "refs/tags/"
        return _common(hook, event, refs=(folder + hook.ref,))

    return read


def _pull_request(said: Mapping[str, Any]) -> Fact:
    hook = _PullHook.model_validate(said)
    fact = _common(hook, "pull_request")
    return fact.model_copy(update={"pull_request": pull_request(hook.pull_request, fact.slug)})


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Fact]]] = {
    "push": _push,
    "create": _ref_change("create"),
    "delete": _ref_change("delete"),
    "pull_request": _pull_request,
}
