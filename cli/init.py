"""`formicary init`: a first `.formicary/ci.yml` that fits what the project holds. Runs nothing, overwrites nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import click

from formicary.cli import schema
from formicary.cli.firstfile import JOB, text_of
from formicary.cli.languages import look
from formicary.cli.project import READ, Find, Folder
from formicary.runner.core.errors import Conflict, SetupError

FOLDER: Final = ".formicary"
FILE: Final = "ci.yml"
MOST_FILES: Final = 20_000
MOST_BYTES: Final = 1 << 20
DEEPEST: Final = 4
_OURS: Final = re.compile(rf"^job_type:[ \t]+[\"']?{JOB}[\"']?[ \t]*(?:#.*)?$", re.M)
_LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", "venv", "target", "vendor"})


def top_of(here: Path) -> Path:
    """The top of the repository, else this folder."""
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def folder_of(top: Path) -> Folder:
    """The project's files as git sees them, or as they lie there where it is no repository (yet)."""
    names = [name for name in _tracked(top) or _lying(top) if name.count("/") < DEEPEST][:MOST_FILES]
    wanted = [name for name in names if any(fnmatchcase(name.rpartition("/")[2], one) for one in READ)]
    return Folder(frozenset(names), {name: _text(top / name) for name in wanted if name.count("/") < 2})


def _tracked(top: Path) -> list[str]:
    """What is tracked, or neither tracked nor ignored; [] without git, or outside a repository."""
    words = ["git", "-C", str(top), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return []
    said = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name] if done.returncode == 0 else []
    return [name for name in said if (top / name).is_file()]


def _lying(top: Path) -> Iterator[str]:
    for folder, below, names in os.walk(top):
        here = Path(folder).relative_to(top)
        deeper = len(here.parts) < DEEPEST - 1
        below[:] = sorted(one for one in below if deeper and not one.startswith(".") and one not in _LEFT_OUT)
        yield from ((here / name).as_posix() for name in sorted(names) if (top / here / name).is_file())


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would keep us waiting
        return ""
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def write(top: Path, text: str, *, force: bool) -> Path:
    """The new file. Raises Conflict where there are definitions already, SetupError where it cannot be written."""
    target = top / FOLDER / FILE
    there = sorted(path for ending in ("yml", "yaml") for path in (top / FOLDER).rglob(f"*.{ending}"))
    if there and not force:
        names = ", ".join(str(path.relative_to(top)) for path in there)
        what = "--force writes it anew" if target in there else f"--force writes {FOLDER}/{FILE} beside it"
        raise Conflict(f"there is {names} already; {what}, --stdout shows what would be written")
    for path in there:
        if path != target and _OURS.search(_text(path)):
            name = path.relative_to(top)
            raise Conflict(f"{name} has a job called `{JOB}` already; delete it, or give that one another job_type")
    try:
        target.parent.mkdir(exist_ok=True)
        fresh = target.with_name(f".{FILE}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error.strerror}") from error
    return target


def found_lines(finds: Iterable[Find]) -> Iterator[str]:
    """What was found, and what of it this machine cannot run."""
    nothing = True
    for find in finds:
        nothing = False
        where = f"{find.folder}/{find.sign}" if find.folder else find.sign
        yield f"found    {find.language} ({where}): {find.how}"
        missing = [tool for tool in find.tools if shutil.which(tool) is None]
        if missing:
            yield f"         {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on the PATH here"
        if "cargo" in find.tools and _is_rustups(shutil.which("cargo")):
            yield "         cargo is rustup's here, which looks in its user's home; a task has a home of its own:"
            yield "         say where it is under `environment` (RUSTUP_HOME), or install cargo for all"
    if nothing:
        yield "found    nothing that tells how this project is tested; the file holds a line to replace"


def _is_rustups(cargo: str | None) -> bool:
    return cargo is not None and Path(cargo).resolve().name == "rustup"


def next_lines(top: Path) -> Iterator[str]:
    steps = [] if (top / ".git").exists() else [("git init", "this is no git repository yet")]
    steps += [
        ("formicary run", "try it now, as the files stand"),
        (f"git add {FOLDER}; git commit", ""),
        ("formicary serve --repo .", "watch this repository"),
        ("formicary hook install", "let git tell the server of every commit"),
    ]
    for number, (words, why) in enumerate(steps):
        yield f"{'' if number else 'next':<9}{words:<30}{why}".rstrip()


@click.command(short_help="Write a first definition that fits this project.")
@click.option("--stdout", is_flag=True, help="Show the definition instead of writing it.")
@click.option("--force", is_flag=True, help="Write it though there are definitions already.")
def command(stdout: bool, force: bool) -> None:
    """Look at this project and write a first .formicary/ci.yml that runs its tests.

    It knows Python, Node, Go, Rust, Java (Maven, Gradle) and Make, at the top and in the folders right below it.

    \b
    Examples:
      formicary init
      formicary init --stdout
      formicary init --force
    """
    top = top_of(Path.cwd())
    finds = look(folder_of(top))
    text = text_of(finds)
    _tell(found_lines(finds), err=stdout)
    if stdout:
        click.echo(text, nl=False)
        return
    path = write(top, text, force=force)
    _tell([f"wrote    {_near(path)}", *_for_editors(top), *next_lines(top)])


def _for_editors(top: Path) -> Iterator[str]:
    """The schema that the file's first line names, where git keeps its own files in a folder."""
    if (top / ".git").is_dir():
        schema.write(top / schema.IN_GIT)
        yield f"         {_near(top / schema.IN_GIT)} tells your editor all keys"


def _near(path: Path) -> str:
    return os.path.relpath(path, Path.cwd())


def _tell(lines: Iterable[str] | Sequence[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(line, err=err)
