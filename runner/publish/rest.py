"""Calls of a forge's API by httpx: one at a time each, with the repository's own token, which goes to no other host.

What comes back is data, or an error that says what is to be done. Redirects are not followed.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import anyio.to_thread
import httpx

from formicary.runner.core.errors import Locked, SetupError, Undeliverable, WorldError
from formicary.runner.core.records import Repository
from formicary.runner.publish import Credential
from formicary.runner.publish.status import one_line

TIMEOUT: Final = 15.0
"""Seconds to connect, and between two pieces of an answer."""
TOKEN: Final = "token"
MOST_READ: Final = 16 << 20


class Answered(NamedTuple):
    """What a forge answered: `message` are its words where it is an error."""

    code: int
    headers: Mapping[str, str]
    data: Any
    message: str = ""

    @property
    def good(self) -> bool:
        return 200 <= self.code < 300


def api_of(repository: Repository, path: str) -> str:
    """The base of its API: what the operator says, else that of the host that it is cloned from, with `path` behind."""
    if repository.api_url:
        return repository.api_url.rstrip("/")
    parts = urlsplit(repository.url) if "://" in repository.url else None
    if parts is None:
        host = repository.url.rpartition("@")[2].partition(":")[0]
        return f"https://{host}{path}"
    over_http = parts.scheme in ("http", "https")
    host = parts.netloc.rpartition("@")[2] if over_http else parts.hostname or ""
    return f"{parts.scheme if over_http else 'https'}://{host}{path}"


def host_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


async def token_of(credential: Credential, repository: Repository) -> str:
    """The repository's token. Raises Locked, Undeliverable where there is none."""
    try:
        token = await anyio.to_thread.run_sync(credential, repository.id, TOKEN)
    except Locked:
        raise  # its key may be back soon
    except SetupError as error:
        raise Undeliverable(f"{error} Then resend it.") from error
    if not token:
        raise Undeliverable(
            f"there is no token for {repository.name}; give one (formicary secrets set token --credential "
            f"--repo {repository.name}), then resend it"
        )
    return token


async def call(
    method: str, url: str, headers: Mapping[str, str], body: object = None, query: Mapping[str, str] | None = None
) -> Answered:
    """Raises WorldError where the host cannot be reached or answers no HTTP; an error of the forge is an answer."""
    sent = {"accept": "application/json", "user-agent": f"formicary/{version('formicary')}", **headers}
    try:
        async with httpx.AsyncClient(verify=_trust(), timeout=TIMEOUT, trust_env=True) as client:
            async with client.stream(method, url, headers=sent, json=body, params=query) as answer:
                text = await _read(answer)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = one_line(str(error)) or type(error).__name__
        remedy = "; name its authority: SSL_CERT_FILE" if "CERTIFICATE_VERIFY_FAILED" in why else ""
        raise WorldError(f"{host_of(url)} cannot be reached ({why}){remedy}") from error
    return _answered(answer, text)


async def _read(answer: httpx.Response) -> bytes:
    parts, size = [], 0
    async for piece in answer.aiter_bytes():
        parts.append(piece)
        size += len(piece)
        if size > MOST_READ:
            raise WorldError(f"{answer.url.host} answers more than {MOST_READ >> 20} MiB")
    return b"".join(parts)


def _answered(answer: httpx.Response, text: bytes) -> Answered:
    try:
        data = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        if answer.is_success:
            raise WorldError(f"{answer.url.host} answered what is no JSON; is its API there?") from error
        data = None
    said = "" if answer.is_success else one_line(_message(data))[:300]
    return Answered(answer.status_code, dict(answer.headers), data, said)


def _message(data: Any) -> str:
    """The forge's words: a text, or lists of them by field."""
    said = data.get("message") or data.get("error") or "" if isinstance(data, Mapping) else ""
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def moved(repository: Repository, answer: Answered) -> str:
    """What to do where a forge says that it is somewhere else."""
    where = one_line(answer.headers.get("location", "another address"))[:200]
    what = f"{repository.slug} has moved to {where}"
    return f"{what}; correct `url`, `slug` or `api_url` of {repository.name}, then resend it"
