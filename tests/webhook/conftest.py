"""A door over a real store and a fake queen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from formicary.cli.masterkey import MasterKey
from formicary.reconciler.explain import Explained
from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.errors import Conflict, NotFound, RequestRefused
from formicary.runner.core.estimate import Estimate
from formicary.runner.core.execution import Attempt, Execution, Plan, TaskRun, Vote
from formicary.runner.core.policy import ApprovalPolicy
from formicary.runner.core.records import Definition, NewRequest, Repository, Role, Token, Version
from formicary.runner.core.states import TERMINAL, State
from formicary.runner.queen.arriving.registry import Registry
from formicary.runner.queen.board import Board
from formicary.runner.queen.changes import Changes
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.people.audit import nothing_else
from formicary.runner.queen.secrets import Secrets
from formicary.runner.store.sqlite import open_store
from formicary.webhook.app import build_app
from formicary.webhook.caller import digest_of, new_token
from formicary.webhook.parts import Door, Settings

BASE = "http://127.0.0.1:7777"


@dataclass(frozen=True)
class FakeAnt:
    ant_id: str = "ant-1"
    tags: frozenset = frozenset({"linux"})
    methods: frozenset = frozenset({"SHELL"})
    platform: str = "linux"
    hands: int = 4
    free: int = 3
    state: str = "JOINED"
    running: tuple = ("1-1",)
    without: dict = field(default_factory=lambda: {"DOCKER": "no container engine answers"})


class NoTriggers:
    def called(self, job_type, name, repository=""):
        return []


@dataclass
class FakeQueen:
    """Obeys the protocol on a real store; decides nothing."""

    store: object
    logs: Logs
    version_id: int = 1
    changes: Changes = field(default_factory=Changes)
    asks: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    illness: dict = field(default_factory=lambda: {"bus": "", "store": ""})
    refuse: Exception | None = None
    waits: Estimate = field(default_factory=lambda: Estimate(0.0))
    registry: Registry = field(init=False)
    triggered: object = field(default_factory=lambda: NoTriggers())

    def __post_init__(self):
        self.registry = Registry(
            self.store,
            Board(),
            lambda definitions: self.calls.append(("registered", *(one.job_type for one in definitions))),
            lambda: self.calls.append(("ring",)),
        )

    async def wait_time(self, request_id):
        return self.waits

    async def submit(self, ask):
        if self.refuse:
            raise self.refuse
        self.asks.append(ask)
        if ask.job_type == "unknown":
            raise RequestRefused("There is no job `unknown`.", field="job_type")
        repository = self.store.read().repository_named(ask.repository or "demo", ask.organization_id)
        new = NewRequest(
            version_id=self.version_id,
            repository_id=repository.id if repository else None,
            organization_id=ask.organization_id,
            job_type=ask.job_type,
            ref=ask.ref or "refs/heads/main",
            commit=ask.commit or "",
            params=ask.params,
            user_key=ask.user_key,
            created_by=ask.created_by,
        )
        return await self.store.write(lambda tx: tx.create_request(new))

    async def cancel(self, request_id, *, by, reason="", also=nothing_else):
        self.calls.append(("cancel", request_id, by, reason))
        if self.store.read().request(request_id).state in TERMINAL:
            raise Conflict("It has ended already.")
        await self.store.write(lambda tx: (also(tx), tx.end_request(request_id, State.CANCELLED, reason=reason)))
        return self.store.read().request(request_id)

    async def pause(self, request_id, *, by, reason="", also=nothing_else):
        self.calls.append(("pause", request_id, by, reason))
        return self.store.read().request(request_id)

    async def resume(self, request_id, *, by, also=nothing_else):
        self.calls.append(("resume", request_id, by))
        raise Conflict("It is not paused.")

    async def restart(self, request_id, *, by, hard=False, failed=False, also=nothing_else):
        self.calls.append(("restart", request_id, by, hard, failed))
        return self.store.read().request(request_id)

    async def vote(self, request_id, ballot):
        if self.refuse:
            raise self.refuse
        self.calls.append(("vote", request_id, ballot))
        return self.store.read().request(request_id)

    def why(self, request_id):
        return f"Request {request_id} waits for an ant."

    def ants(self):
        return [FakeAnt()]

    def health(self):
        return self.illness


@dataclass
class FakeReconciler:
    store: object
    woken: list = field(default_factory=list)

    async def add(self, repository, also=nothing_else):
        if not repository.path:
            repository = repository.model_copy(update={"path": f"/mirrors/{repository.name}.git"})
        return await self.store.write(lambda tx: (also(tx), tx.put_repository(repository))[1])

    def wake(self, repository_id):
        self.woken.append(repository_id)

    def looked_at(self, repository_id):
        return 1_800_000_000.0

    async def sync(self, repository_id):
        return self.store.read().repository(repository_id)

    async def explain(self, repository, ref, commit, before):
        if ref == "gone":
            raise NotFound(f"{repository.name} has no `gone`.")
        return [Explained("ci", ".formicary/ci.yml", "skipped", f"branch `{ref}` is not among `main`")]


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def store(data):
    store = open_store(data)
    yield store
    store.close()


@pytest.fixture
def queen(store, data):
    logs = Logs(data / "logs")
    yield FakeQueen(store, logs)
    logs.close_all()


@pytest.fixture
def door(store, queen, data) -> Door:
    return Door(
        store=store,
        queen=queen,
        reconciler=FakeReconciler(store),
        objects=DirectoryStore(data / "artifacts"),
        secrets=Secrets(store, MasterKey(data, {})),
        data=data,
        settings=Settings(url=BASE, host="127.0.0.1", port=7777),
    )


@pytest.fixture
def app(door):
    return build_app(door)


@pytest.fixture
async def client(app):
    """Nobody: without a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        yield client


@pytest.fixture
async def repository(store) -> Repository:
    return await store.write(lambda tx: tx.put_repository(Repository(id=0, name="demo", path="/src/demo")))


@pytest.fixture
async def other_repository(store, repository) -> Repository:
    return await store.write(lambda tx: tx.put_repository(Repository(id=0, name="other", path="/src/other")))


@pytest.fixture
async def definition(store, queen, repository) -> Definition:
    """`ci` of `demo`, synced, at version 1."""

    def register(tx):
        version = tx.put_version(
            Version(
                id=0,
                repository_id=repository.id,
                job_type="ci",
                version=0,
                digest="d1",
                path=".formicary/ci.yml",
                index=0,
                text="job_type: ci\nscript: make\n",
                commit="c1",
                created_at=time.time(),
            )
        )
        return tx.put_definition(
            Definition(
                id=0,
                repository_id=repository.id,
                job_type="ci",
                path=".formicary/ci.yml",
                version_id=version.id,
                version=version.version,
                commit="c1",
                updated_at=time.time(),
            )
        )

    made = await store.write(register)
    queen.version_id = made.version_id
    return made


@pytest.fixture
def make_token(store):
    async def make(role=Role.ADMIN, **fields) -> str:
        secret = new_token()
        token = Token(**{"name": "test", "digest": digest_of(secret), "role": role, "created_at": time.time()} | fields)
        await store.write(lambda tx: tx.add_token(token))
        return secret

    return make


@pytest.fixture
def as_(make_token, client):
    """Headers of a new token: `await as_(Role.VIEWER)`."""

    async def headers(role=Role.ADMIN, **fields) -> dict[str, str]:
        return {"Authorization": f"Bearer {await make_token(role, **fields)}"}

    return headers


@pytest.fixture
async def admin(as_) -> dict[str, str]:
    return await as_(Role.ADMIN)


@pytest.fixture
def make_request(store, definition):
    async def make(**fields):
        new = NewRequest(
            **{"version_id": definition.version_id, "repository_id": definition.repository_id, "job_type": "ci"}
            | fields
        )
        return (await store.write(lambda tx: tx.create_request(new)))[0]

    return make


@pytest.fixture
def make_execution(store):
    """An execution of one task `build` with one attempt; `state` is the attempt's, the task's and the job's."""

    async def make(request, state=State.EXECUTING, error_code=""):
        job = JobDefinition(
            job_type="ci", tasks=(TaskDefinition(task_type="build"), TaskDefinition(task_type="test", needs=("build",)))
        )

        def execution(execution_id):
            ended = time.time() if state in TERMINAL else None
            attempt = Attempt(
                id=f"{execution_id}-1", number=1, fence=1, state=state, ended_at=ended, error_code=error_code
            )
            return Execution(
                id=execution_id,
                request_id=request.id,
                state=state,
                created_at=time.time(),
                started_at=time.time(),
                ended_at=ended,
                tasks={"build": TaskRun(name="build", state=state, attempts=(attempt,))},
            )

        return await store.write(lambda tx: tx.create_execution(request.id, execution, Plan(definition=job)))

    return make


@pytest.fixture
def ask_people(store, queen, definition):
    """A request whose task `ok` waits for people, or has waited (`state`)."""

    async def make(state=State.MANUAL_APPROVAL_REQUIRED, **policy):
        policy = ApprovalPolicy(**{"allowed_users": ("ada",), "timeout": 60.0, "sla_deadline": 30.0} | policy)
        task = TaskDefinition(task_type="ok", method="MANUAL", description="Look first.", approval_policy=policy)
        plan = Plan(definition=JobDefinition(job_type="ci", tasks=(task,)))
        vote = Vote(by="bob", approved=True, at=1005.0, comment="fine")

        def execution(request_id, execution_id):
            attempt = Attempt(id=f"{execution_id}-1", number=1, fence=1, state=state, ready_at=1000.0, votes=(vote,))
            run = TaskRun(name="ok", state=state, attempts=(attempt,))
            fields = {"id": execution_id, "request_id": request_id, "created_at": 1.0, "next_number": 2}
            return Execution(state=state, tasks={"ok": run}, **fields)

        def change(tx):
            new = NewRequest(version_id=queen.version_id, job_type="ci", commit="c" * 40)
            request, _ = tx.create_request(new)
            tx.create_execution(request.id, partial(execution, request.id), plan)
            return request

        return await store.write(change)

    return make


@pytest.fixture
async def asked(ask_people):
    """A request whose task `ok` waits for Ada."""
    return await ask_people()
