"""The middle of the HTTP executor: sends a task's request, follows where it may, and passes on what is answered.

The address is judged before each connection, those of redirects too (T14). There is no timeout in here but one for
connecting; the task's own is a scope that the ant puts around. The answer goes piece by piece to the log and, where the
task keeps artifacts, to the file `response` of its workspace: it is never in memory as a whole.
"""

from __future__ import annotations

import errno
import os
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version
from io import FileIO
from secrets import token_hex
from typing import Final

import httpx
from anyio import to_thread

from formicary.executors.contract import Outcome, Prepared, Session, Sink
from formicary.executors.http_request import (
    MOST_JSON,
    MOST_REDIRECTS,
    REDIRECTS,
    Request,
    as_lines,
    is_json,
    outputs_of,
    redirected,
    request_of,
)
from formicary.executors.process_group import Hands
from formicary.runner.core.definition import HTTP_METHODS
from formicary.runner.core.errors import (
    ERR_ADDRESS,
    ERR_ARTIFACT,
    ERR_DEFINITION,
    ERR_EXIT_CODE,
    ERR_HTTP,
    ERR_LOST,
    WorldError,
)
from formicary.runner.publish.guard import AddressRefused, Guard, Reach, guarded_client

CONNECT_SECONDS: Final = 30.0
RESPONSE: Final = "response"
"""The file of the workspace that holds the answer, where the task keeps artifacts."""
SHOWN: Final = ("content-type", "content-length", "content-encoding", "location", "retry-after", "date", "etag")
"""Headers of an answer that the log shows."""


class HttpExecutor:
    """Calls URLs. Takes what every executor's factory is given, and starts no process."""

    methods: frozenset[str] = frozenset(HTTP_METHODS)

    def __init__(self, hands: Hands | None = None, grace: float = 0.0) -> None:
        del hands, grace
        self._verify: ssl.SSLContext | None = None

    @asynccontextmanager
    async def open(self, prepared: Prepared) -> AsyncIterator[Session]:
        """Nothing is kept between tasks: no connection, no cookie. Raises SetupError for networks that are none."""
        guard = Guard(Reach.of(prepared.allow_networks))
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        async with guarded_client(guard, timeout=timeout, verify=await self._certificates()) as client:
            yield HttpSession(prepared, client)

    async def _certificates(self) -> ssl.SSLContext:
        """Read once: that takes longer than most requests."""
        if self._verify is None:
            self._verify = await to_thread.run_sync(httpx.create_ssl_context)
        return self._verify

    async def aclose(self) -> None:
        """Nothing is kept ready."""


class _Broken(Exception):
    """There is no whole answer, or it cannot be kept."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class HttpSession:
    """One task's request."""

    def __init__(self, prepared: Prepared, client: httpx.AsyncClient) -> None:
        self._prepared = prepared
        self._client = client

    async def run(self, items: Sequence[str], sink: Sink, *, name: str = "script", check: bool = True) -> Outcome:
        """See `contract.Session`. There are no items: the loader has made the request of them, and refuses others."""
        started = time.monotonic()
        if items:
            return Outcome(None, ERR_DEFINITION, f"A task of the method {self._prepared.task.method} runs no {name}.")
        usage: dict[str, float] = {}
        try:
            request = request_of(self._prepared.task, version("formicary"))
            status, reason = await self._exchange(request, sink, usage)
        except ValueError as error:
            return Outcome(None, ERR_DEFINITION, str(error))
        except _Broken as error:
            return Outcome(None, error.code, str(error), {**usage, "wall_seconds": time.monotonic() - started})
        usage["wall_seconds"] = time.monotonic() - started
        if 200 <= status < 300:
            return Outcome(status, usage=usage, completed=True)
        said = f"The server answered {status} {reason}".rstrip()
        return Outcome(status, ERR_EXIT_CODE, f"{said}: that is exit code {status}.", usage)

    async def _exchange(self, request: Request, sink: Sink, usage: dict[str, float]) -> tuple[int, str]:
        """The last answer's status and reason. Raises _Broken."""
        for _ in range(MOST_REDIRECTS + 1):
            sink.cmd(request.shown)
            async with self._answer(request) as answer:
                usage["sent_bytes"] = usage.get("sent_bytes", 0.0) + len(request.body or b"")
                location = answer.headers.get("location", "")
                for line in _about(answer):
                    sink.sys(line)
                if answer.status_code not in REDIRECTS or not location:
                    usage["received_bytes"] = float(await self._body(answer, sink))
                    return answer.status_code, answer.reason_phrase
            try:
                request = redirected(request, answer.status_code, location)
            except ValueError as error:
                raise _Broken(ERR_HTTP, str(error)) from error
        raise _Broken(ERR_HTTP, f"The server redirects more than {MOST_REDIRECTS} times.")

    @asynccontextmanager
    async def _answer(self, request: Request) -> AsyncIterator[httpx.Response]:
        """The answer as soon as its headers are there. Raises _Broken, also for what happens while it is read."""
        try:
            answer = await self._client.send(request.made(), stream=True)
            try:
                yield answer
            finally:
                await answer.aclose()
        except AddressRefused as error:
            raise _Broken(ERR_ADDRESS, f"Refused: {error}.") from error
        except (WorldError, httpx.HTTPError, httpx.StreamError) as error:
            raise _Broken(ERR_HTTP, f"{request.method} failed: {_why(error)}.") from error

    async def _body(self, answer: httpx.Response, sink: Sink) -> int:
        """Pass on the body; how long it was. Raises _Broken, httpx's errors."""
        received, head = 0, bytearray()
        looked_into = is_json(answer.headers.get("content-type", ""))
        with ExitStack() as stack:
            file = stack.enter_context(self._file()) if self._prepared.task.artifacts.paths else None
            async for piece in answer.aiter_raw():
                received += len(piece)
                sink.out(piece)
                if file is not None:
                    await self._keep(file, piece, received)
                if looked_into and received <= MOST_JSON:
                    head += piece
        self._tell(outputs_of(answer.status_code, bytes(head) if received <= MOST_JSON else b""))
        return received

    def _file(self) -> FileIO:
        """The file for the answer, the task's own as all of its workspace. Links are not followed. Raises _Broken."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        prepared = self._prepared
        try:
            file = FileIO(os.open(prepared.workspace / RESPONSE, flags, 0o644), "wb")
            if prepared.uid is not None and prepared.gid is not None:
                os.fchown(file.fileno(), prepared.uid, prepared.gid)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ELOOP):
                told = f"An artifact of a dependency is called {RESPONSE} too: the answer cannot be kept."
                raise _Broken(ERR_ARTIFACT, told) from error
            raise _Broken(ERR_LOST, f"The answer cannot be kept: {error}.") from error
        return file

    async def _keep(self, file: FileIO, piece: bytes, size: int) -> None:
        most = self._prepared.limits.file_size_bytes
        if most is not None and size > most:
            raise _Broken(ERR_ARTIFACT, f"The answer is longer than {most} bytes, the limit of a file: it is not kept.")
        try:
            await to_thread.run_sync(_write_all, file, piece)
        except OSError as error:
            raise _Broken(ERR_LOST, f"The answer cannot be kept: {error}.") from error

    def _tell(self, outputs: dict[str, str]) -> None:
        text = as_lines(outputs, token_hex(16))
        try:
            with open(self._prepared.environment["FORMICARY_OUTPUT"], "a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            raise _Broken(ERR_LOST, f"The outputs cannot be written: {error}.") from error


def _write_all(file: FileIO, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _about(answer: httpx.Response) -> list[str]:
    """Status and headers for the log, a line each."""
    lines = [f"{answer.status_code} {answer.reason_phrase}".rstrip()]
    return lines + [f"{name}: {answer.headers[name]}" for name in SHOWN if name in answer.headers]


def _why(error: BaseException) -> str:
    """What went wrong on the way, as a person would say it."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return f"there is no connection within {CONNECT_SECONDS:g} s"
    if isinstance(error, httpx.ConnectError):
        return f"there is no connection ({text})"
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return f"the connection broke off ({text})"
    return text
