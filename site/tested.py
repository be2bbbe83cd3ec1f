"""What the reports of a run say: figures of each task, the tests that went wrong, the files that ran least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from formicary.runner.core.execution import Execution
from formicary.runner.core.reported import TaskReport
from formicary.runner.core.reports import BAD, percent
from formicary.runner.store import Reader

MOST_FAILURES: Final = 50
MOST_FILES: Final = 10


@dataclass(frozen=True, slots=True)
class FailedTest:
    task: str
    name: str
    where: str
    """Its class or file."""
    broken: bool
    """An error, not an assertion that failed."""
    seconds: float | None
    message: str


@dataclass(frozen=True, slots=True)
class TestedTask:
    """The reports of a task's newest attempt, in figures; `lines` is the share of lines that ran, as text."""

    __test__ = False

    name: str
    tests: int
    bad: int
    skipped: int
    seconds: float
    lines: str
    covered: int
    valid: int


@dataclass(frozen=True, slots=True)
class FileRow:
    path: str
    covered: int
    valid: int

    @property
    def share(self) -> str:
        return percent(self.covered, self.valid)


@dataclass(frozen=True, slots=True)
class TestsView:
    """`more`: failed tests that are not shown. `lines`: the share of lines that ran, in all."""

    __test__ = False

    tasks: tuple[TestedTask, ...]
    failures: tuple[FailedTest, ...]
    more: int
    lines: str
    files: tuple[FileRow, ...]

    @property
    def tests(self) -> int:
        return sum(task.tests for task in self.tasks)

    @property
    def bad(self) -> int:
        return sum(task.bad for task in self.tasks)


def tested(reader: Reader, execution: Execution | None) -> TestsView | None:
    """Of the newest attempts; None where no task has a report."""
    newest = {run.last.id for run in execution.tasks.values() if run.last and run.last.tally} if execution else set()
    if execution is None or not newest:
        return None
    reports = [one for one in reader.reports(execution.request_id) if one.task_execution_id in newest]
    if not reports:
        return None
    failures = _failures(reader, reports)
    bad = sum(one.failed + one.errors for one in reports)
    return TestsView(
        tasks=tuple(map(_task, reports)),
        failures=failures,
        more=bad - len(failures),
        lines=percent(sum(one.covered for one in reports), sum(one.valid for one in reports)),
        files=_files(reader, reports),
    )


def _task(one: TaskReport) -> TestedTask:
    bad = one.failed + one.errors
    return TestedTask(
        name=one.task_type,
        tests=one.passed + bad + one.skipped,
        bad=bad,
        skipped=one.skipped,
        seconds=one.seconds,
        lines=percent(one.covered, one.valid),
        covered=one.covered,
        valid=one.valid,
    )


def _failures(reader: Reader, reports: list[TaskReport]) -> tuple[FailedTest, ...]:
    tasks = {one.id: one.task_type for one in reports if one.failed or one.errors}
    found = reader.failing_cases(list(tasks), MOST_FAILURES)
    return tuple(
        FailedTest(
            task=tasks[case.report_id],
            name=case.name,
            where=case.classname or case.file,
            broken=case.verdict == "error",
            seconds=case.seconds,
            message=case.message,
        )
        for case in found
        if case.verdict in BAD
    )


def _files(reader: Reader, reports: list[TaskReport]) -> tuple[FileRow, ...]:
    """Those with the most lines that did not run, of all tasks."""
    pages = [reader.report_lines(one.id, page_size=MOST_FILES).records for one in reports if one.files]
    found = [FileRow(one.path, one.covered, one.valid) for page in pages for one in page if one.covered < one.valid]
    return tuple(sorted(found, key=lambda one: (one.covered - one.valid, one.path))[:MOST_FILES])
