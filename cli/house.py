"""The parts of one process, wired together and started in order: store, queen, ant, reconciler, outbox, retention."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from formicary.ant.ant import Ant
from formicary.ant.settings import DEFAULT_PATH, AntSettings
from formicary.ant.uids import default_range
from formicary.cli.credentials import Stored, credential_of, credentials_of, nothing_stored
from formicary.cli.dockers import docker_settings
from formicary.cli.masterkey import MasterKey
from formicary.cli.objects import look, open_log_objects, open_objects
from formicary.cli.settings import Settings
from formicary.executors.contract import Limits
from formicary.executors.process_group import Hands
from formicary.executors.registry import Registry
from formicary.reconciler.reconciler import Reconciler
from formicary.runner.artifacts import ObjectStore
from formicary.runner.bus.memory import MemoryBus
from formicary.runner.core.errors import SetupError
from formicary.runner.core.execution import Plan
from formicary.runner.core.schedule import Limits as Places
from formicary.runner.git.mirror import FOLDER as MIRRORS
from formicary.runner.git.mirror import Mirrors
from formicary.runner.publish import Publisher
from formicary.runner.publish.forges import forges_of, open_pulls_of
from formicary.runner.publish.outbox import Outbox
from formicary.runner.queen.arriving.sources import Sources
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.retention import Gone, Keeping, Retention
from formicary.runner.queen.queen import EMBEDDED, Queen, QueenSettings
from formicary.runner.queen.secrets import Secrets
from formicary.runner.queen.told import Effect, Judged, Told
from formicary.runner.store import Store
from formicary.runner.store.seal import for_once
from formicary.runner.store.sqlite import open_store

log = logging.getLogger("formicary")


@dataclass(frozen=True, slots=True)
class Outside:
    """What a request's changes are told to: a publisher, and what is owed to it of each request."""

    publisher: Publisher
    effect: Effect | None = None
    start: Callable[[], Awaitable[None]] | None = None
    """Brings it up to date when the process starts, and when repositories are shown to others than before."""
    judged: Judged | None = None
    """What is owed to it of a commit's definitions."""
    gone: Gone | None = None
    """Hears of the requests that retention has deleted."""
    close: Callable[[], None] | None = None
    """Lets go of what it holds when the house is closed."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the publishers of a house may see of it. `url` is what people call this server; `mask` takes out the
    secrets (T8), and may be called once the house is open."""

    settings: Settings
    store: Store
    logs: Logs
    sources: Sources
    url: str
    mask: Callable[[str], str]
    queen: Callable[[], Queen]
    """Her, once the house is open."""
    credential: Stored = nothing_stored
    """One of a repository's credentials (its number, the name), None where there is none; ask it anew each time."""


@dataclass(slots=True)
class House:
    """What runs in this process. `group` holds it all; leaving the context ends it."""

    settings: Settings
    store: Store
    logs: Logs
    objects: ObjectStore
    sources: Sources
    queen: Queen
    reconciler: Reconciler
    outbox: Outbox
    ant: Ant
    group: TaskGroup
    told: Sequence[Outside] = ()
    drained: anyio.Event = field(default_factory=anyio.Event)

    async def start(self) -> None:
        """The queen first, then what feeds her; returns when all are ready."""
        await self.group.start(self.queen.run, name="queen")
        self.group.start_soon(self._work, name="ant")
        await self.group.start(self.reconciler.run, name="reconciler")
        self.group.start_soon(self._tell, name="publishers")
        settings = self.settings
        retention = Retention(
            settings.keep_requests, settings.keep_deliveries, settings.keep_caches, settings.archive_logs
        )
        gone = [one.gone for one in self.told if one.gone is not None]
        keeping = Keeping(self.store, self.logs, self.objects, retention, time.time, gone)
        self.group.start_soon(keeping.run, name="retention")

    async def _tell(self) -> None:
        """What the operator takes back is not shown until the next start, nor by who was faster at this one."""
        with self.queen.changes.subscribe() as news:
            shown = self._shown()
            await self._up_to_date()
            self.group.start_soon(self.outbox.run, name="outbox")
            while True:
                if (await news.next()).kind in ("repository", "missed") and (now := self._shown()) != shown:
                    shown = now
                    await self._up_to_date()

    def _shown(self) -> set[tuple[int, str, str]]:
        """Which repositories there are, as far as pages for everybody depend on it."""
        return {(one.id, one.name, one.visibility) for one in self.store.read().repositories()}

    async def _up_to_date(self) -> None:
        for one in self.told:
            if one.start is not None:
                try:
                    await one.start()
                except Exception:  # a folder that cannot be written stops no job
                    log.exception("`%s` could not be brought up to date", one.publisher.kind)

    async def drain(self) -> None:
        """Claim nothing more and return when what runs has ended. Unfinished jobs go on after the next start."""
        self.ant.drain()
        await self.drained.wait()

    async def _work(self) -> None:
        try:
            await self.ant.run()
        finally:
            self.drained.set()


@asynccontextmanager
async def open_house(
    settings: Settings,
    *,
    state: Path,
    url: str = "",
    outside: Callable[[Inside], Sequence[Outside]] | None = None,
    reshape: Callable[[Plan], Plan] = lambda plan: plan,
    given: Mapping[str, str] | None = None,
) -> AsyncIterator[House]:
    """Everything but the door. `state` is the folder of the database and the logs; artifacts and caches lie in
    `settings.data`, shared by all processes of this machine. `given`: secrets of this process alone. Raises
    SetupError."""
    async with AsyncExitStack() as stack:
        prepare(settings)
        key = MasterKey(settings.data) if state == settings.data else for_once()
        store = open_store(state, key=key)
        stack.callback(store.close)
        logs = Logs(state / "logs", open_log_objects(settings))
        stack.callback(logs.close_all)
        secrets = Secrets(store, key, given)
        sources = Sources()
        stack.callback(sources.close)
        objects = open_objects(settings)
        await look(objects)
        hands = await stack.enter_async_context(Hands(settings.hands))
        executors = Registry(hands, settings.grace, docker=docker_settings(settings))
        stack.push_async_callback(executors.aclose)
        bus = MemoryBus()
        credential = credential_of(settings, store, secrets.credential)
        inside = Inside(settings, store, logs, sources, url, lambda text: queen.mask(text), lambda: queen, credential)
        told = list(outside(inside)) if outside else []
        for one in told:
            if one.close is not None:
                stack.callback(one.close)
        effects = Told(
            [one.effect for one in told if one.effect is not None],
            [one.judged for one in told if one.judged is not None],
        )
        limits = Places(max_running_of_organization=settings.limit_running)
        wanted = QueenSettings(url=url, told=effects, reshape=reshape, secrets=secrets, limits=limits)
        queen = Queen(store, bus, logs, sources, wanted)
        outbox = Outbox(store, [queen.followers, *(one.publisher for one in told)], time.time)
        store.when_owed(outbox.wake)
        credentials = credentials_of(settings, stored=secrets.credential)
        mirrors = Mirrors(settings.data / MIRRORS, credentials, most_bytes=settings.limit_mirror)
        reconciler = Reconciler(
            store,
            sources,
            queen.changes,
            created=queen.created,
            registered=queen.registered,
            poll=settings.poll,
            told=effects,
            mirrors=mirrors,
            open_pulls=open_pulls_of(forges_of(credential)),
            carry_out=queen.triggered.carry_out,
            bundle_id=settings.bundle_id,
        )
        ant = Ant(bus, executors, objects, settings.work_folder, ant_settings(settings), ready=mirrors.ready)
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        yield House(settings, store, logs, objects, sources, queen, reconciler, outbox, ant, group, told)


def prepare(settings: Settings) -> None:
    """The data folder, for nobody else's eyes; and the way to the workspaces, which tasks' own users pass through."""
    _make(settings.data, 0o700, "data")
    if not settings.work_folder.parent.exists():
        _make(settings.work_folder.parent, 0o711, "work")
    _make(settings.work_folder, 0o711, "work")


def _make(folder: Path, mode: int, setting: str) -> None:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the folder {folder} cannot be made ({error.strerror}); give another --{setting}") from error


def ant_settings(settings: Settings) -> AntSettings:
    limits = Limits(settings.limit_cpu, settings.limit_memory, settings.limit_file_size)
    return AntSettings(
        ant_id=EMBEDDED,
        hands=settings.hands,
        tags=frozenset(settings.tags),
        embedded=True,
        path=settings.path or DEFAULT_PATH,
        limits=limits,
        uid_range=task_uids(settings.task_uids),
        drain_timeout=settings.drain,
        allow_networks=settings.allow_networks,
        risky=settings.risky,
    )


def task_uids(wanted: str) -> tuple[int, int] | None:
    """The range that tasks' users come from; None where this process cannot give files away (it is not root)."""
    possible = default_range()
    if possible is None or not wanted:
        return None
    first, _, last = wanted.partition("-")
    return int(first), int(last)
