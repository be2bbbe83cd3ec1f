"""Nothing outlives its task: whatever a script starts, and however it, its hand or we end."""

import os
import signal
import subprocess
import sys

import anyio
import pytest

from formicary.executors import leftovers
from formicary.executors.process_group import Hands
from formicary.runner.core.errors import ERR_LOST

STRAY = "(setsid sh -c 'sleep 600 & sleep 600' &)"
NASTY = {
    "background": "sleep 600 & sleep 600 &",
    "own session, orphaned": f"{STRAY}; {STRAY}",
    "ignores TERM": "trap '' TERM; (trap '' TERM; while :; do sleep 600; done) & :",
    "own session, ignores TERM": "(setsid sh -c \"trap '' TERM; while :; do sleep 600; done\" &)",
    "closed its output": "sleep 600 </dev/null >/dev/null 2>&1 &",
    "storm of children": (
        "i=0; while [ $i -lt 200 ]; do sleep 0.0$i & (setsid sleep 600 &) ; sh -c : & i=$((i+1)); done"
    ),
}


@pytest.fixture(params=NASTY.values(), ids=NASTY)
def nasty(request):
    return request.param


async def test_when_the_script_ends(nasty, run, family):
    with anyio.fail_after(20):
        outcome = await run("echo 1", nasty)
    assert outcome.exit_code == 0
    assert family.members() == []


async def test_when_the_scope_is_cancelled(nasty, shell, prepare, sink, family):
    with anyio.fail_after(20):
        async with shell.open(prepare()) as session, anyio.create_task_group() as group:
            group.start_soon(session.run, ["echo 1", f"{nasty}\necho ready\nsleep 600"], sink)
            await sink.said(b"ready")
            group.cancel_scope.cancel()
    assert family.members() == []


async def test_when_we_are_killed(nasty, prepare, family):
    """D2, D7: a killed ant's tasks are gone, so that the next attempt runs alone."""
    prepared = prepare()
    program = f"""
import anyio, os
from pathlib import Path
from formicary.executors.contract import Prepared
from formicary.executors import leftovers
from formicary.executors.process_group import Hands
from formicary.executors.shell import ShellExecutor
from formicary.runner.core.definition import TaskDefinition

class Sink:
    def cmd(self, text): pass
    def out(self, data): os.write(1, data)
    def sys(self, text): pass

async def main():
    folder = Path({str(prepared.workspace)!r})
    prepared = Prepared("1", TaskDefinition(task_type="t"), {dict(prepared.environment)!r}, folder, folder)
    async with Hands(1) as hands, ShellExecutor(hands).open(prepared) as session:
        await session.run([{nasty + chr(10) + "echo ready; sleep 600"!r}], Sink())

anyio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert await anyio.to_thread.run_sync(process.stdout.read, 5) == b"ready"
        assert family.members()
        process.kill()
    await family.gone()


async def test_a_cancelled_script_may_clean_up(shell, prepare, sink):
    """The others get their grace although the shell died of TERM at once, and what they say is in the log."""
    item = "sh -c 'trap \"sleep 0.05; echo cleaned; exit\" TERM; echo ready; while :; do sleep 0.01; done'\n:"
    async with shell.open(prepare()) as session, anyio.create_task_group() as group:
        group.start_soon(session.run, [item], sink)
        await sink.said(b"ready")
        group.cancel_scope.cancel()
    assert sink.output.endswith(b"cleaned\n")


async def test_a_stranger_who_holds_the_pipe_does_not_hold_us(run, tmp_path, monkeypatch):
    """A process outside the tree, to whom the script's output was given, is left alone and not waited for."""
    monkeypatch.setattr("formicary.executors.shell.DRAIN_BOUND", 0.05)
    kept = []
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)

    async def steal():
        pid = int((await anyio.Path(fifo).read_text()).strip())
        kept.append(os.open(f"/proc/{pid}/fd/1", os.O_WRONLY))
        await anyio.Path(fifo).write_text("go\n")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(steal)
            outcome = await run(f"echo $$ >{fifo}; read go <{fifo}; echo done")
    os.close(kept[0])
    assert outcome.ok


@pytest.mark.parametrize("first", ["sleep 600 >/dev/null 2>&1 &", STRAY], ids=["same session", "holds the output"])
async def test_a_killed_hand_is_lost_and_replaced(first, shell, prepare, sink, family):
    """D12: the task is lost and not failed; its tree is gone; the next script has a new hand."""
    async with shell.open(prepare()) as session:
        with anyio.fail_after(10):
            outcome = await session.run([first, "kill -9 $PPID; sleep 600"], sink)
        assert (outcome.exit_code, outcome.error_code) == (None, ERR_LOST)
        await family.gone()
        assert (await session.run(["true"], sink, name="after_script")).ok
    async with shell.open(prepare()) as session:
        assert (await session.run(["true"], sink)).ok


def test_a_tree_of_unknown_session_is_found_by_its_output():
    """A hand may be killed before it could tell the process id."""
    reading, writing = os.pipe()
    with subprocess.Popen(["sleep", "600"], stdout=writing, start_new_session=True) as process:
        leftovers.kill(0, leftovers.name_of(writing))
        assert process.wait() == -signal.SIGKILL
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


async def test_an_idle_hand_that_died_is_replaced():
    async with Hands(1) as hands:
        async with hands.lend() as first:
            pass
        os.kill(first.pid, signal.SIGKILL)
        first._process.wait()
        async with hands.lend() as second:
            assert second.still_there()
        assert second is not first


async def test_hands_are_lent_again_and_ended_at_last():
    async with Hands(2) as hands:
        async with hands.lend() as first, hands.lend() as second, hands.lend() as third:
            assert len({first.pid, second.pid, third.pid}) == 3
        async with hands.lend() as again:
            assert again.pid in {first.pid, second.pid}
    for hand in (first, second, third):
        assert hand._process.returncode == 0


async def test_a_hand_that_comes_back_after_closing_is_ended():
    hands = Hands(1)
    async with hands.lend() as hand:
        await hands.aclose()
    assert hand._process.returncode == 0
