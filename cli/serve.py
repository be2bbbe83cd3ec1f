"""`formicary serve`: reconciler, queen, embedded ant, door and pages in one process on loopback."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import click
import uvicorn

from formicary.cli.house import House, open_house
from formicary.cli.journal import keep_journal
from formicary.cli.outside import outside
from formicary.cli.repository import as_settings
from formicary.cli.settings import Settings, misspelt, read_settings
from formicary.cli.watching import watch_all
from formicary.runner.core.errors import SetupError
from formicary.webhook import datafolder
from formicary.webhook.app import build_app
from formicary.webhook.pages.routes import page_routes
from formicary.webhook.parts import Door
from formicary.webhook.parts import Settings as DoorSettings

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
CLOSE_SECONDS: Final = 3.0
_REMEDIES: Final = {
    errno.EADDRINUSE: "is a server running there already? Give another --port, or 0 for any free one",
    errno.EACCES: "only root may use ports below 1024; give another --port, or 0 for any free one",
}


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours drain first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, say: Any = click.echo) -> None:
    """Run until a signal: the first one drains, the second one stops. Raises SetupError."""
    with listen(settings) as listener:
        port = listener.getsockname()[1]
        url = settings.url or _listening(settings.host, port)
        async with open_house(settings, state=settings.data, url=url, outside=outside) as house:
            await datafolder.first_start(settings.data, house.store)
            await house.start()
            await watch_all(house, settings, say)
            door = _door(house, settings, url, port)
            async with _serving(house, door, listener):
                datafolder.write_server_json(settings.data, _listening(settings.host, port))
                try:
                    _welcome(house, door, say)
                    await _until_stopped(house, say)
                finally:
                    datafolder.remove_server_json(settings.data)
            house.group.cancel_scope.cancel()


@contextmanager
def listen(settings: Settings) -> Iterator[socket.socket]:
    """The socket, bound before anything else starts. Raises SetupError where the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(2048)  # so that nobody who reads our address is refused while the door still opens
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "give --host an address of this machine, such as 127.0.0.1")
            raise SetupError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); {remedy}"
            ) from error
        yield listener


def _listening(host: str, port: int) -> str:
    """Where this machine's own commands and hooks reach the server, whatever people call it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # not bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _door(house: House, settings: Settings, url: str, port: int) -> Door:
    door = Door(
        store=house.store,
        queen=house.queen,
        reconciler=house.reconciler,
        objects=house.objects,
        data=settings.data,
        mask=house.queen.mask,
        settings=DoorSettings(url=url, host=settings.host, port=port),
    )
    door.pages = page_routes(door)
    return door


@asynccontextmanager
async def _serving(house: House, door: Door, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        build_app(door), log_config=None, access_log=False, lifespan="off", server_header=False, ws="none",
        timeout_graceful_shutdown=int(CLOSE_SECONDS),
    )  # fmt: skip
    server = Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listener], name="door")
        try:
            yield
        finally:
            door.close()
            server.should_exit = True


def _welcome(house: House, door: Door, say: Any) -> None:
    settings = house.settings
    say(f"  data      {settings.data}")
    if settings.site:
        public = any(one.visibility == "public" for one in house.store.read().repositories())
        hint = "" if public else "  (empty: only public repositories are written there; see --public)"
        say(f"  site      {settings.site / 'index.html'}{hint}")
    hands = "1 hand" if settings.hands == 1 else f"{settings.hands} hands"
    say(f"  ant       {hands}, workspaces in {settings.work_folder}")
    say(f"  listening {door.settings.url}")
    say(f"  log in    {door.login_link()}  (works once, for ten minutes)")
    if settings.host not in LOOPBACK:
        say(f"  note      {settings.host} can be reached from outside this machine, without TLS")


async def _until_stopped(house: House, say: Any) -> None:
    async with anyio.create_task_group() as group:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            first = True
            async for _ in signals:
                if not first:
                    say("stopping now; what runs is lost and runs again after the next start")
                    group.cancel_scope.cancel()
                    return
                first = False
                busy = house.queen.busy()
                say(f"draining: {busy} running; press Ctrl-C again to stop at once" if busy else "stopping")
                group.start_soon(_drained, house, group.cancel_scope)


async def _drained(house: House, scope: anyio.CancelScope) -> None:
    await house.drain()
    scope.cancel()


@click.command(short_help="Watch repositories and run their jobs.")
@click.option("--repo", multiple=True, metavar="PATH|URL", help="A git repository to watch; repeatable.")
@click.option("--data", type=click.Path(path_type=Path), help="Where everything is kept.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on, 0 = any free one.  [default: 7777]")
@click.option("--url", help="Public address that links use.")
@click.option("--site", type=click.Path(path_type=Path), help="Also write the pages of public repositories there.")
@click.option("--public", is_flag=True, help="The repositories named by --repo may be shown to everybody on the site.")
@click.option("--work", type=click.Path(path_type=Path), help="Where workspaces lie.  [default: DATA-work]")
@click.option("--hands", type=int, help="How many tasks run at once.  [default: number of processors, at least 2]")
@click.option("--poll", type=float, help="Seconds between looks at a repository.  [default: 10]")
@click.option("--verbose", "-v", is_flag=True, help="Say more of what goes on.")
def command(verbose: bool, public: bool, **given: Any) -> None:
    """Watch repositories, run the jobs of their .formicary/*.yml, show the pages.

    Everything may also stand in formicary.toml, or in the environment as FORMICARY_…

    \b
    Examples:
      formicary serve --repo .
      formicary serve --repo ~/src/app --repo /srv/git/lib.git --data ~/ci --port 8000
      formicary serve --repo https://github.com/owner/name.git
      FORMICARY_HANDS=8 formicary serve --repo . --public --site public/
    """
    keep_journal(verbose=verbose)
    if public:
        given["repo"] = [{**as_settings(one), "visibility": "public"} for one in given["repo"]]
    settings = read_settings(given)
    for sentence in misspelt(os.environ):
        click.echo(f"warning: {sentence}", err=True)
    anyio.run(serve, settings)
