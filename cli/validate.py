"""`formicary validate`: all that is wrong in all files, at once, each at its place. Reads files, starts nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import click

from formicary.cli.format import as_json, progress, width
from formicary.runner.core.definition import DIALECTS, NATIVE, Dialect
from formicary.runner.core.errors import NotFound, Problem, UserError
from formicary.runner.core.language import fragments
from formicary.runner.core.load import Loaded, load, stray

FOLDER: Final = ".formicary"
SUFFIXES: Final = frozenset({".yml", ".yaml"})
STDIN: Final = "-"


@dataclass(slots=True)
class Report:
    """What was found, in the order of the files. Each problem knows the job that it belongs to."""

    files: int = 0
    jobs: int = 0
    found: list[tuple[Problem, str | None]] = field(default_factory=list)
    fragments: dict[Path, dict[str, str]] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        return sum(problem.severity == "error" for problem, _ in self.found)

    @property
    def warnings(self) -> int:
        return len(self.found) - self.errors

    def including(self, base: Path) -> dict[str, str]:
        """The fragments of a folder, read once."""
        if base not in self.fragments:
            self.fragments[base] = fragments_at(base)
        return self.fragments[base]

    def add(self, problem: Problem, job_type: str | None) -> None:
        """What is wrong in a fragment, each that includes it would tell."""
        if all(problem != known for known, _ in self.found):
            self.found.append((problem, job_type))

    def summary(self) -> str:
        seen = f"{_count(self.files, 'file')}, {_count(self.jobs, 'job')}"
        if not self.found:
            return click.style(f"✓ {seen}: all valid", fg="green")
        said = [_count(count, word) for count, word in ((self.errors, "error"), (self.warnings, "warning")) if count]
        colour = "red" if self.errors else "yellow"
        return click.style(f"{'✗' if self.errors else '✓'} {seen}: {', '.join(said)}", fg=colour)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def default_folder(start: Path) -> Path:
    """The nearest `.formicary`, upwards to the top of the repository. Raises NotFound."""
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
        if (folder / ".git").exists():
            break
    raise NotFound(
        f"there is no {FOLDER} folder here; `formicary init` makes one, or name files: formicary validate FILE"
    )


def files_of(said: Path) -> list[Path]:
    """The definition files that a path means. Raises NotFound, UserError."""
    if said.is_file():
        return [said]
    if not said.exists():
        raise NotFound(f"{said} does not exist; name a file, a folder, or - for the standard input")
    if not said.is_dir():
        raise UserError(f"{said} is neither a file nor a folder; use - to read from the standard input")
    folder = said / FOLDER if (said / FOLDER).is_dir() else said
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not found:
        raise NotFound(f"there are no .yml or .yaml files in {folder}")
    return found


def texts(paths: Sequence[str]) -> Iterator[tuple[str, str | Problem]]:
    """Each file's name with its text, or with what keeps it from being read. No file comes twice."""
    seen: set[Path] = set()
    for said in paths or (str(_near(default_folder(Path.cwd()))),):
        if said == STDIN:
            yield "<stdin>", _decoded("<stdin>", sys.stdin.buffer.read())
            continue
        for path in files_of(Path(said)):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield str(path), _read(path)


def _near(path: Path) -> Path:
    """Relative to where we are, as editors and terminals can open it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _read(path: Path) -> str | Problem:
    try:
        return _decoded(str(path), path.read_bytes())
    except OSError as error:
        return Problem(str(path), 0, 0, f"this file cannot be read: {error.strerror}", "let it be readable for you")


def _decoded(name: str, data: bytes) -> str | Problem:
    try:
        return data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Problem(name, line, 1, "this line is not UTF-8 text", "save the file as UTF-8")


def check(paths: Sequence[str], dialect: Dialect = NATIVE) -> Report:
    report, first = Report(), dict[str, str]()
    with progress("reading definitions"):
        for name, text in texts(paths):
            report.files += 1
            base = base_of(name)
            if isinstance(text, Problem):
                report.found.append((text, None))
            elif is_fragment(name, base):
                _check_fragment(report, text, name, base, dialect)
            else:
                _check_file(report, load(text, path=name, dialect=dialect, fragments=report.including(base)), first)
    return report


def base_of(name: str) -> Path:
    """The `.formicary` that a file lies in, or the folder that stands for it."""
    if name.startswith("<"):
        here = Path.cwd()
        return here / FOLDER if (here / FOLDER).is_dir() else here
    parents = Path(name).absolute().parents
    return next((folder for folder in parents if folder.name == FOLDER), parents[0])


def is_fragment(name: str, base: Path) -> bool:
    return base.name == FOLDER and Path(name).absolute().is_relative_to(base / fragments.FOLDER)


def fragments_at(base: Path) -> dict[str, str]:
    """What files of this folder may include."""
    found = {}
    for path in sorted((base / fragments.FOLDER).rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and isinstance(text := _read(path), str):
            found[path.relative_to(base).as_posix()] = text
    return found


def _check_fragment(report: Report, text: str, name: str, base: Path, dialect: Dialect) -> None:
    """As the defaults of a job that says nothing else; what is wrong is told once, whoever includes it too."""
    if problem := stray(text, name):
        report.add(problem, None)
        return
    path = Path(name).absolute().relative_to(base).as_posix()
    probe = f"job_type: probe\ninclude: [{path}]\nscript: a\n"
    for one in load(probe, path=f"{FOLDER}/probe", fragments={path: text}, dialect=dialect):
        for problem in (*one.problems, *one.warnings):
            if problem.path == f"{FOLDER}/{path}":
                report.add(replace(problem, path=name), None)


def _check_file(report: Report, loaded: Iterable[Loaded], first: dict[str, str]) -> None:
    here: list[str] = []
    for one in loaded:
        report.jobs += 1
        for problem in (*one.problems, *one.warnings):
            report.add(problem, one.job_type)
        if one.job_type is None:
            continue
        here.append(one.job_type)
        other = first.setdefault(one.job_type, one.path)
        if other != one.path or here.count(one.job_type) > 1:
            report.found.append((_double(one, other, here.count(one.job_type)), one.job_type))


def _double(one: Loaded, other: str, nth: int) -> Problem:
    """A job_type that is there already, at the line that says it the nth time."""
    message = f"job_type `{one.job_type}` is defined {'above' if other == one.path else 'in ' + other} already"
    pattern = re.compile(rf"^job_type:[ \t]+[\"']?{re.escape(one.job_type or '')}\b")
    lines = [(number, line) for number, line in enumerate(one.text.splitlines(), 1) if pattern.match(line)]
    number, line = lines[min(nth, len(lines)) - 1] if lines else (0, "")
    return Problem(one.path, number, min(number, 1), message, "give one of the two another job_type", line)


def shown(problem: Problem) -> str:
    """As `str(problem)`, in colours, and with a caret that stands right below tabs and wide characters too."""
    place = f"{problem.path}:{problem.line}:{problem.column}" if problem.line else problem.path
    colour = "red" if problem.severity == "error" else "yellow"
    word = "" if problem.severity == "error" else click.style("warning: ", fg="yellow")
    expected = f" ({problem.expected})" if problem.expected else ""
    text = f"{click.style(place, bold=True)}: {word}{problem.message}{expected}"
    if not problem.source:
        return text
    before = problem.source[: max(problem.column - 1, 0)]
    indent = "".join("\t" if character == "\t" else " " * width(character) for character in before)
    return f"{text}\n    {problem.source}\n    {indent}{click.style('^', fg=colour, bold=True)}"


def _row(problem: Problem, job_type: str | None) -> dict[str, Any]:
    return {
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "expected": problem.expected,
        "severity": problem.severity,
        "job_type": job_type,
    }


dialect_option: Final = click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    default=NATIVE,
    help="What definitions are written in that do not say `template`.",
)


@click.command(short_help="Check .formicary/*.yml and show all that is wrong.")
@click.argument("paths", nargs=-1, metavar="[PATH]…")
@click.option("--json", "json_wanted", is_flag=True, help="A list of problems as JSON.")
@dialect_option
def command(paths: Sequence[str], json_wanted: bool, dialect: Dialect) -> None:
    """Check definition files and show all that is wrong with them, at once.

    PATH is a file, a folder, or - for the standard input; by default the .formicary folder of this project.
    Exits 1 if there are errors; warnings alone are no errors.

    \b
    Examples:
      formicary validate
      formicary validate .formicary/ci.yml deploy.yml
      git show HEAD:.formicary/ci.yml | formicary validate -
      formicary validate --json | jq '.[].message'
    """
    report = check(paths, dialect)
    if json_wanted:
        click.echo(as_json([_row(*one) for one in report.found]))
    else:
        for problem, _ in report.found:
            click.echo(shown(problem))
        click.echo(report.summary())
    sys.exit(1 if report.errors else 0)
