"""`formicary doctor`: looks at this machine and at the data folder; each line says what to do. Changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from formicary.cli.dockers import docker_settings
from formicary.cli.format import as_json, progress
from formicary.cli.hooksend import pinned
from formicary.cli.masterkey import MasterKey
from formicary.cli.objects import keys_for
from formicary.cli.settings import Settings, read_settings
from formicary.executors.docker_settings import OFF
from formicary.runner.artifacts.address import SCHEME, address_of
from formicary.runner.core.errors import FormicaryError, SetupError
from formicary.runner.store.maintenance import Finding, check
from formicary.runner.store.sqlite import ClosingReader, open_reader
from formicary.site.times import duration, size, stamp
from formicary.webhook.datafolder import ADMIN_TOKEN, read_server_json

OLDEST_GIT: Final = (2, 20)
OLDEST_PYTHON: Final = (3, 11)
LITTLE_DISK: Final = 512 * 1024 * 1024
SKEW: Final = 60.0
LATE: Final = 3600.0
"""Seconds that a message to the outside may wait before somebody should look."""
_NAMED: Final = 5


def findings(settings: Settings) -> Iterator[Finding]:
    yield _python()
    yield _git()
    yield from _data(settings)
    yield _work(settings)
    yield _engine(settings)
    if settings.artifacts:
        yield _bucket("artifacts", settings, settings.artifacts)
    if settings.site.startswith(SCHEME):
        yield _bucket("site", settings, settings.site)
    yield _server(settings)


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("python", False, f"This is Python {found}; install Python 3.11 or newer.")
    return Finding("python", True, f"Python {found}, {sys.executable}")


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("git", False, "There is no git; workspaces are made without it, slower. Install it (apt: git).")
    said = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip()
    numbers = tuple(int(part) for part in said.removeprefix("git version ").split(".")[:2] if part.isdigit())
    if numbers < OLDEST_GIT:
        return Finding("git", False, f"{said or path} is too old; install git 2.20 or newer.")
    return Finding("git", True, f"{said}, {path}")


def _data(settings: Settings) -> Iterator[Finding]:
    folder = settings.data
    if not folder.exists():
        yield Finding("data", True, f"{folder} is not there yet; `formicary serve` makes it.")
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        yield Finding("data", False, f"{folder} is not readable for you; run this as the user that serves it.")
        return
    yield from check(folder)
    yield _secrets(folder)
    try:
        reader = open_reader(folder)
    except FormicaryError:
        return  # check() has said why
    with closing(reader):
        yield _key(folder, reader)
        yield _logs(folder, reader)
        yield _clock(reader)
        yield _outside(reader)
        yield _repositories(reader)
    yield _runs(folder)


def _secrets(folder: Path) -> Finding:
    files = [path for path in (folder / ADMIN_TOKEN, folder / "server.json", *folder.glob("hooks/*")) if path.exists()]
    open_ones = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        names = " ".join(str(path) for path in open_ones)
        return Finding("secrets", False, f"Others can read {names}; run chmod 600 {names}.")
    return Finding("secrets", True, f"{len(files)} files with secrets are their owner's alone.")


def _key(folder: Path, reader: ClosingReader) -> Finding:
    """Whether what is sealed can be opened."""
    sealed = reader.secret_keys()
    try:
        key = MasterKey(folder)
        complaint = key.complaint(sealed)
    except SetupError as error:
        complaint = str(error)
    if complaint:
        return Finding("master key", False, f"{complaint[0].upper()}{complaint[1:]}.")
    if not sealed:
        return Finding("master key", True, "Nothing is sealed yet.")
    return Finding("master key", True, f"{key.place} opens what is sealed.")


def _logs(folder: Path, reader: ClosingReader) -> Finding:
    """Logs whose execution is not in the database: of a restored backup, or of a clean-up that was cut off."""
    found = sorted((folder / "logs").glob("*/*.log"))
    known: dict[str, bool] = {}
    for path in found:
        number = path.name.partition("-")[0]
        if number not in known:
            known[number] = number.isdecimal() and reader.execution(int(number)) is not None
    orphans = [path for path in found if not known[path.name.partition("-")[0]]]
    if not orphans:
        return Finding("logs", True, f"Logs of {len(known)} executions, each known to the database.")
    taken = sum(path.stat().st_size for path in orphans)
    names = " ".join(str(path) for path in orphans[:_NAMED]) + (" …" if len(orphans) > _NAMED else "")
    return Finding("logs", False, f"{len(orphans)} logs ({size(taken)}) belong to no execution; delete them: {names}")


def _clock(reader: ClosingReader) -> Finding:
    """Whether the newest request is from the future: then the clock was put back, and timers wait too long."""
    newest = next(iter(reader.requests(page_size=1).records), None)
    now = time.time()
    if newest and newest.created_at > now + SKEW:
        ahead = duration(newest.created_at - now)
        return Finding("clock", False, f"The newest request is {ahead} in the future; set this machine's clock right.")
    return Finding("clock", True, f"It is {stamp(now)}.")


def _repositories(reader: ClosingReader) -> Finding:
    known = reader.repositories()
    away = [f"{one.name}: {one.error}" for one in known if one.state == "unavailable"]
    if away:
        return Finding("repositories", False, f"{len(away)} of {len(known)} cannot be read. {' '.join(away[:_NAMED])}")
    return Finding("repositories", True, f"{len(known)} watched, and each could be read when it was looked at.")


def _outside(reader: ClosingReader) -> Finding:
    """What could not be told to the outside: commit statuses, notifications, webhooks."""
    owed = reader.outbox_counts()
    if owed.dead:
        newest = reader.outbox(dead=True, page_size=1).records[0]
        many = f"{owed.dead} messages" if owed.dead > 1 else "A message"
        said = f"{many} to the outside could not be sent, such as this {newest.kind}: {newest.error}"
        return Finding("outbox", False, f"{said}. See formicary outbox list --dead.")
    late = time.time() - owed.since if owed.since is not None else 0.0
    if late > LATE:
        many = f"{owed.living} messages to the outside wait" if owed.living > 1 else "A message to the outside waits"
        said = f"{many}, the oldest for {duration(late)}"
        return Finding("outbox", False, f"{said}; formicary outbox list says for what.")
    return Finding("outbox", True, f"{owed.living} messages to the outside are on their way, and none was given up.")


def _runs(folder: Path) -> Finding:
    """What `formicary run` left behind where it was killed."""
    old = [path for path in folder.glob("runs/run-*") if time.time() - path.stat().st_mtime > 86400]
    if old:
        names = " ".join(str(path) for path in old[:_NAMED])
        return Finding("runs", False, f"{len(old)} runs were cut off more than a day ago; delete what is left: {names}")
    return Finding("runs", True, "Nothing is left of local runs.")


def _work(settings: Settings) -> Finding:
    folder = settings.work_folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("workspaces", False, f"{there} is not writable for you; name another folder with --work.")
    if free < LITTLE_DISK:
        return Finding("workspaces", False, f"Only {size(free)} are free for workspaces in {there}; make room.")
    return Finding("workspaces", True, f"{folder}, {size(free)} free.")


def _engine(settings: Settings) -> Finding:
    """No engine is no fault: tasks with images wait for an ant that has one."""
    import anyio

    from formicary.executors import docker_ping

    where = docker_settings(settings)
    if where.address == OFF:
        return Finding("containers", True, "No container engine is used: `docker` is off.")
    with ThreadPoolExecutor(1) as thread:  # whoever calls may have a loop of his own
        complaint = thread.submit(anyio.run, docker_ping.complaint, where.place).result()
    if complaint:
        said = f"{complaint[0].upper()}{complaint[1:]}; tasks with an image wait."
        return Finding("containers", not settings.docker, said)
    return Finding("containers", True, f"A container engine answers at {where.place}.")


def _bucket(part: str, settings: Settings, address: str) -> Finding:
    from formicary.runner.artifacts.bucket import Bucket

    try:
        Bucket(address_of(address), keys_for(settings)).check()
    except FormicaryError as error:
        text = str(error)
        return Finding(part, False, text[:1].upper() + text[1:].removesuffix(".") + ".")
    return Finding(part, True, "Objects can be put into its bucket, read and deleted.")


def _server(settings: Settings) -> Finding:
    try:
        said = read_server_json(settings.data)
    except OSError:
        said = None
    if said:
        return _answers(str(said.get("url") or ""), str(said.get("cert") or ""))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            return Finding("server", False, f"{where} is taken ({error.strerror}); serve with another --port.")
    return Finding("server", True, f"No server runs; {settings.host}:{settings.port} is free for one.")


def _answers(url: str, cert: str) -> Finding:
    import httpx

    try:
        verify = pinned(cert) if cert else True
        ready = httpx.get(f"{url}/health/ready", timeout=5.0, trust_env=False, verify=verify)
    except OSError as error:
        return Finding("server", False, f"The server's certificate {cert} cannot be read ({error.strerror or error}).")
    except (httpx.HTTPError, httpx.InvalidURL):
        return Finding("server", False, f"server.json names {url}, and nothing answers there; start formicary serve.")
    if ready.status_code != 200:
        return Finding("server", False, f"The server at {url} is not ready; its log says which part does not answer.")
    return Finding("server", True, f"A server runs at {url}, and it is ready.")


def _line(found: Finding) -> str:
    mark = click.style("✓", fg="green") if found.ok else click.style("✗", fg="red", bold=True)
    return f"{mark} {found.part:<15} {found.message}"


@click.command(short_help="Check this machine and the data folder.")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
def command(data: Path | None, json_wanted: bool) -> None:
    """Check this machine and the data folder. A server may be running. Exits 1 if something is wrong.

    \b
    Examples:
      formicary doctor
      formicary doctor --data /var/lib/formicary --json
    """
    settings = read_settings({"data": data})
    with progress("looking at the data folder"):
        found = list(findings(settings))
    if json_wanted:
        click.echo(as_json([{"part": one.part, "ok": one.ok, "message": one.message} for one in found]))
    else:
        for one in found:
            click.echo(_line(one))
    sys.exit(0 if all(one.ok for one in found) else 1)
