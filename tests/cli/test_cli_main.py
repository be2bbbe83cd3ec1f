"""The entry point: help that imports nothing, one clear message for every error, quiet ends."""

import subprocess
import sys
import types
from importlib import import_module

import click
import pytest

from formicary.cli import main
from formicary.runner.core.errors import LostError, SetupError


@pytest.fixture
def broken(monkeypatch, formicary):
    """Run a command that raises what is given."""

    def call(error, *words):
        @click.command()
        def command():
            raise error

        monkeypatch.setitem(sys.modules, "broken_command", types.SimpleNamespace(command=command))
        monkeypatch.setitem(main.COMMANDS, "broken", main.Entry("broken_command", "Breaks."))
        return formicary("broken", *words)

    return call


def commands(command, path=()):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


def test_help_imports_none_of_what_commands_need():
    """`formicary --help` answers at once: the overview is a table."""
    code = (
        "import sys\nfrom formicary.cli import main\ncode = main.run(['--help'])\n"
        "heavy = {'pydantic', 'httpx', 'anyio', 'yaml', 'starlette', 'dulwich', 'sqlite3'} & set(sys.modules)\n"
        "ours = {name for name in sys.modules if name.startswith('formicary.') and name != 'formicary.cli.main'}\n"
        "assert not heavy, heavy\nassert ours == {'formicary.cli'}, ours\nassert code == 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name, entry in main.COMMANDS.items():
        assert name in done.stdout and entry.help in done.stdout


def test_every_command_is_there_and_its_help_has_examples():
    found = dict(commands(main.cli))
    assert {path[0] for path in found if path} == set(main.COMMANDS)
    for path, command in found.items():
        if not command.hidden:
            assert "Examples:" in (command.help or ""), path
            assert f"formicary {' '.join(path)}".strip() in command.help, path


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_table_says_what_the_command_says(name):
    """The line in the overview is the command's own."""
    entry = main.COMMANDS[name]
    assert import_module(entry.module).command.short_help == entry.help


def test_version(formicary):
    said = formicary("--version")
    assert (said.code, said.out.split()[0]) == (0, "formicary")


@pytest.mark.parametrize(
    ("words", "text"),
    [(["validat"], "did you mean `validate`?"), (["xyzzy"], "there is serve, run"), (["logs"], "Missing argument")],
)
def test_a_wrong_call_is_2_and_says_what_is_right(words, text, formicary):
    said = formicary(*words)
    assert said.code == 2
    assert text in said.err and said.out == ""


def test_an_error_is_one_message_without_a_traceback(broken):
    said = broken(SetupError("the port is taken; give another --port"))
    assert (said.code, said.out) == (1, "")
    assert said.err == "error: the port is taken; give another --port\n"


def test_errors_in_groups_are_told_each(broken):
    """Task groups wrap what is raised in them; nobody wants to see that."""
    inner = ExceptionGroup("inner", [SetupError("one")])
    said = broken(ExceptionGroup("outer", [inner, SetupError("two")]))
    assert (said.code, said.err) == (1, "error: one\nerror: two\n")


@pytest.mark.parametrize("error", [ValueError("oh\nno"), LostError("oh")])
def test_an_unexpected_error_is_one_line_and_its_details_are_kept(error, broken, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = broken(error)
    assert said.code == 1
    assert said.err.count("\n") == 1 and f"{type(error).__name__}: oh" in said.err
    (details,) = tmp_path.glob("formicary-error-*.txt")
    assert str(details) in said.err and "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback(broken, monkeypatch):
    monkeypatch.setenv("FORMICARY_DEBUG", "1")
    said = broken(ValueError("oh"))
    assert "Traceback" in said.err and "the details are above" in said.err


def test_a_file_that_cannot_be_opened_is_named(broken):
    said = broken(PermissionError(13, "Permission denied", "/some/file"))
    assert (said.code, said.err) == (1, "error: /some/file: Permission denied\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort(), BaseExceptionGroup("g", [KeyboardInterrupt()])])
def test_ctrl_c_is_quiet(error, broken):
    said = broken(error)
    assert (said.code, said.out, said.err.strip()) == (130, "", "")


@pytest.mark.parametrize("error", ["BrokenPipeError(32, 'x')", "ExceptionGroup('g', [BrokenPipeError()])"])
def test_a_pipe_that_closes_is_quiet(error):
    """`formicary … | head`: nothing is said, also where a task group found it out."""
    code = f"import sys\nfrom formicary.cli import main\ncode = main.explain({error})\nprint('late')\nsys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_reader_that_leaves_is_no_error():
    """Nothing on stderr, not even at the exit."""
    script = f"{sys.executable} -m formicary.cli.main --help | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert main.colour() is False
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert main.colour() is None


@pytest.mark.parametrize("command", ["logs", "status", "why", "cancel"])
@pytest.mark.parametrize("word", ["x", "0", "-1", "9" * 30, "1.5"])
def test_a_request_is_a_number(formicary, command, word):
    said = formicary(command, "--", word)
    assert said.code == 2
    assert "is no request; `formicary status` shows their numbers" in said.err
