"""What a call of a `webhook` trigger comes to: whether it is wanted, its parameters, and its cause. Pure.

Everything that was sent is an outsider's word: a parameter made of it is tainted (T6), and no secret is at hand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from formicary.runner.core.definition import GO, Dialect, Value
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.language.deferred import Filled, fill
from formicary.runner.core.language.limits import Budget, Fault
from formicary.runner.core.webhooks import WebhookTrigger

MAX_KEY: Final = 1000
"""Characters of a rendered `dedup_key`."""
_GO_WORD: Final = re.compile(r"(?:^|-)[a-z]")


@dataclass(frozen=True, slots=True)
class Heard:
    """`unwanted`: why nothing comes of it, empty if something does. `dedup_key` is empty where the trigger has none;
    `tainted` are those of `params` that outsiders had a hand in."""

    unwanted: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    tainted: tuple[str, ...] = ()
    dedup_key: str = ""


def hear(trigger: WebhookTrigger, dialect: Dialect, body: Any, headers: Mapping[str, str]) -> Heard:
    """Render filter, parameters and key. Raises RequestRefused naming the key that could not be rendered."""
    names = _names(dialect, body, headers)
    budget = Budget()
    if trigger.filter:
        said = _filled("filter", trigger.filter, dialect, names, budget).text.strip()
        if said != "true":
            return Heard(unwanted=f"its filter says `{said[:60]}`, not `true`" if said else "its filter says nothing")
    params: dict[str, Value] = {}
    tainted = []
    for name, text in trigger.params.items():
        filled = _filled(f"params.{name}", text, dialect, names, budget)
        if filled.value is None:
            continue  # nothing was sent: the parameter's default counts
        params[name] = filled.value
        tainted += [name] if filled.tainted else []
    key = _filled("dedup_key", trigger.dedup_key, dialect, names, budget).text.strip() if trigger.dedup_key else ""
    if trigger.dedup_key and not 0 < len(key) <= MAX_KEY:
        told = "is empty" if not key else f"has {len(key)} characters, and at most {MAX_KEY} are taken"
        raise RequestRefused(f"`dedup_key` {told}", field="dedup_key")
    return Heard("", params, tuple(tainted), key)


def _names(dialect: Dialect, body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    if dialect != GO:
        return {"body": body, "headers": dict(headers)}
    # Go writes the names of headers with a capital at the beginning of each word.
    spelled = {_GO_WORD.sub(lambda found: found[0].upper(), name): value for name, value in headers.items()}
    return {"Body": body, "Headers": spelled}


def _filled(key: str, text: str, dialect: Dialect, names: Mapping[str, Any], budget: Budget) -> Filled:
    try:
        return fill(text, dialect, names, budget)
    except Fault as fault:
        told = f"`{key}` cannot be rendered: {fault.message[:1].lower()}{fault.message[1:]}"
        raise RequestRefused(f"{told}{f' ({fault.expected})' if fault.expected else ''}", field=key) from fault
