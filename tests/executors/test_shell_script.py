"""The native rule for items, in every sh that is here; and the marks in the output, however it is cut."""

import random
import shutil

import pytest

from formicary.executors.shell_script import Announcer, compose, is_sh, quoted

NAMES = (("sh",), ("dash",), ("bash",), ("zsh",), ("ksh",), ("mksh",), ("busybox", "sh"))
SHELLS = {name: (place, *rest) for name, *rest in NAMES if (place := shutil.which(name))}


@pytest.fixture(params=SHELLS.values(), ids=SHELLS)
def run_in(request, run):
    async def run_items(*items, **more):
        return await run(*items, shell=request.param, **more)

    run_items.shell = request.param
    return run_items


async def test_cd_and_export_carry_over(run_in, sink):
    assert (await run_in("cd /; export A=1; B=2", 'echo "$(pwd) $A $B"')).ok
    assert sink.output == b"/ 1 2\n"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ("false", 1),
        ("false\necho on", 1),
        ("set +e; false; (exit 3)", 3),
        ("exit 4", 4),
        ("false && true", 1),
        ("no-such-command", 127),
    ],
)
async def test_a_failing_item_ends_the_script(run_in, sink, item, code):
    outcome = await run_in("true", item, "echo never")
    assert outcome.exit_code == code
    assert sink.commands == ["true", item]
    assert b"on" not in sink.output.split()


@pytest.mark.parametrize("item", ["set +e; false; true", "false || true", "! false", "# a comment", "", "  \n"])
async def test_what_is_no_failure_goes_on(run_in, sink, item):
    assert (await run_in(item, "echo end")).ok
    assert sink.output == b"end\n"


@pytest.mark.parametrize("item", ["if", "echo 'open", 'echo "open', "echo $(", ")", "}"])
async def test_a_syntax_error_stays_inside_its_item(run_in, sink, item):
    outcome = await run_in("echo before", item, "echo never")
    assert outcome.exit_code not in (0, None)
    assert sink.commands == ["echo before", item]
    assert sink.output.startswith(b"before\n")


async def test_a_here_document_ends_with_its_item(run_in, sink):
    assert (await run_in("cat <<E\nit's\nE", "cat <<E\n$((1+1))\nE\n", "echo 'a\\nb' | wc -l >/dev/null")).ok
    assert sink.output.startswith(b"it's\n2\n")


async def test_without_check_every_item_runs_and_the_last_decides(run_in, sink):
    assert (await run_in("false", "echo 1", "(exit 3)", "true", check=False)).ok
    assert len(sink.commands) == 4
    assert (await run_in("true", "(exit 3)", check=False)).exit_code == 3


async def test_tracing_shows_the_items_commands_and_none_of_ours(run_in, sink):
    if "mksh" in run_in.shell[0]:
        pytest.skip("mksh also traces redirections, before they hide its trace")
    items = ["set -x; echo 1", "echo 2", "set +x", "echo 3"]
    assert (await run_in(*items)).ok
    assert sink.commands == items
    # bash traces inside an eval with "++ ", zsh with "+(eval):1> "
    shown = [line.split(b"> ")[-1].lstrip(b"+ ") for line in sink.output.splitlines()]
    assert shown == [b"echo 1", b"1", b"echo 2", b"2", b"set +x", b"3"]


async def test_a_script_that_prints_itself_shows_no_false_marks(run_in, sink):
    assert (await run_in("cat $0", "set -v", "set +v; echo 1")).ok
    assert sink.commands == ["cat $0", "set -v", "set +v; echo 1"]


async def test_unset_variables_may_be_errors(run_in, sink):
    assert (await run_in("set -u", "echo ${1-none}")).ok
    assert sink.output == b"none\n"


async def test_a_trap_on_exit_keeps_its_voice(run_in, sink):
    outcome = await run_in("trap 'echo bye >&2' EXIT; set +e", "(exit 5)")
    assert (outcome.exit_code, sink.output) == (5, b"bye\n")


async def test_functions_named_like_ours_do_not_harm(run_in, sink):
    assert (await run_in("echo() { printf 'mine\\n'; }", "echo 1", "true")).ok
    assert sink.output == b"mine\n"
    assert len(sink.commands) == 3


def test_quoting_is_undone_by_the_shell():
    assert quoted("it's") == r"'it'\''s'"


@pytest.mark.parametrize(
    ("shell", "answer"),
    [
        (["sh"], True),
        (["/bin/bash", "-e"], True),
        (["/usr/bin/env", "bash"], True),
        (["busybox", "sh"], True),
        (["python3"], False),
        (["node"], False),
        (["fish"], False),
        (["busybox"], False),
    ],
)
def test_which_shells_understand_sh(shell, answer):
    assert is_sh(shell) is answer


class Records(list):
    def cmd(self, text):
        self.append(text)

    def out(self, data):
        self.append(bytes(data))


def test_one_item_needs_no_marks():
    script = compose(["sh"], ["echo 1"], "n:")
    assert script.marked == ()
    assert "n:" not in script.text


@pytest.mark.parametrize("seed", range(20))
def test_marks_are_found_however_the_output_is_cut(seed):
    nonce = "\x1eabc:"
    stream = b"12\x1e\x1eab\n\x1eabc:1\n\x1eabc:\x1eabc:9\nx\x1eabc:2\n\x1eabc:3\n\x1eabc:3\n\x1ea"
    chance = random.Random(seed)
    records = Records()
    announcer = Announcer(records, nonce, ["b", "c", "d"])
    while stream:
        cut = chance.randint(1, 7)
        announcer.feed(stream[:cut])
        stream = stream[cut:]
    announcer.close()
    merged = []
    for record in records:
        if merged and isinstance(record, bytes) and isinstance(merged[-1], bytes):
            merged[-1] += record
        else:
            merged.append(record)
    assert merged == [b"12\x1e\x1eab\n", "b", b"\x1eabc:\x1eabc:9\nx", "c", "d", b"\x1eabc:3\n\x1ea"]
