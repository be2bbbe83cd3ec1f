"""`formicary run`: a definition of the working tree, uncommitted changes included, without a server.

The same core and the same executors, with a state of its own that is gone at the end; caches and artifacts are shared
with the other processes of this machine, so it may run beside a server. They stay on this machine: a bucket is the
server's, who knows what in it is still needed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import click
from anyio.abc import TaskGroup

from formicary.cli import complete
from formicary.cli.house import House, open_house
from formicary.cli.params import PARAM, params_of
from formicary.cli.runasks import Asking, by_whoever_runs_it
from formicary.cli.runsecrets import asked_for, of_data_folder
from formicary.cli.runwhere import must_be_runnable, on_this_host, said_of
from formicary.cli.settings import Settings, read_settings
from formicary.cli.validate import dialect_option
from formicary.cli.watch import Watcher
from formicary.runner.core.definition import NATIVE, Dialect, JobDefinition, TaskDefinition, Value
from formicary.runner.core.errors import DefinitionError, FormicaryError, NotFound, SetupError, UserError, WorldError
from formicary.runner.core.execution import Plan
from formicary.runner.core.graph import run_name, spreads
from formicary.runner.core.load import Loaded
from formicary.runner.core.records import JobRequest, JobResource, NewRequest, Repository
from formicary.runner.core.states import SUCCESS, TERMINAL, State
from formicary.runner.git.repository import GitRepository
from formicary.runner.queen.arriving.requests import checked_params, store_request
from formicary.runner.queen.arriving.sources import FOLDER, NO_GIT, git_params, load_all, tainted_names, without_doubles
from formicary.runner.store import Tx
from formicary.runner.store.connect import FILE_NAME
from formicary.runner.store.sqlite import open_reader

MANY: Final = 1_000_000_000
"""Units of a shared resource, where nobody else wants any."""
PATIENCE: Final = 1.0
"""Seconds that a run may wait to start before it is said why."""


@dataclass(frozen=True, slots=True)
class Local:
    """What to run: a definition of this working tree."""

    tree: Path
    loaded: Loaded
    job: JobDefinition
    task: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    on_host: bool = False
    """Whether what would run in containers runs on this host."""

    @property
    def tasks(self) -> Sequence[TaskDefinition]:
        """Those that it is about."""
        written = _written(self.task, [one.task_type for one in self.job.tasks])
        return [one for one in self.job.tasks if not self.task or one.task_type == written]


def tree_of(folder: Path) -> Path:
    """The nearest folder upwards that has `.formicary`. Raises NotFound."""
    for candidate in (folder, *folder.parents):
        if (candidate / FOLDER).is_dir():
            return candidate
        if (candidate / ".git").exists():
            break
    raise NotFound(f"there is no {FOLDER} folder here; `formicary init` makes one, or change into the project")


def find(tree: Path, job_type: str | None, task: str = "", dialect: Dialect = NATIVE) -> tuple[Loaded, JobDefinition]:
    """The definition to run. Raises NotFound, DefinitionError."""
    loaded, broken = read_tree(tree, dialect)
    names = [one.job_type for one in loaded if one.job_type]
    if job_type is None and len(loaded) > 1:
        raise UserError(f"there are several jobs; say which: formicary run {'|'.join(names)}")
    chosen = next((one for one in loaded if job_type in (None, one.job_type)), None)
    if chosen is None:
        if broken:
            raise DefinitionError(tuple(broken))
        raise NotFound(f"there is no job `{job_type}` in {tree / FOLDER}; there is {', '.join(names) or 'none'}")
    if chosen.definition is None or chosen.problems:
        raise DefinitionError(chosen.problems)
    known = [one.task_type for one in chosen.definition.tasks]
    if task and _written(task, known) not in known:
        raise NotFound(f"`{chosen.job_type}` has no task `{task}`; it has {', '.join(known)}")
    return chosen, chosen.definition


def read_tree(tree: Path, dialect: Dialect = NATIVE) -> tuple[list[Loaded], list[Any]]:
    broken: list[Any] = []
    texts: dict[str, str] = {}
    files = [path for path in sorted((tree / FOLDER).rglob("*")) if path.suffix in (".yml", ".yaml") and path.is_file()]
    for path in files:
        try:
            texts[path.relative_to(tree).as_posix()] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{path} cannot be read: {error}") from error
    loaded = load_all(texts, broken, dialect)
    return without_doubles(loaded, broken), broken


def _written(task: str, known: Sequence[str]) -> str:
    """The task that a combination of its matrix is named after: `test` of `test (python=3.12)`."""
    return task if task in known or not task.endswith(")") else task.partition(" (")[0]


def only(task: str) -> Any:
    """Leave out all other tasks, and what this one needs of them; with a combination's name the rest of its matrix."""

    def reshape(plan: Plan) -> Plan:
        name = _written(task, [one.task_type for one in plan.definition.tasks])
        alone = plan.definition.task(name).model_copy(
            update={
                "needs": (),
                "dependencies": (),
                "on_completed": None,
                "on_failed": None,
                "on_exit_code": {},
                "always_run": False,
            }
        )
        if name != task:
            alone = _one_of(alone, task)
        return plan.model_copy(update={"definition": plan.definition.model_copy(update={"tasks": (alone,)})})

    return reshape


def _one_of(task: TaskDefinition, name: str) -> TaskDefinition:
    """The task with the combination of this name alone."""
    there = {run_name(task, one): one for one in task.matrix.combinations} if task.matrix else {}
    if spreads(task):
        told = f"The items of `{task.task_type}` are known when it runs: run it whole, and give its list with --param."
        return task.model_copy(update={"unwanted": told})
    if name not in there:
        listed = ", ".join(f"`{each}`" for each in [*there][:20]) or "none"
        return task.model_copy(update={"unwanted": f"There is no `{name}`; its matrix has {listed}."})
    whole = task.matrix and task.matrix.model_copy(update={"combinations": (there[name],)})
    return task.model_copy(update={"matrix": whole})


async def run(settings: Settings, local: Local) -> JobRequest:
    """Run it and show it; returns the ended request."""
    runs = settings.data / "runs"
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    runs.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs, prefix="run-") as state, own_work(settings, Path(state).name) as own:
        alone = only(local.task) if local.task else lambda plan: plan
        where = on_this_host if local.on_host else lambda plan: plan
        async with open_house(
            own, state=Path(state), reshape=lambda plan: where(by_whoever_runs_it(alone(plan))), given=local.secrets
        ) as house:
            await house.start()
            ended = await _run(house, local)
            await _forget_artifacts(house)
            house.group.cancel_scope.cancel()
        return ended


@contextmanager
def own_work(settings: Settings, name: str) -> Iterator[Settings]:
    """The settings with a work folder for this run alone, which is gone at its end; artifacts in the data folder. Who
    runs his own files by his own engine may do what they say."""
    folder = settings.work_folder.with_name(f"{settings.work_folder.name}-run") / name
    try:
        yield settings.model_copy(update={"work": folder, "artifacts": "", "archive_logs": None, "risky": ("*",)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other runs are still there
            folder.parent.rmdir()


async def _run(house: House, local: Local) -> JobRequest:
    watcher = Watcher(house.store, house.logs, [task.task_type for task in local.job.tasks], local.task)
    told = False
    if not local.on_host:
        await must_be_runnable(house, local.tasks)
    await _have_resources(house, local.job)
    with house.queen.changes.subscribe() as news:
        request = await _ask(house, local)
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_on_signal, house, request.id, group)
            asking = Asking(house, group)
            while True:
                request = house.store.read().request(request.id) or request
                watcher.show(request)
                if request.state in TERMINAL:
                    group.cancel_scope.cancel()
                    break
                for one in (request, *watcher.forked()):
                    asking.look(one)
                waits = request.state is State.PENDING and not told
                with anyio.move_on_after(PATIENCE if waits else None) as scope:
                    await news.next()
                if scope.cancelled_caught:
                    told = True
                    click.echo(f"it waits: {house.queen.why(request.id)}", err=True)
    return request


async def _have_resources(house: House, job: JobDefinition) -> None:
    """What the server's runs share is not here: take it to be free, and say so."""
    wanted = [one for one in (job.resources, *(task.resources for task in job.tasks)) if one is not None]
    for number, one in enumerate(dict.fromkeys(wanted)):
        names = one.extract_config.properties if one.extract_config else ()
        free = JobResource(
            resource_type=one.resource_type,
            name=str(number),
            platform=one.platform,
            tags=one.tags,
            quota=MANY,
            configs=dict.fromkeys(names, ""),
        )
        await house.queen.registry.put_resource(free)
    for name in sorted({one.resource_type for one in wanted}):
        click.echo(
            f"`{name}` is a shared resource of a server; here it is free, and its properties are empty", err=True
        )


async def _forget_artifacts(house: House) -> None:
    """What the run made is gone with its state, unless the server or another run of this data folder has the same
    bytes. The run's own rows go first: of two that end together one at least sees that nobody needs them."""
    made: dict[str, float] = {}
    while records := house.store.read().artifacts(page_size=1000).records:
        for one in records:
            made[one.digest] = max(one.created_at, made.get(one.digest, 0.0))
        await house.store.write(partial(_delete_rows, ids=[one.id for one in records]))
    if made:
        await anyio.to_thread.run_sync(_forget_bytes, house, made)


def _delete_rows(tx: Tx, ids: Sequence[int]) -> None:
    tx.delete_artifacts(ids)


def _forget_bytes(house: House, made: Mapping[str, float]) -> None:
    data = house.settings.data
    folders = [path.parent for path in (data / FILE_NAME, *data.glob(f"runs/run-*/{FILE_NAME}")) if path.exists()]
    used = set[str]()
    for folder in folders:
        with suppress(SetupError, WorldError):  # a run that ends at this moment
            with open_reader(folder) as others:
                used |= {digest for digest in made if others.usage_of(digest)}
    alone = folders == [house.logs.folder.parent]
    for digest in made.keys() - used:  # what was put after ours, another may have made that cannot say so yet
        house.objects.delete(digest, put_before=None if alone else made[digest])


async def _ask(house: House, local: Local) -> JobRequest:
    repository = Repository(id=0, name=local.tree.name, path=str(local.tree))
    git = await anyio.to_thread.run_sync(_git_params, local.tree, repository)
    params, secrets = checked_params(local.job, local.params)
    new = NewRequest(
        version_id=0,
        job_type=local.job.job_type,
        event="run",
        source_path=str(local.tree),
        params={**git, **params},
        secret_params=secrets,
        tainted=tainted_names(git),
        max_concurrency=local.job.max_concurrency,
        created_by="run",
    )
    request, _ = await house.store.write(lambda tx: store_request(tx, local.loaded, "", new))
    await house.queen.created([request])
    return request


def _git_params(tree: Path, repository: Repository) -> dict[str, Value]:
    """The facts of HEAD, where the tree is a repository with a commit."""
    try:
        top = next(folder for folder in (tree, *tree.parents) if (folder / ".git").exists())
        with GitRepository.open(top) as git:
            ref = git.head_ref() or ""
            commit = git.refs().get(ref, "")
            if not commit:
                return dict(NO_GIT)
            found = git_params(git, repository, ref=ref, commit=commit, before=None, event="run")
    except (StopIteration, FormicaryError, OSError):
        return dict(NO_GIT)
    return found


def _branch(tree: Path) -> str:
    return str(_git_params(tree, Repository(id=0, name=tree.name, path=str(tree)))["GitBranch"])


async def _cancel_on_signal(house: House, request_id: int, group: TaskGroup) -> None:
    """The first Ctrl-C cancels (always_run tasks still run), the second ends those too."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            click.echo("cancelling …", err=True)
            await house.queen.cancel(request_id, by="Ctrl-C")


@click.command(short_help="Run a job of the working tree, without a server.")
@click.argument("job", required=False, shell_complete=complete.tree_jobs)
@click.option("--task", default="", shell_complete=complete.tree_tasks, help="Run this task alone.")
@click.option("--param", "-p", multiple=True, type=PARAM, metavar="K=V", help="A parameter; repeatable.")
@click.option("--secret", multiple=True, metavar="NAME", help="A secret: the variable NAME, else asked; repeatable.")
@click.option("--on-host", is_flag=True, help="Run tasks of containers on this host, with SHELL.")
@click.option("--data", type=click.Path(path_type=Path), help="Where caches and artifacts are kept.")
@click.option("--hands", type=int, help="How many tasks run at once.")
@dialect_option
def command(
    job: str | None,
    task: str,
    param: Sequence[tuple[str, str]],
    secret: Sequence[str],
    on_host: bool,
    data: Path | None,
    hands: int | None,
    dialect: Dialect,
) -> None:
    """Run a job as it stands in the working tree, uncommitted changes included.

    Each task gets a copy of the tracked and unignored files. Exits 0 if the job completes, else 1. Secrets are those of
    the data folder that the event `run` may see, and those of --secret. Tasks of containers need a container engine;
    with --on-host they run on this host instead, with the tools that are here and without their services.

    \b
    Examples:
      formicary run
      formicary run ci --task test
      formicary run deploy --param Env=staging
      NpmToken=$(pass show npm) formicary run publish --secret NpmToken
    """
    tree = tree_of(Path.cwd())
    loaded, definition = find(tree, job, task, dialect)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    # Whoever runs a job by hand has the tools on the PATH that they use themselves.
    settings = read_settings({"data": data, "hands": hands, "path": os.environ.get("PATH")}, folder=tree)
    given = asked_for(secret)
    stored = of_data_folder(settings.data, tree, definition.job_type, loaded.text, lambda: _branch(tree))
    local = Local(tree, loaded, definition, task, params_of(param), stored | given, on_host)
    for sentence in said_of(local.tasks) if on_host else ():
        click.echo(sentence, err=True)
    ended = anyio.run(run, settings, local)
    sys.exit(0 if ended.state in SUCCESS else 1)
