"""Real hands, a sink that remembers, and a count of the processes that a task left."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from formicary.executors.contract import Limits, Prepared
from formicary.executors.docker import DockerExecutor
from formicary.executors.docker_settings import DockerSettings
from formicary.executors.process_group import Hands
from formicary.executors.shapes import poll_until
from formicary.executors.shell import ShellExecutor
from formicary.runner.core.containing import Container
from formicary.runner.core.definition import TaskDefinition

GRACE = 0.3


class Remembering:
    """A sink whose test can wait until some text was written."""

    def __init__(self):
        self.records = []
        self.changed = anyio.Event()

    def _add(self, kind, what):
        self.records.append((kind, what))
        self.changed.set()
        self.changed = anyio.Event()

    def cmd(self, text):
        self._add("cmd", text)

    def out(self, data):
        self._add("out", bytes(data))

    def sys(self, text):
        self._add("sys", text)

    @property
    def output(self):
        return b"".join(what for kind, what in self.records if kind == "out")

    @property
    def commands(self):
        return [what for kind, what in self.records if kind == "cmd"]

    def merged(self):
        """The records, with outputs that follow each other joined."""
        found = []
        for kind, what in self.records:
            if kind == "out" and found and found[-1][0] == "out":
                found[-1] = ("out", found[-1][1] + what)
            else:
                found.append((kind, what))
        return found

    async def said(self, text):
        while text not in self.output:
            await self.changed.wait()


class Family:
    """The processes whose environment holds this test's token: a task's, wherever they have moved to."""

    def __init__(self):
        self.token = uuid4().hex

    def members(self):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.token.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    async def gone(self):
        """Wait until nobody is left."""

        async def check():
            return None if self.members() else True

        with anyio.fail_after(10):
            await poll_until(check, 0.01)


@pytest.fixture
def sink():
    return Remembering()


@pytest.fixture
def family():
    return Family()


@pytest.fixture
async def hands():
    async with Hands(1) as hands:
        yield hands


@pytest.fixture
def shell(hands):
    return ShellExecutor(hands, GRACE)


@pytest.fixture
def prepare(tmp_path, family):
    """Make a Prepared: keywords of the task definition, and `environment`, `limits`, `uid`, `gid`."""

    def make(*, environment=None, limits=None, uid=None, gid=None, base=tmp_path, allow_networks=(), **task):
        workspace, run_dir = base / "workspace", base / "run"
        for folder in (workspace, run_dir):
            folder.mkdir(exist_ok=True)
            if uid is not None:
                os.chown(folder, uid, gid)
        given = {"PATH": os.defpath, "TOKEN": family.token, "FORMICARY_OUTPUT": str(run_dir / "output")}
        return Prepared(
            task_execution_id="1",
            task=TaskDefinition(task_type="t", **task),
            environment={**given, **(environment or {})},
            workspace=workspace,
            run_dir=run_dir,
            uid=uid,
            gid=gid,
            limits=limits or Limits(),
            allow_networks=allow_networks,
        )

    return make


@pytest.fixture
def docker(engine, tmp_path):
    """The DOCKER executor on the real engine; `docker.workspace` says how the workspace gets into a container. It
    leaves nothing there."""
    made = []
    lock = os.open(tmp_path / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as an ant holds it: others that start meanwhile leave its containers alone

    def make(workspace="auto", grace=GRACE, **settings):
        settings = {"address": engine.address, "work": str(tmp_path), **settings}
        made.append(DockerExecutor(None, grace, DockerSettings(workspace=workspace, **settings)))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()
    os.close(lock)
    assert engine.ours(f"formicary.work={tmp_path}") == []


@pytest.fixture
def contain(engine, prepare):
    """Make a Prepared whose task runs in a container of the small image; more keys of `container` by `container`."""

    def make(*, image=None, container=None, **given):
        box = Container(image=image or engine.image, **(container or {}))
        return prepare(method="DOCKER", container=box, **given)

    return make


@pytest.fixture
def boxed(docker, contain, sink):
    """Run items in a container of their own."""

    async def run_items(*items, workspace="auto", check=True, **given):
        async with docker(workspace).open(contain(**given)) as session:
            return await session.run(items, sink, check=check)

    return run_items


@pytest.fixture
def run(shell, prepare, sink):
    """Run items in a session of their own."""

    async def run_items(*items, check=True, **prepared):
        async with shell.open(prepare(**prepared)) as session:
            return await session.run(items, sink, check=check)

    return run_items


PROXY = """
import socket, sys, threading

def copy(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

if sys.argv[1] == "tcp":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(50)
    print("ready", flush=True)
while True:
    theirs, ours = listener.accept()[0], socket.socket(socket.AF_UNIX)
    ours.connect(sys.argv[2])
    for ends in ((theirs, ours), (ours, theirs)):
        threading.Thread(target=copy, args=ends, daemon=True).start()
"""


class Cut:
    """The engine behind a socket of the test's own, which can be taken away from it."""

    def __init__(self, path, engine):
        self._path, self._engine = path, engine.removeprefix("unix://")
        self.address = f"unix://{path}"

    def mend(self):
        words = [sys.executable, "-c", PROXY, str(self._path), self._engine]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"

    def cut(self):
        with self._process as process:
            process.kill()
        self._path.unlink()


@pytest.fixture
def cut(engine, tmp_path):
    if not engine.address.startswith("unix:"):
        pytest.skip("needs an engine at a socket of this machine")
    made = Cut(tmp_path / "e.sock", engine.address)
    made.mend()
    yield made
    made.cut()


@pytest.fixture
def far(engine):
    """The address of the engine as one of another machine."""
    if not engine.address.startswith("unix:"):
        pytest.skip("needs an engine at a socket of this machine")
    words = [sys.executable, "-c", PROXY, "tcp", engine.address.removeprefix("unix://")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        yield f"tcp://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()
