"""Gitea's and Forgejo's hooks: their headers; what their bodies say is nearly what GitHub's do, as a Fact. Pure.

https://docs.gitea.com/usage/webhooks
https://forgejo.org/docs/latest/user/webhooks/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from formicary.runner.core.records import Fact
from formicary.webhook.forges import github, signature

K = TypeVar("K")

FORGE: Final = "gitea"
SIGNATURE: Final = "x-gitea-signature"
_SIGNATURES: Final = (SIGNATURE, "x-forgejo-signature")
_EVENTS: Final = ("x-gitea-event", "x-forgejo-event")
_DELIVERIES: Final = ("x-gitea-delivery", "x-forgejo-delivery")
_PULLS: Final = frozenset(f"pull_request_{what}" for what in ("sync", "label", "assign", "milestone", "review_request"))
_ACTIONS: Final = {"synchronized": "synchronize", "label_updated": "labeled", "label_cleared": "unlabeled"}
"""What GitHub calls otherwise."""


def signers(secrets: Mapping[K, bytes], body: bytes, headers: Mapping[str, str], now: float) -> list[K]:
    """Whose secrets signed these bytes; the signature is bare hex."""
    return signature.signers(secrets, body, f"sha256={_first(headers, _SIGNATURES)}")


def key_of(headers: Mapping[str, str], body: bytes) -> str:
    return _first(headers, _DELIVERIES)


def event_of(headers: Mapping[str, str]) -> str:
    """What has happened; some events of pull requests have names of their own."""
    event = _first(headers, _EVENTS)
    return "pull_request" if event in _PULLS else event


def fact_of(event: str, text: str) -> Fact:
    """What this delivery says. Raises ValueError for what is no such event of Gitea's."""
    fact = github.fact_of(event, text)
    return fact.model_copy(update={"action": _ACTIONS.get(fact.action, fact.action)})


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")
