"""Real shells: what a task sees, what is seen of it, and what is left of it."""

import os
import subprocess
from pathlib import Path

import pytest

from formicary.ant.uids import default_range
from formicary.runner.core.errors import ERR_CANCELLED, ERR_EXIT_CODE, ERR_TIMEOUT
from formicary.runner.core.language.limits import SECRET_CLOSE, SECRET_OPEN

MODES = [None, default_range()] if default_range() else [None]


@pytest.fixture(params=MODES, ids=lambda mode: "own-uid" if mode else "ants-user")
def uid_range(request):
    return request.param


def token(name):
    return f"{SECRET_OPEN}{name}{SECRET_CLOSE}"


async def test_nothing_of_the_queens_is_in_the_environment(colony, an_order, monkeypatch, uid_range):
    monkeypatch.setenv("CANARY_OF_THE_QUEEN", "sings")
    order = an_order(
        "SHELL",
        script=("env -0 | sort -z | tr '\\0' '\\n'",),
        environment={"GitBranch": "main", "LONG": "no", "X": "1"},
        order={"files": {"LONG": "value\n"}},
    )
    report = await colony.do(order, uid_range=uid_range)
    assert report.result.exit_code == 0
    raw = colony.desk.raw(order.task_execution_id).decode()
    seen = dict(line.split("=", 1) for line in raw.splitlines())
    assert "sings" not in raw
    root = colony.work / "1"
    expected = {
        "HOME": f"{root}/home",
        "TMPDIR": f"{root}/tmp",
        "PWD": f"{root}/workspace",
        "FORMICARY_WORKSPACE": f"{root}/workspace",
        "FORMICARY_OUTPUT": f"{root}/run/output",
        "FORMICARY_TASK_EXECUTION_ID": order.task_execution_id,
        "LONG": f"{root}/run/env_LONG",
        "GitBranch": "main",
        "X": "1",
        "FORMICARY": "true",
        "CI": "true",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
    }
    assert expected.items() <= seen.items()
    allowed = {*expected, "PATH", "USER", "LOGNAME", "SHELL", "_", "OLDPWD", "SHLVL"}
    assert set(seen) <= allowed
    assert seen["PATH"].startswith("/usr/local/sbin:")


async def test_files_outputs_and_one_shell(colony, an_order, uid_range):
    order = an_order(
        "SHELL",
        before_script=("cd /; export A=1",),
        script=(
            'test "$PWD$A" = /1',
            'cat "$LONG"; echo "v=$(id -u)" >> "$FORMICARY_OUTPUT"',
            "echo ::set-output name=w::2",
        ),
        after_script=('test -z "$A" && echo after',),
        order={"files": {"LONG": "x" * 200_000}},
    )
    report = await colony.do(order, uid_range=uid_range)
    assert report.result.exit_code == 0, colony.desk.logs
    uid = int(report.result.outputs["v"])
    assert (uid_range[0] <= uid <= uid_range[1]) if uid_range else uid == os.getuid()
    assert report.result.outputs["w"] == "2"
    assert colony.desk.raw(order.task_execution_id) == b"x" * 200_000 + b"::set-output name=w::2\nafter\n"
    assert {"user_seconds", "wall_seconds"} <= report.result.usage.keys()


async def test_masking_from_end_to_end(colony, an_order, uid_range):
    """T8: log, command shown, outputs, warnings, error message; secrets in definition, environment, and said later."""
    order = an_order(
        "SHELL",
        script=(
            f"echo {token('Pass')} $P",
            'printf "$P" | base64; printf hun; printf ter2-secret',
            'V=later-$(echo secret); echo "::add-mask::$V"; echo $V',
            'echo "::warning::$P"; echo "o=$P" >> "$FORMICARY_OUTPUT"',
            "exit 4",
        ),
        environment={"P": token("Pass"), "S": token("Tiny")},
        order={"secrets": {"Pass": "hunter2-secret", "Tiny": "abc"}},
    )
    report = await colony.do(order, uid_range=uid_range)
    log = bytes(colony.desk.logs[order.task_execution_id])
    assert report.result.exit_code == 4 and report.result.error_code == ERR_EXIT_CODE
    assert b"echo *** $P" in log and b"*** ***\n" in log
    for secret in (b"hunter2-secret", b"aHVudGVyMi1zZWNyZX", b"later-secret"):
        assert secret not in log and secret.decode() not in report.model_dump_json()
    assert report.result.outputs == {"o": "***"} and report.result.warnings == ("warning: ***",)
    assert "Tiny is shorter than 4" in colony.desk.sys(order.task_execution_id)


async def test_the_raw_log_is_what_the_commands_wrote(colony, an_order):
    """D13: equal to the last byte, through a queue of chunks."""
    program = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf '\\377\\0end'"
    order = an_order("SHELL", script=(program,))
    await colony.do(order)
    expected = subprocess.run(["sh", "-c", program], capture_output=True, check=True).stdout
    assert colony.desk.raw(order.task_execution_id) == expected


async def test_a_log_that_is_too_long_is_cut_and_says_so(colony, an_order):
    order = an_order("SHELL", script=("head -c 100000 /dev/zero", "echo ::set-output name=still::read"))
    report = await colony.do(order, max_log_bytes=1000)
    assert colony.desk.raw(order.task_execution_id) == bytes(1000)
    assert "longer than 1000 bytes" in colony.desk.sys(order.task_execution_id)
    assert report.result.outputs == {"still": "read"}


def processes():
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                found[path.name] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                pass
    return found


@pytest.mark.parametrize("how", ["timeout", "cancel", "ends"])
async def test_nothing_of_a_task_is_left(colony, an_order, how, uid_range):
    """`ps` before and after: whatever it started, however it ended."""
    mark = f"987{os.getpid()}"
    daemon = f"(setsid sleep {mark} &) ; (trap '' TERM; sleep {mark}) & "
    script = daemon + ("echo started" if how == "ends" else f"sleep {mark}")
    order = an_order("SHELL", script=(script,), timeout=0.3 if how == "timeout" else 60)
    async with colony.bus.serve(colony.desk), colony.running(grace=0.2, uid_range=uid_range):
        name = colony.desk.give(order)
        if how == "cancel":
            await colony.desk.executing(name)
            await colony.desk.until(lambda: name in colony.desk.logs)
            colony.bus.stop("ant", name)
        report = await colony.desk.finished(name)
    expected = {"timeout": ERR_TIMEOUT, "cancel": ERR_CANCELLED, "ends": ""}[how]
    assert report.result.error_code == expected
    assert [line for line in processes().values() if mark in line] == []
    assert [path.name for path in colony.work.iterdir()] == [".lock"]


async def test_a_mess_is_removed_and_leftovers_too(colony, an_order, uid_range):
    """Folders without permissions, links out of the workspace, deep trees: gone, and what they point at is not."""
    precious = colony.folder / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (colony.work / "1-0" / "workspace").mkdir(parents=True)
    (colony.work / "1-0" / "workspace" / "old").write_text("left by a dead ant")
    deep = "(i=0; while [ $i -lt 1500 ]; do mkdir d; cd d; i=$((i+1)); done)"
    script = f"mkdir -p a/b/c; touch a/b/c/f; ln -s {precious} link; mkfifo pipe; chmod 0 a/b; {deep}; chmod 0500 a"
    script += "; chmod 0 ../home"
    again = {"task_execution_id": "1-0"}
    report = await colony.do(an_order("SHELL", script=("test ! -e old", script), order=again), uid_range=uid_range)
    assert report.result.exit_code == 0
    assert [path.name for path in colony.work.iterdir()] == [".lock"]
    assert (precious / "file").read_text() == "kept"


async def test_a_place_used_again_is_as_new(colony, an_order, uid_range):
    """T19: what one task does to its folders is not there for the next."""
    async with colony.bus.serve(colony.desk), colony.running(uid_range=uid_range):
        for script in ('chmod 0777 . "$HOME" "$TMPDIR"', 'touch "$HOME/.profile"', "true"):
            look = 'stat -c "%a %u" . "$HOME" "$TMPDIR"; ls -A . "$HOME" "$TMPDIR" | grep -v : | grep . || id -u'
            order = an_order("SHELL", script=(look, script))
            report = await colony.desk.finished(colony.desk.give(order))
            assert report.result.exit_code == 0
            *lines, uid = colony.desk.raw(order.task_execution_id).decode().split("\n")[:-1]
            assert lines == [f"700 {uid}"] * 3


async def test_a_task_may_change_its_own_path(colony, an_order):
    order = an_order("SHELL", shell=("/bin/sh",), script=("/bin/echo $PATH",), environment={"PATH": "/its/own"})
    await colony.do(order)
    assert colony.desk.raw(order.task_execution_id) == b"/its/own\n"
