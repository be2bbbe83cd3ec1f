"""The command line's way to a server: it finds address and token by itself, and turns what goes wrong into sentences.

The admin token goes to the server that wrote it and to nobody else: not to another `--server`, not through a redirect,
not to a stranger who took the port of a server that has died, not through a proxy.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, TypeVar
from urllib.parse import urlsplit

import click
import httpx

from formicary.cli.clear import in_the_clear
from formicary.cli.hooksend import pinned
from formicary.cli.settings import read_settings
from formicary.runner.core.errors import Conflict, NotFound, SetupError, UserError, WorldError
from formicary.webhook.datafolder import read_admin_token, read_server_json

P = ParamSpec("P")
T = TypeVar("T")
Json = dict[str, Any]

REQUESTS: Final = "/api/jobs/requests"
#: This machine; a server that listens everywhere says that it is at 0.0.0.0.
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost", "0.0.0.0", "::"})
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_PAGE: Final = 1000
#: Fields of a call that an option sets.
_OPTIONS: Final = {"repository": "--repo", "ref": "--ref"}


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the server is, and who calls. `data` is the folder of a server on this machine, "" for another one."""

    url: str
    token: str
    data: str = ""
    cert: str = ""
    """The file of the certificate by which a server on this machine is known, whatever name is in it."""

    def options(self) -> dict[str, Any]:
        """What httpx is to be opened with. Nothing on loopback goes through a proxy of the environment."""
        return {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {self.token}", "User-Agent": "formicary-cli"},
            "timeout": _TIMEOUT,
            "follow_redirects": False,
            "verify": pinned(self.cert) if self.cert else True,
            "trust_env": urlsplit(self.url).hostname not in LOOPBACK,
        }

    def unreachable(self, error: httpx.TransportError) -> NoReturn:
        """Raises what to say of a server that does not answer."""
        if isinstance(error, httpx.ConnectError) and self.data:
            raise SetupError(no_server(self.data)) from error
        if isinstance(error, httpx.ConnectError):
            raise WorldError(f"no server answers at {self.url} ({error}); is the address right?") from error
        if isinstance(error, httpx.TimeoutException):
            raise WorldError(f"the server at {self.url} did not answer in time; try again in a moment") from error
        raise WorldError(f"the connection to {self.url} broke ({str(error) or type(error).__name__})") from error


def no_server(data: str | Path) -> str:
    return f"no server runs for {data}; start one with: formicary serve --repo ."


def find(server: str | None = None, data: Path | None = None) -> Connection:
    """The server that was named, else the one of the data folder. Raises SetupError."""
    folder = read_settings({"data": data}).data
    said = _server_json(folder)
    here = str((said or {}).get("url", "")).rstrip("/")
    token = os.environ.get("FORMICARY_TOKEN", "").strip()
    if server and server.rstrip("/") != here:
        return _elsewhere(server.rstrip("/"), token)
    if not here or not (server or _lives(said)):
        raise SetupError(no_server(folder))
    token = token or _admin_token(folder)
    if not token:
        raise SetupError(f"{folder} holds no admin.token; start the server anew, or set FORMICARY_TOKEN")
    return Connection(here, token, str(folder), str((said or {}).get("cert") or ""))


def _elsewhere(url: str, token: str) -> Connection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"`{url}` is no address of a server; it looks like https://ci.example.org")
    if not token:
        raise SetupError(f"set FORMICARY_TOKEN to a token of {url}; its admin makes one with: formicary token create")
    return Connection(url, token)


def _server_json(folder: Path) -> Mapping[str, object] | None:
    try:
        return read_server_json(folder)
    except PermissionError as error:
        raise SetupError(f"{folder} is somebody else's; set FORMICARY_SERVER and FORMICARY_TOKEN") from error


def _admin_token(folder: Path) -> str:
    try:
        return read_admin_token(folder)
    except PermissionError as error:
        raise SetupError(f"{folder}/admin.token is somebody else's; set FORMICARY_TOKEN") from error


def _lives(said: Mapping[str, object] | None) -> bool:
    """Whether the process that wrote server.json is there: anybody may listen on a dead server's port."""
    pid = (said or {}).get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def checked(response: httpx.Response) -> httpx.Response:
    """The answer if it is a good one. Its body must be read. Raises UserError, WorldError with the problem's words."""
    if response.is_success:
        return response
    if response.is_redirect:
        target = response.headers.get("location", "another place")
        raise SetupError(f"the server sends us to {target}; call that address with --server if you trust it")
    document = _document(response)
    message = _sentence(document, response)
    kinds: dict[int, type[UserError]] = {401: SetupError, 404: NotFound, 409: Conflict}
    if response.status_code >= 500:
        raise WorldError(message)
    raise kinds.get(response.status_code, UserError)(message)


def _document(response: httpx.Response) -> Json:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(document: Json, response: httpx.Response) -> str:
    """The problem document as one sentence that names the fields."""
    if response.status_code == 401:
        return "the server does not take this token; it may have expired or been revoked (FORMICARY_TOKEN, admin.token)"
    detail = str(document.get("detail") or document.get("title") or f"the server answered {response.status_code}")
    fields = [one for one in document.get("errors") or () if isinstance(one, dict)]
    missing = [f"{one.get('field')}: {one.get('reason')}" for one in fields if str(one.get("field")) not in detail]
    return detail + (f" [{'; '.join(missing)}]" if missing and len(fields) > 1 else _named(missing, fields))


def _named(missing: list[str], fields: list[Json]) -> str:
    if not missing or not fields:
        return ""
    name = str(fields[0].get("field"))
    return f" with {_OPTIONS[name]}" if name in _OPTIONS else f" (field `{name}`)"


class Api:
    """Calls of one server. Answers are the API's own JSON."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.http = httpx.Client(**connection.options())

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return checked(self.http.request(method, path, **options))
        except httpx.TransportError as error:
            self.connection.unreachable(error)

    def get(self, path: str, **query: Any) -> Json:
        found: Json = self.call("GET", path, params={k: v for k, v in query.items() if v is not None}).json()
        return found

    def records(self, path: str, **query: Any) -> list[Json]:
        """Every record of a list, page after page."""
        found: list[Json] = []
        page = 0
        while True:
            answer = self.get(path, page=page, page_size=_PAGE, **query)
            found += answer["records"]
            page += 1
            if page >= answer["total_pages"]:
                return found

    def post(self, path: str, body: Json | None = None) -> Json:
        found: Json = self.call("POST", path, json=body or {}).json()
        return found

    def delete(self, path: str) -> None:
        self.call("DELETE", path)

    def tasks(self, request_id: int) -> list[Json]:
        return self.records(f"{REQUESTS}/{request_id}/tasks")

    @contextmanager
    def stream(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """An answer whose body is read piece by piece."""
        try:
            with self.http.stream("GET", path, **options) as response:
                if not response.is_success:
                    response.read()
                yield checked(response)
        except httpx.TransportError as error:
            self.connection.unreachable(error)

    def close(self) -> None:
        self.http.close()


def connected(function: Callable[Concatenate[Api, P], T]) -> Callable[P, T]:
    """Gives a command `--server` and `--data`, and calls it with the server that they mean."""

    @click.option("--server", envvar="FORMICARY_SERVER", metavar="URL", help="Another server; set FORMICARY_TOKEN too.")
    @click.option("--data", type=click.Path(path_type=Path), help="The data folder of the server on this machine.")
    @functools.wraps(function)
    def call(*args: Any, server: str | None, data: Path | None, **kwargs: Any) -> T:
        api = Api(find(server, data))
        if in_the_clear(api.connection.url):
            click.echo(f"warning: {api.connection.url} is not HTTPS; your token can be read on its way", err=True)
        try:
            return function(api, *args, **kwargs)
        finally:
            api.close()

    return call  # type: ignore[return-value]  # click passes the two options by name
