"""The rule of the go dialect: a fresh shell for each line, and `env NAME=value` holds for the lines after it."""

import shutil

import pytest

NAMES = (("sh",), ("dash",), ("bash",), ("zsh",), ("ksh",), ("mksh",), ("busybox", "sh"))
SHELLS = {name: (place, *rest) for name, *rest in NAMES if (place := shutil.which(name))}


@pytest.fixture(params=SHELLS.values(), ids=SHELLS)
def run_in(request, run):
    async def run_items(*items, **more):
        return await run(*items, shell=request.param, fresh_shell=True, **more)

    return run_items


async def test_neither_cd_nor_export_carries_over(run_in, sink, tmp_path):
    assert (await run_in("cd /; export A=1; B=2; set -f", 'echo "$(pwd) $A $B"')).ok
    assert sink.output == f"{tmp_path / 'workspace'}  \n".encode()
    assert sink.commands == ["cd /; export A=1; B=2; set -f", 'echo "$(pwd) $A $B"']


async def test_a_whole_line_env_holds_for_the_lines_after_it(run_in, sink):
    lines = ("echo before $X", "env X=y", "env Y='a b'", ' env Z="$HOME" ', 'echo "$X|$Y|$Z"')
    assert (await run_in(*lines)).ok
    assert sink.output == b"before\ny|a b|$HOME\n"
    assert sink.commands == list(lines)


@pytest.mark.parametrize("line", ["env X=y true", "env X=y; true", "env X=y\ntrue", "env -u X true"])
async def test_what_is_more_than_that_is_a_command(run_in, sink, line):
    assert (await run_in(line, 'echo "[$X]"')).ok
    assert sink.output.endswith(b"[]\n")


@pytest.mark.parametrize(("item", "code"), [("false", 1), ("exit 4", 4), ("no-such-command", 127), ("kill -9 $$", 137)])
async def test_a_failing_line_ends_the_script(run_in, sink, item, code):
    outcome = await run_in("true", item, "echo never")
    assert outcome.exit_code == code
    assert sink.commands == ["true", item]


async def test_only_the_status_of_a_line_decides(run_in, sink):
    """As `sh -c` without `-e`: the original's lines of several commands go on."""
    assert (await run_in("false\necho on", "false; true", "echo end")).ok
    assert sink.output == b"on\nend\n"


async def test_without_check_every_line_runs(run_in, sink):
    outcome = await run_in("false", "echo on", "exit 3", check=False)
    assert outcome.exit_code == 3
    assert sink.output == b"on\n"


@pytest.mark.parametrize("item", ["if", "echo 'open", ")", "it's"])
async def test_a_syntax_error_stays_inside_its_line(run_in, sink, item):
    outcome = await run_in("echo before", item, "echo never")
    assert outcome.exit_code not in (0, None)
    assert sink.output.startswith(b"before\n") and b"never" not in sink.output


async def test_lines_begin_in_working_dir(run_in, sink, tmp_path):
    (tmp_path / "workspace" / "sub").mkdir(parents=True)
    assert (await run_in("cd ..", "pwd", working_dir="sub")).ok
    assert sink.output == f"{tmp_path / 'workspace' / 'sub'}\n".encode()


async def test_other_shells_get_their_text_in_one(run, sink):
    python = shutil.which("python3")
    assert (await run("a = 1", "print(a)", shell=(python,), fresh_shell=True)).ok
    assert sink.output == b"1\n"


async def test_what_holds_in_before_script_holds_in_the_others(shell, prepare, sink):
    lines = {"before_script": ("env A=1", "env B=2"), "script": ("env B=3",), "after_script": ('echo "$A $B"',)}
    prepared = prepare(fresh_shell=True, **lines)
    async with shell.open(prepared) as session:
        for name in ("before_script", "script"):
            assert (await session.run(lines[name], sink, name=name)).ok
        assert (await session.run(('echo "$A $B"',), sink, name="script")).ok
        assert (await session.run(lines["after_script"], sink, name="after_script")).ok
    assert sink.output == b"1 2\n1 3\n"
