"""Nothing outlives its task on the engine: whatever its script starts, whenever it is cancelled, however we end."""

import fcntl
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import closing

import anyio
import pytest

from formicary.executors.docker_ping import labelled
from formicary.executors.docker_reaping import Owner
from formicary.executors.docker_settings import DockerSettings
from formicary.executors.process_group import Hands
from formicary.executors.registry import Registry
from formicary.executors.shapes import poll_until
from formicary.runner.core.containing import Health, Service, Volume
from formicary.runner.core.errors import ERR_LOST

NASTY = {
    "background": "sleep 600 & sleep 600 &",
    "own session": "(setsid sh -c 'sleep 600 & sleep 600' &)",
    "ignores TERM": "trap '' TERM; (trap '' TERM; while :; do sleep 600; done) & :",
    "closed its output": "sleep 600 </dev/null >/dev/null 2>&1 &",
    "many children": "i=0; while [ $i -lt 100 ]; do (setsid sleep 600 &); sh -c : & i=$((i+1)); done",
}


@pytest.fixture(params=NASTY.values(), ids=NASTY)
def nasty(request):
    return request.param


async def test_when_the_script_ends(nasty, docker, contain, sink):
    """The after_script finds the container empty."""
    async with docker().open(contain()) as session:
        with anyio.fail_after(20):
            assert (await session.run([nasty], sink)).ok
            assert (await session.run(["ls -d /proc/[0-9]* | wc -l"], sink, name="after_script")).ok
    # The holder, the one that waits for the script, the script, ls and wc, or some of their forks.
    assert int(sink.output.split()[-1]) <= 6


async def test_when_it_is_cancelled(nasty, docker, contain, sink):
    """TERM, grace, KILL; then the after_script runs in the same container."""
    async with docker().open(contain()) as session:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(session.run, [f"{nasty}\necho kept >/kept; echo ready; sleep 600"], sink)
                await sink.said(b"ready")
                group.cancel_scope.cancel()
            outcome = await session.run(["cat /kept; ls -d /proc/[0-9]* | wc -l"], sink, name="after_script")
    assert outcome.ok and b"kept\n" in sink.output
    assert int(sink.output.split()[-1]) <= 6


async def test_a_cancelled_script_may_clean_up(docker, contain, sink):
    item = "trap 'sleep 0.05; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.01; done"
    async with docker(grace=5.0).open(contain()) as session, anyio.create_task_group() as group:
        group.start_soon(session.run, [item], sink)
        await sink.said(b"ready")
        group.cancel_scope.cancel()
    assert sink.output.endswith(b"cleaned\n")


async def test_its_own_command_may_clean_up_too(docker, contain, sink):
    command = ("sh", "-c", "trap 'echo cleaned; exit' TERM; echo ready; while :; do sleep 0.01; done")
    prepared = contain(container={"command": command})
    async with docker(grace=5.0).open(prepared) as session, anyio.create_task_group() as group:
        group.start_soon(session.run, [], sink)
        await sink.said(b"ready")
        group.cancel_scope.cancel()
    assert sink.output == b"ready\ncleaned\n"


@pytest.mark.parametrize(
    ("after", "mode"),
    [(0.0, "mount"), (0.03, "copy"), (0.1, "mount"), (0.2, "copy"), (0.35, "mount"), (0.5, "copy"), (0.7, "mount")],
)
async def test_cancelled_at_every_moment(after, mode, engine, docker, contain, sink):
    """The fixture `docker` looks what is left: containers, networks, volumes."""
    service = Service(name="web", image=engine.image, entrypoint=("sleep", "600"), health=Health(command=("true",)))
    data = Volume(kind="empty_dir", name="data", mount_path="/data")
    prepared = contain(services=(service,), volumes=(data,), fresh_shell=True)
    (prepared.workspace / "file").write_text("x" * 1000)
    with anyio.fail_after(30):
        async with docker(mode).open(prepared) as session:
            with anyio.move_on_after(after):
                await session.run(["sleep 600"], sink)


async def test_a_container_that_is_killed_from_outside_is_lost(engine, docker, contain, sink):
    """D12; its after_script has the same container again."""
    prepared = contain()
    async with docker().open(prepared) as session:
        outcomes = []

        async def run():
            outcomes.append(await session.run(["echo kept >/kept; echo ready; sleep 600"], sink))

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await sink.said(b"ready")
            [name] = engine.named(f"formicary.work={prepared.workspace.parent}")
            engine.client.kill(name)
        assert outcomes[0].error_code == ERR_LOST and "ended from outside (exit code 137)" in outcomes[0].error_message
        assert (await session.run(["cat /kept"], sink, name="after_script")).ok
    assert sink.output == b"ready\nkept\n"


@pytest.fixture
def killed(contain, engine, tmp_path):
    """Run a script in another process, which is killed -9 once the script says `ready`."""
    work = tmp_path / "dead-ant"
    work.mkdir()

    async def kill(script, **given):
        prepared = contain(**given)
        program = f"""
import anyio, fcntl, os, pickle, sys
from formicary.executors.docker import DockerExecutor
from formicary.executors.docker_settings import DockerSettings

class Sink:
    def cmd(self, text): pass
    def out(self, data): os.write(1, data)
    def sys(self, text): pass

async def main():
    fcntl.flock(os.open({str(work / ".lock")!r}, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
    prepared = pickle.load(sys.stdin.buffer)
    executor = DockerExecutor(None, 0.3, DockerSettings({engine.address!r}, work={str(work)!r}))
    async with executor.open(prepared) as session:
        print(await session.run([{script!r}], Sink()))

anyio.run(main)
"""

        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(pickle.dumps(prepared))
            process.stdin.close()
            assert await anyio.to_thread.run_sync(process.stdout.readline) == b"ready\n"
            os.kill(process.pid, signal.SIGKILL)
        return work

    return kill


async def test_when_its_ant_is_killed_the_task_ends_at_once(killed, engine):
    """D2, D7: so the next attempt runs alone, though nobody was there to end this one."""
    work = await killed("(setsid sleep 600 &); echo ready; sleep 600")

    async def ended():
        found = engine.client.containers(all=True, filters={"label": f"formicary.work={work}"})
        return True if [one["State"] for one in found] == ["exited"] else None

    with anyio.fail_after(10):
        await poll_until(ended, 0.05)
    await Registry(Hands(), docker=DockerSettings(engine.address, work="elsewhere")).look()
    assert engine.ours(f"formicary.work={work}") == []


async def test_the_next_ant_removes_everything_that_was_left(killed, engine):
    """Also services, networks and volumes; those of living ants stay."""
    service = Service(name="web", image=engine.image, entrypoint=("sleep", "600"), health=Health(command=("true",)))
    data = Volume(kind="empty_dir", name="data", mount_path="/data")
    work = await killed("echo ready; sleep 600", services=(service,), volumes=(data,))
    assert len(engine.ours(f"formicary.work={work}")) == 4
    assert await labelled(engine.address, f"formicary.work={work}")
    await Registry(Hands(), docker=DockerSettings(engine.address, work=str(work))).look()
    assert engine.ours(f"formicary.work={work}") == []


def test_what_a_living_ant_has_is_left_alone(tmp_path):

    owner = Owner("here", "/mine")
    assert owner.may_remove({"formicary.host": "here", "formicary.work": "/mine"})
    assert owner.may_remove({"formicary.host": "here", "formicary.work": str(tmp_path / "gone")})
    assert not owner.may_remove({"formicary.host": "there", "formicary.work": "/mine"})
    assert not owner.may_remove({"formicary.host": "here"})
    labels = {"formicary.host": "here", "formicary.work": str(tmp_path)}
    with open(tmp_path / ".lock", "w") as lock:
        assert owner.may_remove(labels)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not owner.may_remove(labels)


@pytest.fixture
def tidy(monkeypatch):
    """The library leaves sockets that could not be connected to the garbage collector, which warns."""
    from docker.transport.unixconn import UnixHTTPConnection

    connect = UnixHTTPConnection.connect

    def connected(self):
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.connect(self.unix_socket)
        connect(self)

    monkeypatch.setattr(UnixHTTPConnection, "connect", connected)


async def test_an_engine_that_goes_away_is_no_ones_failed_script(docker, contain, engine, cut, sink, tidy):
    """D12: the attempt is lost; what could not be removed then is removed once the engine is there again."""
    executor = docker(address=cut.address)
    outcomes = []

    async def run(session):
        outcomes.append(await session.run(["echo ready; sleep 600"], sink))

    async with executor.open(contain()) as session:
        async with anyio.create_task_group() as group:
            group.start_soon(run, session)
            await sink.said(b"ready")
            cut.cut()
    assert outcomes[0].error_code == ERR_LOST and "does not answer" in outcomes[0].error_message
    cut.mend()
    async with executor.open(contain()) as session:
        assert (await session.run(["true"], sink)).ok
