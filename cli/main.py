"""`formicary`: a table of commands, each imported when it is called; every error leaves here as one clear message."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple, NoReturn, TextIO

import click


class Entry(NamedTuple):
    """Where a command lies, and its line in the overview (so that help need not import it)."""

    module: str
    help: str


COMMANDS: Final = {
    "serve": Entry("formicary.cli.serve", "Watch repositories and run their jobs."),
    "run": Entry("formicary.cli.run", "Run a job of the working tree, without a server."),
    "init": Entry("formicary.cli.init", "Write a first definition that fits this project."),
    "explain": Entry("formicary.cli.explain", "What a push or an event would run, and why."),
    "graph": Entry("formicary.cli.graph", "A job's tasks as a graph."),
    "validate": Entry("formicary.cli.validate", "Check .formicary/*.yml and show all that is wrong."),
    "schema": Entry("formicary.cli.schema", "The keys of definitions as a JSON Schema, for editors."),
    "trigger": Entry("formicary.cli.trigger", "Ask the server to run a job."),
    "status": Entry("formicary.cli.status", "What runs, what waits and why, what has ended."),
    "logs": Entry("formicary.cli.logs", "Show what a task wrote, or follow it."),
    "why": Entry("formicary.cli.why", "Say why a request waits, or is where it is."),
    "cancel": Entry("formicary.cli.cancel", "Cancel a request."),
    "pause": Entry("formicary.cli.pause", "Pause a request when what runs has ended."),
    "resume": Entry("formicary.cli.resume", "Let a paused request go on."),
    "restart": Entry("formicary.cli.restart", "Run a request again, whole or what failed."),
    "approve": Entry("formicary.cli.approve", "Approve or reject a task that waits for people."),
    "audits": Entry("formicary.cli.audits", "Who did what, and when."),
    "repos": Entry("formicary.cli.repos", "What is watched, how it is synced, what is wrong."),
    "hook": Entry("formicary.cli.hook", "Let git tell the server of every commit."),
    "deliveries": Entry("formicary.cli.deliveries", "What hooks delivered, what came of it, and once more."),
    "outbox": Entry("formicary.cli.outbox", "What is owed to the outside, and dead letters sent again."),
    "notify": Entry("formicary.cli.notify", "Send a test message, to see whether it arrives."),
    "token": Entry("formicary.cli.token", "Make, list and revoke tokens."),
    "secrets": Entry("formicary.cli.secrets", "Set, list and remove secrets."),
    "plugins": Entry("formicary.cli.plugins", "Jobs with versions that others fork: list them, show one."),
    "errors": Entry("formicary.cli.errors", "What failures are called, and whether they are tried again."),
    "resources": Entry("formicary.cli.resources", "What runs share, and how much of it: register, list, switch."),
    "backup": Entry("formicary.cli.backup", "Save all that the data folder holds, while a server runs."),
    "restore": Entry("formicary.cli.restore", "Check a backup, or make a data folder of it."),
    "doctor": Entry("formicary.cli.doctor", "Check this machine and the data folder."),
    "completion": Entry("formicary.cli.completion", "Let your shell complete commands, options and names."),
    "help": Entry("formicary.cli.help", "Show what a command does, and its options."),
}
DEBUG: Final = "FORMICARY_DEBUG"
INTERRUPTED: Final = 130


class Commands(click.Group):
    """A group that imports a command when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found = import_module(entry.module).command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(_no_such(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _no_such(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(COMMANDS)}."
    return f"There is no command `{name}`; {hint}"


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"formicary {version('formicary')}")
        ctx.exit()


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say the version.")
def cli() -> None:
    """Formicary: commit .formicary/*.yml, see it run.

    \b
    Examples:
      formicary run                     run the job of this working tree, without a server
      formicary serve --repo .          watch this repository, show the pages
      formicary hook install            let git tell the server of every commit
      formicary trigger ci --wait       ask for a job, wait for its result
      formicary logs 12 -f              follow what request 12 writes
    """


def main() -> NoReturn:
    """The entry point: 0 good, 1 an error or a failed job, 2 a wrong call, 130 Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # no terminal is too old for a check mark
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Carry out one command line; returns the exit code. Nothing but SystemExit is raised."""
    try:
        code = cli.main(list(args), prog_name="formicary", standalone_mode=False, color=colour())
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        return explain(error)


def colour() -> bool | None:
    """False where colours are unwanted; None lets each stream decide (only terminals get them)."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def explain(error: BaseException) -> int:
    """Say what went wrong, as short as it can be said; returns the exit code."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    errors = list(_leaves(error))
    if any(isinstance(one, KeyboardInterrupt | click.Abort) for one in errors):
        return INTERRUPTED
    if any(isinstance(one, BrokenPipeError) for one in errors):
        _nobody_reads()
        return 1  # as click does
    codes = [_explain_one(one) for one in errors if not isinstance(one, SystemExit)]
    return max(codes, default=1)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves, out of the groups that task groups wrap them in."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _explain_one(error: BaseException) -> int:
    from formicary.runner.core.errors import FormicaryError, LostError

    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, FormicaryError) and not isinstance(error, LostError):
        return _say(str(error))
    if isinstance(error, OSError) and error.filename and error.strerror:
        return _say(f"{os.fsdecode(error.filename)}: {error.strerror}")
    name = f"{type(error).__name__}: {error}".partition("\n")[0]
    return _say(f"formicary itself failed ({name}); {_details(error)}")


def _details(error: BaseException) -> str:
    if os.environ.get(DEBUG):
        return "the details are above"
    try:
        descriptor, path = tempfile.mkstemp(prefix="formicary-error-", suffix=".txt")
        with os.fdopen(descriptor, "w") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return f"call it again with {DEBUG}=1 for the details"
    return f"the details are in {path}"


def _say(message: str) -> int:
    first, _, rest = message.rstrip().partition("\n")
    styled = click.style("error:", fg="red", bold=True)
    click.echo(f"{styled} {first}" + (f"\n{rest}" if rest else ""), err=True, color=colour())
    return 1


def _nobody_reads() -> None:
    """Whoever read our output has gone; what is still buffered goes nowhere, without a complaint at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        _point(stream, nowhere)


def _point(stream: TextIO | Any, descriptor: int) -> None:
    try:
        os.dup2(descriptor, stream.fileno())
    except (OSError, ValueError):
        pass  # it is no real file (under a test), so nothing complains at the exit


if __name__ == "__main__":
    main()
