"""What the shell executor does with a script, its output, its user and its limits."""

import os
import shutil
import tempfile
from pathlib import Path

import anyio
import pytest

from formicary.executors.contract import Limits
from formicary.executors.process_group import IN_MEMORY
from formicary.runner.core.errors import ERR_DEFINITION, ERR_EXIT_CODE, ERR_LOST

USER = 54321


async def test_the_environment_is_what_was_given_and_nothing_else(run, sink, prepare, monkeypatch):
    """T7: nothing of the ant's environment reaches a task."""
    monkeypatch.setenv("ANT_SECRET", "x")
    outcome = await run("exec env", environment={"A": "1 2\n3", "EMPTY": "", "LONG": "y" * 90_000})
    seen = set(sink.output.decode().split("\n")) - {"PWD=" + str(prepare().workspace)}
    wanted = {**prepare().environment, "A": "1 2\n3", "EMPTY": "", "LONG": "y" * 90_000}
    assert outcome.ok
    assert seen == set("\n".join(f"{name}={value}" for name, value in wanted.items()).split("\n")) | {""}


async def test_output_is_the_same_to_the_last_byte(run, sink, tmp_path):
    data = os.urandom(4 << 20)
    (tmp_path / "data").write_bytes(data)
    outcome = await run("true", f"cat {tmp_path}/data", "true")
    assert outcome.ok
    assert sink.output == data


async def test_commands_and_output_are_in_true_order(run, sink):
    items = [
        "printf 1",
        "echo 2 >&2",
        "printf ''",
        "exec 9>/dev/null",
        "echo 3; exec >/dev/null",
        "echo no",
        "echo 4 >&2",
    ]
    assert (await run(*items)).ok
    assert sink.merged() == [
        ("cmd", items[0]),
        ("out", b"1"),
        ("cmd", items[1]),
        ("out", b"2\n"),
        *[("cmd", item) for item in items[2:5]],
        ("out", b"3\n"),
        ("cmd", items[5]),
        ("cmd", items[6]),
        ("out", b"4\n"),
    ]


async def test_a_script_item_of_256_kib_runs(run, sink):
    outcome = await run("echo first", "printf %s '" + "it'\\''s " * 36_000 + "' | wc -c")
    assert outcome.ok
    assert int(sink.output.split()[-1]) == 36_000 * 5


async def test_the_working_dir_is_below_the_workspace(run, sink, prepare):
    (prepare().workspace / "sub").mkdir()
    assert (await run("pwd", working_dir="sub")).ok
    assert sink.output.decode().strip() == str(prepare().workspace / "sub")


@pytest.mark.parametrize(("working_dir", "said"), [("nowhere", "nowhere"), ("../..", "leads out of the workspace")])
async def test_a_bad_working_dir_is_explained(run, sink, working_dir, said):
    outcome = await run("pwd", working_dir=working_dir)
    assert (outcome.exit_code, outcome.error_code) == (None, ERR_DEFINITION)
    assert said in outcome.error_message
    assert sink.records == []


@pytest.mark.parametrize(("argv", "code"), [(("no-such-shell",), 127), (("/etc/passwd",), 126)])
async def test_a_bad_shell_is_explained(run, argv, code):
    outcome = await run("true", shell=argv)
    assert (outcome.exit_code, outcome.error_code) == (code, ERR_EXIT_CODE)
    assert argv[0] in outcome.error_message


async def test_too_large_an_environment_is_explained(run):
    """More than the hand's socket takes at once, and than a process may get."""
    outcome = await run("true", environment={"LARGE": "x" * 1_000_000})
    assert (outcome.exit_code, outcome.error_code) == (None, ERR_DEFINITION)
    assert "environment is too large" in outcome.error_message


async def test_a_nul_character_is_explained(run):
    outcome = await run("echo a\0b")
    assert outcome.error_code == ERR_DEFINITION
    assert "NUL" in outcome.error_message


@pytest.mark.parametrize(
    ("item", "code", "said"),
    [
        ("kill -KILL $$", 137, "SIGKILL (maybe it ran out of memory)"),
        ("sh -c 'kill -KILL $$'; exit $?", 137, "SIGKILL (maybe it ran out of memory)"),
        ("kill -TERM $$", 143, "SIGTERM"),
        ("exit 255", 255, "exit code 255."),
    ],
)
async def test_signals_are_named(run, item, code, said):
    outcome = await run(item)
    assert outcome.exit_code == code
    assert said in outcome.error_message


async def test_cpu_time_is_limited(run):
    outcome = await run("while :; do :; done", limits=Limits(cpu_seconds=1))
    assert outcome.exit_code == 152
    assert "CPU time" in outcome.error_message


async def test_file_size_is_limited(run):
    outcome = await run("head -c 200000 /dev/zero >file", limits=Limits(file_size_bytes=100_000))
    assert outcome.exit_code == 153
    assert "larger than its limit" in outcome.error_message


async def test_memory_is_limited(run, sink):
    assert (await run("ulimit -v", limits=Limits(memory_bytes=1 << 30))).ok
    assert sink.output == b"1048576\n"


async def test_only_standard_streams_the_mark_and_the_script_are_open(run, sink):
    await run("true", "exec ls -l /proc/self/fd")
    lines = [line.split(" -> ") for line in sink.output.decode().splitlines() if " -> " in line]
    opened = {int(left.split()[-1]): target for left, target in lines if "/proc/" not in target}
    assert opened.keys() == ({0, 1, 2, 62, 63} if IN_MEMORY else {0, 1, 2, 63})
    assert opened[0] == os.devnull
    assert opened[1] == opened[2] == opened[63]


async def test_standard_input_is_empty(run, sink):
    assert (await run("cat; echo end")).ok
    assert sink.output == b"end\n"


async def test_signals_have_their_defaults(run, sink):
    """A broken pipe ends a command; what we ignore is not ignored by the task."""
    await run("grep -E 'Sig(Ign|Blk)' /proc/self/status")
    libc = 0b11 << 31  # signals 32 and 33 are the C library's own; a shell started by make ignores them
    assert all(int(word, 16) & ~libc == 0 for word in sink.output.split()[1::2])


async def test_other_shells_get_all_items_in_one_text(run, sink):
    outcome = await run("import sys", "if True:", "    print(sys.argv[0][-15:-9])", shell=(shutil.which("python3"),))
    assert outcome.ok
    assert sink.merged()[:3] == [("cmd", "import sys"), ("cmd", "if True:"), ("cmd", "    print(sys.argv[0][-15:-9])")]
    assert sink.output == b"script\n"


async def test_a_script_cannot_stand_in_the_way_of_its_after_script(shell, prepare, sink, tmp_path):
    """Nor make us write it elsewhere, by a link."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    prepared = prepare()
    async with shell.open(prepared) as session:
        await session.run([f"ln -s {victim} {prepared.run_dir}/after_script"], sink)
        assert (await session.run(["true"], sink, name="after_script")).ok
    assert victim.read_text() == "mine"


async def test_a_script_that_removes_its_run_dir_is_told_so(shell, prepare, sink):
    prepared = prepare(shell=("python3",))
    async with shell.open(prepared) as session:
        assert (await session.run([f"import shutil; shutil.rmtree('{prepared.run_dir}')"], sink)).ok
        outcome = await session.run(["pass"], sink, name="after_script")
    assert outcome.error_code == ERR_LOST
    assert "could not be written" in outcome.error_message


async def test_the_loop_turns_while_a_script_writes_all_it_can(shell, prepare, sink):
    async with shell.open(prepare()) as session:
        with anyio.fail_after(10), anyio.move_on_after(0.2) as scope:
            await session.run(["yes"], sink)
    assert scope.cancelled_caught


@pytest.fixture
def open_folder():
    """A folder that another user can reach, which pytest's are not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a task as another user")
async def test_a_task_is_another_user_with_nothing_of_ours(run, sink, open_folder):
    """T19: its own uid and gid, no supplementary groups, no way to what is ours; its own streams can be reopened."""
    secret = open_folder / "secret"
    secret.write_text("ours")
    secret.chmod(0o600)
    items = ["id -u; id -g; id -G", "echo err >/dev/stderr", "touch made", f"! cat {secret} 2>/dev/null"]
    outcome = await run(*items, uid=USER, gid=USER, base=open_folder)
    assert outcome.ok, sink.output
    assert sink.output.decode().split() == [str(USER)] * 3 + ["err"]
    assert sink.commands == items
    assert (open_folder / "workspace" / "made").stat().st_uid == USER


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a task as another user")
async def test_another_users_stray_is_ended(run, sink, family, open_folder):
    outcome = await run("(setsid sleep 600 &)", uid=USER, gid=USER, base=open_folder)
    assert outcome.ok
    assert family.members() == []


@pytest.mark.skipif(not IN_MEMORY, reason="this system has no files in memory")
async def test_a_script_is_on_no_disk(run, sink, prepare):
    """T8: its text may hold secrets."""
    outcome = await run('echo s3cret-word; ls -A "$RUN_DIR"', "true", environment={"RUN_DIR": str(prepare().run_dir)})
    assert outcome.ok
    assert sink.output == b"s3cret-word\n"
