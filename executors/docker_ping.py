"""Adapter: whether a container engine answers, asked without its library: who runs no container imports none."""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import anyio
from anyio.abc import ByteStream

SECONDS: Final = 5.0
OURS: Final = "formicary.work"
"""The label of everything that ants make in an engine."""
MOST_BYTES: Final = 16 << 20


async def complaint(address: str) -> str:
    """Why no engine answers at this address; empty if one does."""
    try:
        with anyio.fail_after(SECONDS):
            status, _ = await _get(address, "/_ping")
    except TimeoutError:
        return f"the container engine at {address} does not answer within {SECONDS:g} s"
    except (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
        return f"no container engine answers at {address} ({_short(error)})"
    return "" if status == 200 else f"what answers at {address} is no container engine (status {status})"


async def labelled(address: str, label: str) -> bool:
    """Whether anything bears this label: a container, a network, a volume. Raises OSError, ValueError."""
    wanted = quote(json.dumps({"label": [label]}))
    with anyio.fail_after(SECONDS):
        for path in (f"/containers/json?all=1&filters={wanted}", f"/networks?filters={wanted}"):
            if json.loads((await _get(address, path))[1]):
                return True
        volumes: Any = json.loads((await _get(address, f"/volumes?filters={wanted}"))[1])
    return bool(volumes.get("Volumes"))


async def _get(address: str, path: str) -> tuple[int, bytes]:
    stream = await _connect(address)
    async with stream:
        await stream.send(f"GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        said = b""
        while len(said) < MOST_BYTES:
            try:
                said += await stream.receive()
            except anyio.EndOfStream:
                break
    head, _, body = said.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("what answers speaks no HTTP")
    return int(words[1]), body


async def _connect(address: str) -> ByteStream:
    where = urlsplit(address)
    if where.scheme == "unix":
        return await anyio.connect_unix(where.path)
    if where.scheme not in ("tcp", "http", "https"):
        raise ValueError(f"not supported: {where.scheme}://")
    host, port = where.hostname or "localhost", where.port or 2375
    if where.scheme == "https" or (where.scheme == "tcp" and os.environ.get("DOCKER_TLS_VERIFY")):
        return await anyio.connect_tcp(host, port, ssl_context=_certificates(), tls_standard_compatible=False)
    return await anyio.connect_tcp(host, port)


def _certificates() -> ssl.SSLContext:
    """As DOCKER_CERT_PATH says."""
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def _short(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
