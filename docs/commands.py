"""Writes docs/cli.md from the commands themselves, so that the page can say nothing else: python docs/commands.py"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from formicary.cli.main import COMMANDS, cli

PAGE: Final = Path(__file__).with_name("cli.md")
HEAD: Final = """\
# The command line

Made from the program by `make docs`. The same is shown by `formicary help COMMAND`, and your shell completes it:
`formicary completion bash`, `zsh` or `fish` prints how.

Exit codes: 0 good, 1 an error or a failed job, 2 a wrong call, 130 Ctrl-C. `FORMICARY_DEBUG=1` shows details of errors,
`NO_COLOR=1` leaves colours out. `--server` (or `FORMICARY_SERVER`) names a server on another machine; it takes a token
in `FORMICARY_TOKEN`.
"""


def page() -> str:
    """The whole page."""
    overview = [f"| [`{name}`](#formicary-{name}) | {entry.help} |" for name, entry in COMMANDS.items()]
    parts = [HEAD.rstrip("\n"), "\n".join(["| command | what it does |", "|---|---|", *overview])]
    context = click.Context(cli, info_name="formicary")
    for name in COMMANDS:
        found = cli.get_command(context, name)
        assert found is not None, "the table names what there is"
        parts += command(found, click.Context(found, parent=context, info_name=name), "##")
    return "\n\n".join(parts) + "\n"


def command(found: click.Command, context: click.Context, level: str) -> Iterator[str]:
    """A heading, what it says of itself, its examples, its options, and what is below it."""
    yield f"{level} {context.command_path}"
    usage = " ".join(part for part in found.collect_usage_pieces(context) if part != "[OPTIONS]")
    yield f"```text\n{context.command_path}{' ' if usage else ''}{usage}\n```"
    said, _, examples = inspect.cleandoc(found.help or "").partition("\b\nExamples:\n")
    yield said.strip()
    if examples.strip():
        yield "```sh\n" + inspect.cleandoc(examples).strip() + "\n```"
    options = [
        record for one in found.params if isinstance(one, click.Option) if (record := one.get_help_record(context))
    ]
    if options:
        rows = [f"| `{cell(names)}` | {cell(help)} |" for names, help in options]
        yield "\n".join(["| option | meaning |", "|---|---|", *rows])
    if isinstance(found, click.Group):
        for name in found.list_commands(context):
            below = found.get_command(context, name)
            if below is not None and not below.hidden:
                yield from command(below, click.Context(below, parent=context, info_name=name), level + "#")


def cell(text: str) -> str:
    """Fit for a table: one line, no bar that would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
