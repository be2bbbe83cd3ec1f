"""Adapter: an engine that speaks Docker's API (Docker, Podman), by the library `docker`, imported on first use.

It knows nothing of tasks. Every call runs in a thread; a call that was begun is waited for, so that what it made is
known, except pulling, which may last. `EngineAway`: nobody answers. `EngineSays`: it answers, and with an error.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import IO, Any, Final, TypeVar

from anyio import CapacityLimiter, sleep, to_thread

from formicary.executors.docker_stream import Attached
from formicary.executors.shapes import poll_until

T = TypeVar("T")
CALL_SECONDS: Final = 120.0
PULL_SECONDS: Final = 300.0
"""How long a pull may be silent."""
CHUNK: Final = 1 << 20
PAUSES: Final = (0.1, 0.3, 1.0)
"""Seconds between attempts to remove something."""
MOST_SAID: Final = 1 << 18


class EngineAway(Exception):
    """The engine does not answer."""


class EngineSays(Exception):
    """The engine refuses. `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Missing(EngineSays):
    """There is no such thing."""


class Engine:
    """One engine. `address` as DOCKER_HOST has it; `config` names a file with credentials of registries, as
    `docker login` writes it (empty: this user's own)."""

    def __init__(self, address: str, config: str = "", threads: int = 16) -> None:
        self.address = address
        self._config = config
        self._clients: dict[float, Any] = {}
        self._making = threading.Lock()
        self._threads = CapacityLimiter(threads)
        self._pulls = CapacityLimiter(max(threads // 2, 2))

    @property
    def local(self) -> bool:
        """Whether it listens at a socket of this machine."""
        return self.address.startswith("unix:")

    def close(self) -> None:
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    # ---- images

    async def version(self) -> dict[str, Any]:
        return await self._ask(lambda client: client.version())

    async def image(self, name: str) -> dict[str, Any] | None:
        """What is known of an image that is there."""
        try:
            return await self._ask(lambda client: client.inspect_image(name))
        except Missing:
            return None

    async def pull(self, name: str) -> None:
        """Raises EngineSays, EngineAway. May be cancelled at any time."""
        given_up, failed = threading.Event(), list[BaseException]()

        def work() -> None:
            try:
                self._pull(name, given_up)
            except BaseException as error:
                failed.append(error)

        async with self._pulls:
            # A thread of its own, which holds up nobody's end: it may hang in the engine's silence.
            thread = threading.Thread(target=work, name=f"pull {name}", daemon=True)
            thread.start()
            try:
                await poll_until(partial(_ended, thread), 0.02, at_most=0.1, factor=1.2)
            finally:
                given_up.set()
        if failed:
            raise failed[0]

    def _pull(self, name: str, given_up: threading.Event) -> None:
        with self._translated():
            client = self._ready(PULL_SECONDS)
            repository, tag = _reference(name)
            for said in client.pull(repository, tag=tag, stream=True, decode=True):
                if given_up.is_set():
                    return
                if "error" in said:
                    raise EngineSays(500, str(said["error"]))

    # ---- containers

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """The id of a new container."""
        return str((await self._ask(lambda client: client.create_container_from_config(dict(config), name)))["Id"])

    async def start(self, container: str) -> None:
        await self._ask(lambda client: client.start(container))

    async def attach(self, container: str) -> Attached:
        """Before it is started, so that nothing is missed."""
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        return Attached(await self._ask(lambda client: client.attach_socket(container, params=params)))

    async def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask(lambda client: client.inspect_container(container))
        return found

    async def wait(self, container: str) -> int:
        """How a container ended that is ending."""
        return int((await self._ask(lambda client: client.wait(container, timeout=CALL_SECONDS)))["StatusCode"])

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        """Nothing is said if it does not run."""
        try:
            await self._ask(lambda client: client.kill(container, signal))
        except EngineSays as error:
            if error.status not in (404, 409, 500):
                raise

    async def remove(self, container: str) -> None:
        """With its processes and its own volumes."""
        await self._gone(lambda client: client.remove_container(container, force=True, v=True))

    async def logs(self, container: str, tail: int) -> bytes:
        return await self._ask(lambda client: client.logs(container, tail=tail))

    async def run_in(self, container: str, command: list[str]) -> tuple[int, bytes]:
        """Its exit code, and the beginning of what it wrote. May be cancelled; the command then goes on."""
        made = str((await self._ask(lambda client: client.exec_create(container, command)))["Id"])
        line = Attached(await self._ask(lambda client: client.exec_start(made, socket=True)))
        said = b""
        try:
            while data := await line.read():
                said = (said + data)[:MOST_SAID]
        finally:
            line.close()
        return await poll_until(partial(self._exec_code, made), 0.01, factor=1.5, at_most=0.2), said

    async def _exec_code(self, made: str) -> int | None:
        code = (await self._ask(lambda client: client.exec_inspect(made)))["ExitCode"]
        return None if code is None else int(code)

    async def containers(self, label: str) -> list[dict[str, Any]]:
        """Those with a label (`name`, or `name=value`), also those that have ended."""
        return await self._ask(lambda client: client.containers(all=True, filters={"label": label}))

    # ---- files

    async def put(self, container: str, folder: str, content: bytes | IO[bytes]) -> None:
        """Unpack a tar in a folder of it."""
        await self._ask(lambda client: client.put_archive(container, folder, content))

    async def get(self, container: str, path: str, file: IO[bytes], most: int) -> bool:
        """Write what is at this path, as a tar, to a file; False where it is more than `most` bytes. Raises Missing."""

        def read(client: Any) -> bool:
            size, pieces = 0, client.get_archive(container, path, chunk_size=CHUNK)[0]
            for piece in pieces:
                size += len(piece)
                if size > most:
                    pieces.close()
                    return False
                file.write(piece)
            return True

        return await self._ask(read)

    async def changes(self, container: str) -> list[dict[str, Any]]:
        """What differs from its image: `Path`, and `Kind` 0 changed, 1 added, 2 gone."""
        return await self._ask(lambda client: client.diff(container)) or []

    # ---- networks and volumes

    async def make_network(self, name: str, labels: Mapping[str, str]) -> None:
        await self._ask(lambda client: client.create_network(name, driver="bridge", labels=dict(labels)))

    async def remove_network(self, name: str) -> None:
        await self._gone(lambda client: client.remove_network(name))

    async def networks(self, label: str) -> list[dict[str, Any]]:
        return await self._ask(lambda client: client.networks(filters={"label": label}))

    async def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        await self._ask(lambda client: client.create_volume(name, labels=dict(labels)))

    async def remove_volume(self, name: str) -> None:
        await self._gone(lambda client: client.remove_volume(name, force=True))

    async def volumes(self, label: str) -> list[dict[str, Any]]:
        return (await self._ask(lambda client: client.volumes(filters={"label": label})))["Volumes"] or []

    # ---- calls

    async def _gone(self, call: Callable[[Any], Any]) -> None:
        """Remove something. It may be gone already; and what is just ending may want to be asked again."""
        for pause in (*PAUSES, None):
            try:
                await self._ask(call)
            except Missing:
                return
            except EngineSays as error:
                if error.status == 409 and "in progress" in str(error):
                    return  # somebody else removes it
                if pause is None:
                    raise
                await sleep(pause)
            else:
                return

    async def _ask(self, call: Callable[[Any], T]) -> T:
        return await to_thread.run_sync(partial(self._call, call), limiter=self._threads)

    def _call(self, call: Callable[[Any], T]) -> T:
        with self._translated():
            return call(self._ready())

    def _ready(self, patience: float = CALL_SECONDS) -> Any:
        """The client whose calls may be silent for so long."""
        with self._making:
            if patience not in self._clients:
                self._clients[patience] = _client(self.address, self._config, patience)
            return self._clients[patience]

    def _translated(self) -> _Translated:
        return _Translated(self.address)


class _Translated:
    """The library's errors as ours."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, EngineSays):
            return
        from docker.errors import APIError, DockerException
        from requests import RequestException

        if isinstance(error, APIError):
            status = error.response.status_code if error.response is not None else 500
            kind_of = Missing if status == 404 else EngineSays
            raise kind_of(status, _sentence(str(error.explanation or error))) from error
        if isinstance(error, DockerException | RequestException | OSError):
            raise EngineAway(f"The container engine at {self._address} does not answer: {_short(error)}") from error


def _client(address: str, config: str, patience: float) -> Any:
    import docker

    tls = docker.utils.kwargs_from_env({**os.environ, "DOCKER_HOST": address}).get("tls", False)
    if address.startswith("ssh:"):
        raise EngineAway("not supported: an engine by ssh; forward its socket, or give its tcp:// address")
    # REQUESTS_CA_BUNDLE would win over DOCKER_CERT_PATH, and a proxy might come between.
    direct = property(lambda _: False, lambda _, wanted: None)
    made = type("Direct", (docker.APIClient,), {"trust_env": direct})
    client = made(base_url=address, version="auto", tls=tls, timeout=patience)
    if config:
        client.reload_config(config)
    return client


async def _ended(thread: threading.Thread) -> bool | None:
    return None if thread.is_alive() else True


def _reference(name: str) -> tuple[str, str]:
    """Repository and tag (or digest); `latest` where there is none."""
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(name)
    return repository, tag or "latest"


def _sentence(text: str) -> str:
    """What the engine says, without the wrapping of its own layers."""
    if text.startswith("{"):
        try:
            text = str(json.loads(text).get("message", text))
        except ValueError:
            pass
    return " ".join(text.split())[:500].rstrip(".")


def _short(error: BaseException) -> str:
    """The innermost reason."""
    found: BaseException = error
    while (inner := found.__cause__ or found.__context__) is not None:
        found = inner
    return " ".join(str(found).split())[:200] or type(found).__name__


def lines_of(data: bytes) -> Iterator[str]:
    """Text of a log, line by line."""
    yield from data.decode("utf-8", "replace").splitlines()
