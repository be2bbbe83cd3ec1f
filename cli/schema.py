"""`formicary schema`: the definition language as a JSON Schema, for editors and other tools. Reads nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from formicary.runner.core.errors import SetupError
from formicary.runner.core.schema import schema

IN_GIT: Final = ".git/formicary-schema.json"
"""Where `init` puts it: beside the repository's files, and none of them."""


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def write(path: Path) -> None:
    """Raises SetupError where it cannot be written."""
    try:
        path.write_text(text(), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error


@click.command(short_help="The keys of definitions as a JSON Schema, for editors.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write; else it is shown.")
def command(output: Path | None) -> None:
    """Show the JSON Schema (draft 2020-12) of definition files.

    An editor that has it completes keys, explains them and marks what is wrong. Files that `formicary init` writes look
    for it at .git/formicary-schema.json, in their first line. It refuses nothing that `formicary validate` takes; that
    one sees more.

    \b
    Examples:
      formicary schema --output .git/formicary-schema.json
      formicary schema | jq '."$defs".cache'
    """
    if output is None:
        click.echo(text(), nl=False)
    else:
        write(output)
