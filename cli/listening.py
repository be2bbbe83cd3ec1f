"""Where the door listens: its sockets, TLS, and one uvicorn a listener. The hooks may have a listener of their own."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import uvicorn
from starlette.applications import Starlette

from formicary.cli.settings import Settings
from formicary.runner.core.errors import SetupError

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
CLOSE_SECONDS: Final = 3.0
_REMEDIES: Final = {
    errno.EADDRINUSE: "is a server running there already? Give another --port, or 0 for any free one",
    errno.EACCES: "only root may use ports below 1024; give another --port, or 0 for any free one",
}


class Served(NamedTuple):
    """An application and the socket that it is reached by."""

    app: Starlette
    listener: socket.socket


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def listen(host: str, port: int, option: str) -> Iterator[socket.socket]:
    """The socket, bound before anything else starts. Raises SetupError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)  # so that nobody who reads our address is refused while the door still opens
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, f"give {option} an address of this machine, such as 127.0.0.1")
            raise SetupError(f"cannot listen on {host}:{port} ({error.strerror}); {remedy}") from error
        yield listener


def address_of(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT` or `PORT` (on every address of this machine). Raises SetupError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise SetupError(f"`{text}` is no address to listen on; it looks like 0.0.0.0:8443, [::]:8443 or 8443")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)


def reachable(scheme: str, host: str, port: int) -> str:
    """Where this machine's own commands and hooks reach a listener, whatever people call it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # not bound here
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_tls(cert: Path | None, key: Path | None) -> None:
    """Before anything starts: are these a certificate and its key? Raises SetupError."""
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise SetupError("--tls-cert and --tls-key are given together: the certificate (with its chain), and its key")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except FileNotFoundError as error:
        missing = cert if not cert.exists() else key
        raise SetupError(f"{missing} is not there; --tls-cert and --tls-key name files in PEM format") from error
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise SetupError(f"{cert} and {key} are no certificate and its key in PEM format ({reason})") from error


@asynccontextmanager
async def serving(served: Sequence[Served], settings: Settings) -> AsyncIterator[None]:
    """All of them, until the context is left; whoever leaves it has told open streams to end."""
    servers = [(_Server(_config(one.app, settings)), one.listener) for one in served]
    async with anyio.create_task_group() as group:
        for server, listener in servers:
            group.start_soon(server.serve, [listener], name="door")
        try:
            yield
        finally:
            for server, _ in servers:
                server.should_exit = True


def _config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=int(CLOSE_SECONDS),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
