"""`formicary serve`: reconciler, queen, embedded ant, door and pages in one process on loopback."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import click

from formicary.cli.credentials import hook_secret_of
from formicary.cli.house import House, open_house
from formicary.cli.journal import keep_journal
from formicary.cli.listening import LOOPBACK, Served, address_of, check_tls, listen, reachable, serving
from formicary.cli.outside import outside
from formicary.cli.repository import as_settings
from formicary.cli.settings import Settings, misspelt, read_settings
from formicary.cli.siteplace import site_place
from formicary.cli.watching import watch_all
from formicary.webhook import datafolder
from formicary.webhook.app import build_app, build_hooks_app
from formicary.webhook.pages.routes import page_routes
from formicary.webhook.parts import Door
from formicary.webhook.parts import Settings as DoorSettings
from formicary.webhook.rates import Submits


async def serve(settings: Settings, say: Any = click.echo) -> None:
    """Run until a signal: the first one drains, the second one stops. Raises SetupError."""
    check_tls(settings.tls_cert, settings.tls_key)
    with listen(settings.host, settings.port, "--host") as listener, _hooks_listener(settings) as for_hooks:
        port = listener.getsockname()[1]
        here = reachable(settings.scheme, settings.host, port)
        url = settings.url or here
        async with open_house(settings, state=settings.data, url=url, outside=outside) as house:
            await datafolder.first_start(settings.data, house.store)
            await house.start()
            await watch_all(house, settings, say)
            door = _door(house, settings, url, port)
            served = [Served(build_app(door), listener)]
            if for_hooks is not None:
                served.append(Served(build_hooks_app(door), for_hooks))
            async with serving(served, settings):
                datafolder.write_server_json(settings.data, here, cert=settings.tls_cert)
                try:
                    _welcome(house, door, for_hooks, say)
                    await _until_stopped(house, say)
                finally:
                    datafolder.remove_server_json(settings.data)
                    door.close()
            house.group.cancel_scope.cancel()


@contextmanager
def _hooks_listener(settings: Settings) -> Iterator[socket.socket | None]:
    """The listener that hooks have for themselves, where they have one."""
    if not settings.hooks_listen:
        yield None
        return
    with listen(*address_of(settings.hooks_listen), "--hooks-listen") as listener:
        yield listener


def _door(house: House, settings: Settings, url: str, port: int) -> Door:
    door = Door(
        store=house.store,
        queen=house.queen,
        reconciler=house.reconciler,
        objects=house.objects,
        secrets=house.queen.secrets,
        data=settings.data,
        mask=house.queen.mask,
        forge_secret=hook_secret_of(settings, stored=house.queen.secrets.credential),
        default_secrets=_default_secrets(settings),
        settings=DoorSettings(
            url=url, host=settings.host, port=port, scheme=settings.scheme, download_links=settings.download_links
        ),
        submits=Submits(settings.limit_submits, settings.limit_submits_organization),
    )
    door.pages = page_routes(door)
    return door


def _default_secrets(settings: Settings) -> dict[str, bytes]:
    """What signs a forge's hooks of repositories that have no secret of their own."""
    said = {
        "github": settings.github_webhook_secret,
        "gitlab": settings.gitlab_webhook_secret,
        "gitea": settings.gitea_webhook_secret,
    }
    return {forge: secret.get_secret_value().encode() for forge, secret in said.items() if secret}


def _welcome(house: House, door: Door, for_hooks: socket.socket | None, say: Any) -> None:
    settings = house.settings
    say(f"  data      {settings.data}")
    if settings.site:
        public = any(one.visibility == "public" for one in house.store.read().repositories())
        hint = "" if public else "  (empty: only public repositories are written there; see --public)"
        place = site_place(settings.site)
        say(f"  site      {place.folder / 'index.html' if place.folder else place}{hint}")
    hands = "1 hand" if settings.hands == 1 else f"{settings.hands} hands"
    say(f"  ant       {hands}, workspaces in {settings.work_folder}")
    here = reachable(settings.scheme, settings.host, door.settings.port)
    called = f", known as {door.settings.url}" if door.settings.url != here else ""
    say(f"  listening {here}{called}")
    if for_hooks is not None:
        say(f"  hooks     {reachable(settings.scheme, *for_hooks.getsockname()[:2])}/hooks/…, nothing else")
    say(f"  log in    {door.login_link()}  (works once, for ten minutes)")
    if complaint := house.queen.secrets.complaint():
        say(f"  secrets   {complaint}")
    if settings.host not in LOOPBACK and settings.tls_cert is None:
        say(f"  note      {settings.host} can be reached from outside this machine, without TLS")


@contextmanager
def _stoppable() -> Iterator[None]:
    """TERM ends it like Ctrl-C until it serves: as process 1 of a container it would else be ignored."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
@click.option("--site", help="Also write the pages of public repositories there: a folder, s3://…, or URL#branch.")
@click.option("--hooks-listen", metavar="HOST:PORT", help="Take hooks (and nothing else) there too.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate with its chain (PEM): serve HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM).")
@click.option("--public", is_flag=True, help="The repositories named by --repo may be shown to everybody on the site.")
@click.option("--artifacts", help="Keep artifacts and caches in a bucket: s3://bucket/prefix?endpoint=host:port.")
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
    with _stoppable():
        anyio.run(serve, settings)
