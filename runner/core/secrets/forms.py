"""The forms in which a secret may show up in output: as it is, base64, hex, URL-, JSON- and shell-quoted. Pure."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MIN_SECRET: Final = 4
"""Shorter secrets are not masked: they would be found everywhere."""
MAX_PIECE: Final = 4096
MIN_LINE: Final = 8
"""A line of a secret that is at least so long is masked alone too: a key is often shown line by line."""
MAX_LINES: Final = 256

_SPECIAL_TO_SHELL: Final = re.compile(r"([^\w./,:=@%+-])", re.ASCII)


def forms(secret: str) -> frozenset[bytes]:
    """Every form of `secret` that is worth masking; none if it is too short."""
    if len(secret.encode("utf-8", "surrogateescape")) < MIN_SECRET:
        return frozenset()
    texts = {secret, *_url(secret), *_json(secret), *_shell(secret)}
    found = {text.encode("utf-8", "surrogateescape") for text in texts} | set(_base64(secret)) | set(_hex(secret))
    return frozenset(form for form in found if len(form) >= MIN_SECRET)


def all_forms(secrets: Iterable[str]) -> frozenset[bytes]:
    """Of all of them; a very long one is masked piece by piece, one of several lines also line by line."""
    secrets = tuple(secrets)
    pieces = frozenset[bytes]().union(*(forms(piece) for secret in secrets for piece in _pieces(secret)))
    return pieces.union(line for secret in secrets for line in _lines(secret))


def _lines(secret: str) -> Iterator[bytes]:
    if "\n" in secret:
        lines = (line.strip() for line in secret.splitlines()[:MAX_LINES])
        yield from (line.encode("utf-8", "surrogateescape") for line in lines if len(line) >= MIN_LINE)


def _pieces(secret: str) -> Iterator[str]:
    """The last piece overlaps the one before, so that none is too short."""
    if len(secret) <= MAX_PIECE:
        yield secret
        return
    for at in range(0, len(secret), MAX_PIECE):
        yield secret[at : at + MAX_PIECE] if at + MAX_PIECE <= len(secret) else secret[-MAX_PIECE:]


def too_short(secret: str) -> bool:
    return 0 < len(secret.encode("utf-8", "surrogateescape")) < MIN_SECRET


def _url(secret: str) -> Iterator[str]:
    """Percent-quoted with and without `/`, with `+` for a space, and with small hex digits."""
    data = secret.encode("utf-8", "surrogateescape")
    for text in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield text
        yield re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), text)


def _json(secret: str) -> Iterator[str]:
    for ascii_only in (True, False):
        text = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield text
        yield text.replace("/", "\\/")


def _shell(secret: str) -> Iterator[str]:
    """As shells show a quoted word: the two ways to put a quote in quotes, in double quotes, and backslashes."""
    yield shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret
    yield secret.replace("'", "'\\''")
    yield re.sub(r'([$`"\\])', r"\\\1", secret)
    yield _SPECIAL_TO_SHELL.sub(r"\\\1", secret)


def _hex(secret: str) -> tuple[bytes, bytes]:
    text = secret.encode("utf-8", "surrogateescape").hex()
    return text.encode(), text.upper().encode()


def _base64(secret: str) -> Iterator[bytes]:
    """The characters that the secret alone decides, wherever it stands in what was encoded; both alphabets."""
    data = secret.encode("utf-8", "surrogateescape")
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        core = encoded[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))
