"""HMAC-SHA256 signatures over a hook's raw bytes (T9), as GitHub, Gitea and our own hooks write them. Pure.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final, TypeVar

K = TypeVar("K")

_SIGNED: Final = re.compile(r"sha256=[0-9a-f]{64}")


def sign(secret: bytes, body: bytes) -> str:
    """The signature header's value for this body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def signers(secrets: Mapping[K, bytes], body: bytes, signature: str) -> list[K]:
    """Whose secrets signed these bytes. Every secret is tried, however early one fits, so the time taken tells
    nothing; an empty secret signs nothing."""
    if not _SIGNED.fullmatch(signature):
        return []
    fitting = [(who, hmac.compare_digest(sign(secret, body), signature)) for who, secret in secrets.items() if secret]
    return [who for who, fits in fitting if fits]
