"""Seals values with one key, for one place each (AES-256-GCM). No I/O: key and random bytes in, text out.

What is sealed is bound to where it belongs: the authenticated data names organization, repository, job, kind, name and
limits, so that a row which is moved, swapped or whose limits are loosened does not open. The nonce is 96 random bits;
NIST SP 800-38D allows 2**32 seals with one key.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FORM: Final = "1"
"""Of what is sealed; another one may come with keys of organizations."""


class Broken(SetupError):
    """A sealed value does not open: it was changed, moved here from elsewhere, or sealed with another key."""


class Seal:
    """One key. `key_id` tells keys apart and says nothing of them."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._key = key
        self.key_id = hmac.new(key, b"formicary key id", sha256).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Seal({self.key_id})"

    @cached_property
    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # with the first secret

        return AESGCM(self._key)

    def seal(self, value: str, *about: Any) -> str:
        """The value as text that opens only with the same `about` (plain data)."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, value.encode(), _bound(about))
        return f"{_FORM}:{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, *about: Any) -> str:
        """Raises Broken."""
        from cryptography.exceptions import InvalidTag

        form, _, text = sealed.partition(":")
        if form != _FORM:
            raise Broken("a sealed value has a form that this Formicary does not know; install the newer one")
        try:
            data = base64.b64decode(text, validate=True)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound(about)).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Broken from error


Key = Callable[[Mapping[str, int]], Seal]
"""Gives the key, given how many secrets there are by key id: makes it where there are none. Raises SetupError."""


def no_key(_sealed: Mapping[str, int]) -> Seal:
    raise SetupError("this process has no key for secrets")


def for_once() -> Key:
    """A key that nothing outlives."""
    seal = Seal(os.urandom(KEY_BYTES))
    return lambda _sealed: seal


def place_of(secret: Secret) -> tuple[Any, ...]:
    """What the value of a secret is bound to."""
    scope = (secret.organization_id, secret.repository_id, secret.job_type)
    return ("secret", *scope, str(secret.kind), secret.name, list(secret.branches), list(secret.events))


def _bound(about: Sequence[Any]) -> bytes:
    """One text for one place: JSON leaves no doubt where a name ends."""
    return json.dumps([_FORM, *about], ensure_ascii=True, separators=(",", ":")).encode()


def key_from(text: str) -> bytes | None:
    """The 32 bytes that somebody wrote as 64 hex digits or as base64; None if it is neither."""
    text = text.strip()
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == KEY_BYTES else None
