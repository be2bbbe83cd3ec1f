"""A data folder with something to look at: repositories, runs of every kind, logs."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from formicary.runner.core import logframes
from formicary.runner.core.definition import JobDefinition, Param, Target, TaskDefinition
from formicary.runner.core.execution import ArtifactRef, Attempt, Execution, Plan, TaskRun
from formicary.runner.core.records import Artifact, Definition, NewRequest, Repository, SyncState, Version
from formicary.runner.core.states import State
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.store.sqlite import open_store
from formicary.site.source import Source
from formicary.site.writer import SiteWriter

START = 1_790_000_000.0


@dataclass
class Clock:
    now: float = START

    def __call__(self):
        return self.now


@dataclass
class Nest:
    """The store, its logs and a published site; `add_run` makes a request whose run is already over (or not yet)."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self):
        self.store = open_store(self.folder / "data", clock=self.clock)
        self.logs = Logs(self.folder / "data" / "logs")
        self.site = self.folder / "site"
        self.writer = SiteWriter(self.store, self.site, self.logs)

    def source(self, sees=lambda _: True, **more):
        return Source(self.store.read(), self.logs, sees, **more)

    async def repository(self, name="honeydew", visibility="public", **more):
        more = {"tracked_branch": "refs/heads/main", "synced_commit": "a" * 40, "synced_at": self.clock.now, **more}
        new = Repository(id=0, name=name, path=f"/src/{name}", visibility=visibility, **more)
        return await self.store.write(lambda tx: tx.put_repository(new))

    async def definition(self, repository, job_type="ci", problems=(), state=SyncState.SYNCED):
        owner = repository.id if repository else None
        path = f".formicary/{job_type.replace('/', '-')}.yml"
        text = Version(
            id=0, repository_id=owner, job_type=job_type, version=0, digest=job_type, path=path, index=0, text=""
        )

        def change(tx):
            version = tx.put_version(text)
            return tx.put_definition(
                Definition(
                    id=0,
                    repository_id=owner,
                    job_type=job_type,
                    path=path,
                    version_id=version.id,
                    version=1,
                    commit="a" * 40,
                    state=state,
                    problems=problems,
                    updated_at=self.clock.now,
                )
            )

        return await self.store.write(change)

    async def request(self, definition, **more):
        more = {
            "ref": "refs/heads/main",
            "commit": "4f2a9c1d7e" + "0" * 30,
            "event": "commit",
            "params": {"GitCommitMessage": "Teach the foragers the way home"},
            **more,
        }
        new = NewRequest(
            repository_id=definition.repository_id,
            version_id=definition.version_id,
            job_type=definition.job_type,
            **more,
        )
        made, _ = await self.store.write(lambda tx: tx.create_request(new))
        return made

    async def run(self, request, job, tasks, state=State.COMPLETED, **more):
        """An execution of `request` with these tasks (a function of the execution's id), brought to `state`."""
        at = more.pop("began", self.clock.now)
        ended = (
            more.pop("ended", self.clock.now + 60)
            if state in (State.COMPLETED, State.FAILED, State.CANCELLED)
            else None
        )

        def begin(tx):
            made = tx.create_execution(
                request.id,
                lambda number: Execution(id=number, request_id=request.id, created_at=at, **more),
                Plan(definition=job),
            )
            for step in (State.STARTED, State.EXECUTING, state):
                made = made.model_copy(update={"state": step, "started_at": at, "tasks": tasks(made.id)})
                if step is state:
                    made = made.model_copy(update={"ended_at": ended})
                tx.save_execution(made)
                if step is state:
                    return made
            return made

        return await self.store.write(begin)

    def log(self, task_execution_id, *frames, at=START):
        path = self.logs.path(task_execution_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        moment = at
        with path.open("ab") as file:
            for stream, text in frames:
                data = text if isinstance(text, bytes) else text.encode()
                file.write(logframes.frame(moment, stream, data))
                moment += 0.4
        return path


def attempt(number_of, n, state=State.COMPLETED, begin=0.0, spent=5.0, wait=0.2, **more):
    """Attempt number `n` (its id ends with it) of an execution, from `begin` seconds after START."""
    begun = START + begin
    more = {"number": 1, "fence": n, "ant_id": "nest-1", "exit_code": 0 if state is State.COMPLETED else 1, **more}
    over = state in (State.COMPLETED, State.FAILED, State.CANCELLED)
    times = {"ready_at": begun, "started_at": begun + wait, "executing_at": begun + wait + 0.05}
    times["ended_at"] = begun + wait + spent if over else None
    if not over:
        more["exit_code"] = None
    return Attempt(id=f"{number_of}-{n}", state=state, **times, **more)


PIPELINE = JobDefinition(
    job_type="ci",
    description="Build, check and pack on every commit",
    params={"Target": Param(default="all", description="what to build"), "DeployKey": Param(secret=True)},
    tasks=(
        TaskDefinition(
            task_type="build", on_completed=Target(name="unit"), description="Compile and stamp the version"
        ),
        TaskDefinition(task_type="lint", allow_failure=True),
        TaskDefinition(task_type="unit", dependencies=("build",)),
        TaskDefinition(task_type="browser", needs=("build",)),
        TaskDefinition(task_type="pack", needs=("unit", "browser", "lint")),
        TaskDefinition(task_type="deploy", needs=("pack", "build"), on_failed=Target(name="rollback")),
        TaskDefinition(task_type="rollback"),
        TaskDefinition(task_type="sweep", always_run=True),
    ),
)


def pipeline_tasks(number, failing=False):
    unit = (
        attempt(number, 4, State.FAILED, 12, 18, number=1, error_code="ERR_EXIT_CODE"),
        attempt(
            number,
            6,
            State.FAILED,
            33,
            16,
            number=2,
            exit_code=2,
            error_code="ERR_EXIT_CODE",
            error_message="pytest ended with exit code 2",
        ),
    )
    if not failing:
        unit = (unit[0], attempt(number, 6, State.COMPLETED, 33, 16, number=2))
    skipped = TaskRun(name="pack", state=State.SKIPPED, reason="unit failed")
    packed = TaskRun(name="pack", state=State.COMPLETED, attempts=(attempt(number, 7, State.COMPLETED, 50, 4),))
    after = State.SKIPPED if failing else State.COMPLETED
    deployed = () if failing else (attempt(number, 8, State.COMPLETED, 54.5, 3),)
    return {
        "build": TaskRun(
            name="build",
            state=State.COMPLETED,
            attempts=(
                attempt(
                    number,
                    1,
                    State.COMPLETED,
                    0,
                    11,
                    outputs={"Version": "1.4.2", "Digest": "sha256:77ab"},
                    artifacts=(ArtifactRef(name="dist.tar", kind="tar", digest="d" * 64, size=48211),),
                ),
            ),
        ),
        "lint": TaskRun(name="lint", state=State.FAILED, attempts=(attempt(number, 2, State.FAILED, 0, 4),)),
        "unit": TaskRun(name="unit", state=State.FAILED if failing else State.COMPLETED, chosen=True, attempts=unit),
        "browser": TaskRun(
            name="browser", state=State.COMPLETED, attempts=(attempt(number, 5, State.COMPLETED, 12, 31),)
        ),
        "pack": skipped if failing else packed,
        "deploy": TaskRun(name="deploy", state=after, reason="pack was skipped" if failing else "", attempts=deployed),
        "rollback": TaskRun(name="rollback", state=State.SKIPPED, reason="never chosen"),
        "sweep": TaskRun(name="sweep", state=State.COMPLETED, attempts=(attempt(number, 9, State.COMPLETED, 58, 1.2),)),
    }


UNIT_LOG = (
    ("sys", "workspace ready: 412 files at 4f2a9c1d7\n"),
    ("cmd", "python -m pytest -q\n"),
    ("out", "::group::collecting\n"),
    ("out", "collected 128 items\n"),
    ("out", "::endgroup::\n"),
    ("out", "\x1b[32m.................\x1b[0m\x1b[31mF\x1b[0m\x1b[32m.......\x1b[0m  [ 20%]\n"),
    ("out", "\n=================== FAILURES ===================\n"),
    ("out", "\x1b[1m\x1b[31m_______ test_trail_evaporates _______\x1b[0m\n"),
    ("out", "    def test_trail_evaporates():\n>       assert trail.strength(after=60) < 0.1\n"),
    ("out", "\x1b[31mE       assert 0.37 < 0.1\x1b[0m\n"),
    ("out", "::error file=tests/test_trail.py,line=41::trail does not evaporate\n"),
    ("out", "::warning::coverage fell to 88 %\n"),
    ("out", "1 failed, 127 passed in 15.21s\n"),
    ("sys", "exit code 1\n"),
)


async def populate(nest):
    """The nest that the screenshots and the browser tests look at."""
    honeydew = await nest.repository()
    aphid = await nest.repository("aphid-farm", state="ok")
    await nest.repository("queen-cell", state="empty", synced_commit="", synced_at=None)
    ci = await nest.definition(honeydew)
    nightly = await nest.definition(honeydew, "nightly")
    broken = "    on_complete: unit\n    ^"
    await nest.definition(
        honeydew,
        "release",
        state=SyncState.INVALID,
        problems=(f".formicary/release.yml:14:5: `on_complete` is not a key (did you mean `on_completed`?)\n{broken}",),
    )
    farm = await nest.definition(aphid)
    messages = ("Shorten the path to the sugar", "Let guards sleep in shifts", "Fix the door", "Count larvae twice")
    for index in range(64):
        nest.clock.now = START + index * 3600
        which = farm if index % 5 == 4 else nightly if index % 7 == 6 else ci
        bad = index % 11 == 5
        made = await nest.request(
            which,
            params={"GitCommitMessage": messages[index % 4]},
            ref="refs/heads/main" if index % 4 else "refs/heads/trail/évap",
        )
        spent = 40 + (index * 37) % 50
        await nest.run(
            made,
            JobDefinition(job_type=which.job_type, tasks=(TaskDefinition(task_type="test"),)),
            lambda n, bad=bad: {
                "test": TaskRun(
                    name="test",
                    state=State.FAILED if bad else State.COMPLETED,
                    attempts=(attempt(n, 1, State.FAILED if bad else State.COMPLETED),),
                )
            },
            State.FAILED if bad else State.COMPLETED,
            ended=nest.clock.now + spent,
        )
    nest.clock.now = START + 64 * 3600
    failing = await nest.request(
        ci,
        params={
            "GitCommitMessage": "Evaporate trails after a minute\n\nLonger trails misled the foragers.",
            "GitCommitAuthor": "Wilhelmina Formica",
            "Target": "all",
        },
    )
    run = await nest.run(
        failing,
        PIPELINE,
        lambda n: pipeline_tasks(n, failing=True),
        State.FAILED,
        began=START,
        ended=START + 59.5,
        error_code="ERR_EXIT_CODE",
    )
    for n in (1, 2, 4, 5, 6, 9):
        nest.log(f"{run.id}-{n}", *UNIT_LOG)
    await nest.store.write(
        lambda tx: tx.add_artifact(
            Artifact(
                repository_id=honeydew.id,
                request_id=failing.id,
                task_execution_id=f"{run.id}-1",
                task_type="build",
                name="dist.tar",
                kind="tar",
                size=48211,
                digest="d" * 64,
            )
        )
    )
    good = await nest.request(ci, params={"GitCommitMessage": "Make unit tests patient"})
    good_run = await nest.run(good, PIPELINE, pipeline_tasks, began=START, ended=START + 59.5)
    live = await nest.request(ci, params={"GitCommitMessage": "Dig a second entrance"})
    live_run = await nest.run(live, PIPELINE, _half_done, State.EXECUTING, began=START)
    nest.log(f"{live_run.id}-4", *UNIT_LOG[:5])
    await nest.request(ci, reason="ci runs 3 times already, and its max_concurrency is 3")
    return {
        "failing": failing,
        "failing_run": run,
        "good": good,
        "good_run": good_run,
        "live": live,
        "live_run": live_run,
    }


def _half_done(number):
    tasks = pipeline_tasks(number)
    waiting = {name: TaskRun(name=name) for name in ("pack", "deploy", "rollback", "sweep")}
    return (
        tasks
        | waiting
        | {
            "unit": TaskRun(
                name="unit", state=State.EXECUTING, chosen=True, attempts=(attempt(number, 4, State.EXECUTING, 12),)
            ),
            "browser": TaskRun(
                name="browser",
                state=State.READY,
                attempts=(Attempt(id=f"{number}-5", number=1, fence=5, ready_at=START + 12),),
            ),
        }
    )


@pytest.fixture
def nest(tmp_path):
    made = Nest(tmp_path)
    yield made
    made.store.close()


def chromium():
    """Where chromium is; without it a browser test is skipped, or fails where FORMICARY_REQUIRE names it."""
    for path in (os.environ.get("FORMICARY_CHROMIUM", ""), "/usr/bin/chromium", "/usr/bin/chromium-browser"):
        if path and Path(path).exists():
            return path
    if "chromium" in os.environ.get("FORMICARY_REQUIRE", ""):
        pytest.fail("FORMICARY_REQUIRE names chromium, but it is not installed")
    pytest.skip("chromium is not installed (apt install chromium), so nothing was looked at in a browser")


@pytest.fixture
def make_attempt():
    return attempt


@pytest.fixture
def populated():
    return populate


@pytest.fixture
def chromium_path():
    return chromium()
