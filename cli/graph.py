"""`formicary graph`: how the tasks of a job follow one another, as text or as a picture. No server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from formicary.cli.run import find, tree_of
from formicary.cli.validate import dialect_option
from formicary.runner.core.definition import Dialect, JobDefinition
from formicary.runner.core.errors import SetupError
from formicary.site.diagrams import dot_of, mermaid_of, svg_of

FORMATS: Final[dict[str, Callable[[JobDefinition], str]]] = {"dot": dot_of, "mermaid": mermaid_of, "svg": svg_of}
GRAPHVIZ_SECONDS: Final = 30


@click.command(short_help="A job's tasks as a graph.")
@click.argument("job", required=False)
@click.option(
    "--format",
    "kind",
    type=click.Choice([*FORMATS, "png"]),
    default="dot",
    show_default=True,
    help="png: with graphviz.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write it there.")
@dialect_option
def command(job: str | None, kind: str, output: Path | None, dialect: Dialect) -> None:
    """Draw the graph of JOB, a definition of this working tree.

    \b
    Examples:
      formicary graph ci --format mermaid
      formicary graph ci --format svg -o ci.svg
      formicary graph | dot -Tpdf > ci.pdf
    """
    _, found = find(tree_of(Path.cwd()), job, dialect=dialect)
    drawn = _png(found) if kind == "png" else FORMATS[kind](found).encode()
    if output is not None:
        output.write_bytes(drawn)
    elif kind == "png" and sys.stdout.isatty():
        raise SetupError("a terminal shows no pictures; give --output FILE")
    else:
        sys.stdout.buffer.write(drawn)


def _png(job: JobDefinition) -> bytes:
    if shutil.which("dot") is None:
        raise SetupError("png needs graphviz; install it (Debian: apt-get install graphviz), or take --format svg")
    done = subprocess.run(["dot", "-Tpng"], input=dot_of(job).encode(), capture_output=True, timeout=GRAPHVIZ_SECONDS)
    if done.returncode:
        raise SetupError(f"graphviz failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
