"""What a task's own reports say: its tests one by one, and which lines they ran. Shapes only, bounded by whoever reads.

The ant reads JUnit, Cobertura and LCOV files into these; the store keeps them as rows; the tally alone travels with the
execution, for the sentences that people read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["failed", "error", "passed", "skipped"]
"""How a test ended: `failed` is an assertion, `error` anything else that went wrong."""
BAD: Final[frozenset[Verdict]] = frozenset({"failed", "error"})
MOST_OF_A_NAME: Final = 80
"""Characters of a test's name in a sentence."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ReportFiles(Part):
    """The key `reports`: globs, relative to working_dir. `coverage`: Cobertura XML or LCOV, told by what is in it."""

    junit: tuple[str, ...] = ()
    coverage: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.junit or self.coverage)


class Case(Part):
    """One test. `seconds` None: the report does not say. `message`: the first lines of what went wrong."""

    name: str
    classname: str = ""
    file: str = ""
    verdict: Verdict = "passed"
    seconds: float | None = None
    message: str = ""


class Suite(Part):
    """All tests of a task in figures, and the first of them one by one: those that went wrong before the others."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0
    cases: tuple[Case, ...] = ()


class FileLines(Part):
    """How many lines of a file can run, and how many of these did."""

    path: str
    covered: int
    valid: int


class Coverage(Part):
    """Lines of all files, and of the first files one by one: those with the most lines that did not run."""

    covered: int = 0
    valid: int = 0
    files: tuple[FileLines, ...] = ()


class Tally(Part):
    """Reports in figures. `first` is the first test that went wrong. Without a report of a kind its figures are 0."""

    tests: int = 0
    bad: int = 0
    skipped: int = 0
    first: str = ""
    covered: int = 0
    valid: int = 0

    @property
    def failing(self) -> str:
        """ "3 of 120 tests failed: test_login"; nothing where none did."""
        if not self.bad:
            return ""
        whole = f"{self.bad} of {self.tests} test{'' if self.tests == 1 else 's'} failed"
        return f"{whole}: {self.first}" if self.first else whole

    @property
    def passing(self) -> str:
        """ "120 tests passed, 87.1% of lines covered"; of a task without any test that went wrong."""
        ran = self.tests - self.bad - self.skipped
        told = [f"{ran} test{'' if ran == 1 else 's'} passed"] if self.tests and not self.bad else []
        return ", ".join([*told, *([f"{self.share} of lines covered"] if self.valid else [])])

    @property
    def told(self) -> str:
        """Everything, for a log: "120 tests, 3 failed, 1 skipped; 87.1% of lines covered"."""
        parts = [f"{self.tests} test{'' if self.tests == 1 else 's'}"]
        parts += [f"{count} {word}" for count, word in ((self.bad, "failed"), (self.skipped, "skipped")) if count]
        lines = f"{self.share} of {self.valid} lines covered" if self.valid else ""
        return "; ".join(filter(None, (", ".join(parts) if self.tests or not lines else "", lines)))

    @property
    def share(self) -> str:
        """ "87.1%": of all lines that can run; cut, not rounded, so that 100% is all of them."""
        return percent(self.covered, self.valid)


def percent(part: int, whole: int) -> str:
    """With one decimal, cut off; "" of nothing."""
    return f"{part * 1000 // whole / 10:.1f}%" if whole else ""


class Reports(Part):
    """What the reports of one attempt say; None: there is none of this kind."""

    tests: Suite | None = None
    coverage: Coverage | None = None

    def tally(self) -> Tally:
        tests, lines = self.tests or Suite(), self.coverage or Coverage()
        bad = tests.failed + tests.errors
        first = next((case.name for case in tests.cases if case.verdict in BAD), "")
        return Tally(
            tests=tests.passed + bad + tests.skipped,
            bad=bad,
            skipped=tests.skipped,
            first=first[: MOST_OF_A_NAME - 1] + "…" if len(first) > MOST_OF_A_NAME else first,
            covered=lines.covered,
            valid=lines.valid,
        )


def together(tallies: Iterable[Tally | None]) -> Tally | None:
    """Of several tasks; None where none of them has a report. Lines are added up: a file that two tasks measured counts
    twice."""
    found = [tally for tally in tallies if tally is not None]
    if not found:
        return None
    added = {name: sum(getattr(one, name) for one in found) for name in ("tests", "bad", "skipped", "covered", "valid")}
    return Tally(**added, first=next((one.first for one in found if one.first), ""))
