"""The trigger `webhook`: who may call, and how often. Its templates are read here and rendered when a call comes.

The Go original writes it as `{type: webhook, name, auth: {method, …}, …}`, and lets everybody call where `auth` is not
there; here nobody may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from formicary.runner.core.definition import GO, NATIVE
from formicary.runner.core.language import deferred
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.loading.outward import OF_THE_CONNECTION
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.shapes import Read, fits, one_of
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.webhooks import RateLimit, WebhookTrigger

MOST_TRIGGERS: Final = 20
MOST_PARAMS: Final = 50
MAX_CALLS: Final = 100_000
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SECRET: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_NAMES: Final = {NATIVE: ("body", "headers"), GO: ("Body", "Headers")}
_WAITING: Final = frozenset({"params", "filter", "dedup_key"})
_METHODS: Final = {"hmac_sha256": "hmac_sha256", "bearer_token": "token", "api_key_header": "token"}
"""The original's words for `auth`."""


def templates_elsewhere(reader: Reader, node: Node) -> bool:
    """Tell templates in triggers that are not of those that wait for a call."""
    found = list(_masked(node))
    for scalar in found[:1]:
        told = "it is read before anything is rendered; only `params`, `filter` and `dedup_key` of a webhook may"
        reader.tell(scalar, "`triggers` may not hold a template", told)
    return bool(found)


def _masked(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        if deferred.is_masked(node.text):
            yield node
        return
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _masked(item)
        return
    for key, value in node.pairs:
        yield from _masked(key)
        if key.text not in _WAITING:
            yield from _masked(value)


def webhooks(reader: Reader, node: Node) -> tuple[WebhookTrigger, ...]:
    """One, or a list of them."""
    found: list[WebhookTrigger] = []
    for item in reader.flat(node):
        one = reader.attempt(partial(_webhook, reader, item), None)
        found += [one] if one is not None else []
    return tuple(found)


def _webhook(reader: Reader, node: Node) -> WebhookTrigger:
    before = len(reader.faults)
    fields = WEBHOOK.read(reader, node)
    for name, example in (("name", "deploy"), ("auth", "hmac_sha256"), ("secret_config", "DeployKey")):
        if name not in fields:
            if len(reader.faults) == before:
                reader.tell(node, f"A webhook trigger needs `{name}`", f"write `{name}: {example}`")
            raise Unread
    return WebhookTrigger(**fields)


def typed(reader: Reader, node: MappingNode) -> WebhookTrigger:
    """As the original writes it."""
    fields = TYPED.read(reader, node)
    fields.pop("type", None)
    fields.pop("path", None)
    auth = fields.pop("auth", {})
    if "name" not in fields:
        reader.fail(node, "A webhook trigger needs `name`", "write `name: deploy`")
    if auth.get("auth") and not auth.get("secret_config"):
        reader.fail(node, "`auth` needs `secret_config`", "name the secret: `secret_config: DeployKey`")
    if not auth.get("auth"):
        told = f"Everybody may call `{fields['name'][:60]}` in the original; here every call of it is refused"
        reader.question(node, told, "write `auth: {method: hmac_sha256, secret_config: …}`")
    return WebhookTrigger(**fields, **auth)


def distinct(reader: Reader, node: Node, found: list[WebhookTrigger]) -> tuple[WebhookTrigger, ...]:
    """Their names tell them apart."""
    if len(found) > MOST_TRIGGERS:
        reader.fail(node, f"A job may have at most {MOST_TRIGGERS} webhook triggers", "split the job")
    names = [one.name for one in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.tell(node, f"Two webhook triggers are called `{name}`", "give each a name of its own")
    return tuple(found)


def _matching(pattern: re.Pattern[str], what: str, example: str) -> Read:
    def read(reader: Reader, node: Node) -> str:
        text = reader.string(node)
        if not pattern.fullmatch(text):
            reader.fail(node, f"`{text[:60]}` is not {what}", f"write something like `{example}`")
        return text

    return read


def _header(reader: Reader, node: Node) -> str:
    text = reader.string(node)
    if not _HEADER.fullmatch(text):
        reader.fail(node, f"`{text[:60]}` is not the name of a header", "write letters, digits and `-`")
    if text.lower() in OF_THE_CONNECTION:
        reader.fail(node, f"The header `{text}` belongs to the connection", "take another, such as `X-Signature`")
    return text


def waiting(reader: Reader, node: Node) -> str:
    """A template, checked as far as that can be done before a call comes."""
    scalar = reader.scalar(node)
    if scalar.token:
        told = "`triggers` must begin a line of its own to hold templates that wait for a call"
        reader.fail(node, told, "write `triggers:` at the margin, and this value below it")
    text = "" if reader.empty(node) else deferred.unmasked(scalar.text)
    dialect = GO if reader.go else NATIVE
    template, faults = deferred.template(text, dialect)
    for fault in faults:
        reader.tell(_place(scalar, text, fault.offset), fault.message, fault.expected)
    known = _NAMES[dialect]
    for name in sorted((template.names if template else frozenset()) - {*known})[:5]:
        told = f"There is no `{name[:60]}` when a call comes"
        reader.question(scalar, told, f"there is `{known[0]}` and `{known[1]}`")
    return text


def _place(scalar: Scalar, text: str, offset: int) -> int:
    """Where in the scalar a fault is, if that is written as it is read."""
    quotes = 0 if scalar.plain else 1
    exact = scalar.end - scalar.start - 2 * quotes == len(text)
    return scalar.start + (quotes + max(offset, 0) if exact else 0)


def _params(reader: Reader, node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    if reader.empty(node):
        return found
    for key, value in reader.mapping(node, "params").pairs:
        name = reader.attempt(partial(reader.text, key), "")
        if not name or deferred.is_masked(name):
            reader.tell(key, "A parameter's name may not hold a template", "write its name")
            continue
        found[name] = reader.attempt(partial(waiting, reader, value), "")
    if len(found) > MOST_PARAMS:
        reader.fail(node, f"There are {len(found)} parameters here", f"use at most {MOST_PARAMS}")
    return found


def _rate_limit(reader: Reader, node: Node) -> RateLimit:
    before = len(reader.faults)
    fields = RATE_LIMIT.read(reader, node)
    if "max" not in fields:
        if len(reader.faults) == before:
            reader.tell(node, "`rate_limit` needs `max`", "say how many calls: `{max: 10, window: 1m}`")
        raise Unread
    return RateLimit(**fields)


def _window(reader: Reader, node: Node) -> float:
    seconds = reader.duration(node)
    if not 1 <= seconds <= 86_400:
        reader.fail(node, "A window is between one second and one day long", "write `1m`")
    return seconds


def _method(reader: Reader, node: Node) -> str:
    return _METHODS[reader.choice(node, *_METHODS)]


def _auth(reader: Reader, node: Node) -> dict[str, Any]:
    return {} if reader.empty(node) else AUTH.read(reader, node)


RATE_LIMIT: Final = Table("rate_limit", {"max": Key(fits(1, MAX_CALLS), "count"), "window": Key(_window, "duration")})
_COMMON: Final = {
    "name": Key(_matching(NAME, "a trigger's name (letters, digits, `.`, `_`, `-`)", "deploy"), "trigger_name"),
    "params": Key(_params, "waiting_texts"),
    "filter": Key(waiting, "waiting"),
    "dedup_key": Key(waiting, "waiting"),
    "rate_limit": Key(_rate_limit, "rate_limit"),
}
_PROOF: Final = {
    "secret_config": Key(_matching(_SECRET, "the name of a secret", "DeployKey"), "secret_name"),
    "header": Key(_header, "header_name"),
}
WEBHOOK: Final = Table(
    "a webhook trigger", {**_COMMON, "auth": Key(one_of("hmac_sha256", "token"), "trigger_auth"), **_PROOF}
)
AUTH: Final = Table("auth", {"method": Key(_method, "text", field="auth"), **_PROOF})
TYPED: Final = Table(
    "a webhook trigger",
    {**_COMMON, "type": Key(Reader.string, "text"), "path": Key(Reader.string, "text"), "auth": Key(_auth, "text")},
)
