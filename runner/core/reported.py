"""Rows of what tasks' reports say, as the store keeps them."""

from __future__ import annotations

from formicary.runner.core.records import DEFAULT_ORGANIZATION, Record
from formicary.runner.core.reports import Verdict


class TaskReport(Record):
    """What one attempt's reports say, in figures. `cases` and `files`: how many of these are kept one by one; the
    figures are of all. `first` is the first test that went wrong; `valid` 0: there is no report of lines."""

    id: int = 0
    organization_id: str = DEFAULT_ORGANIZATION
    repository_id: int | None = None
    request_id: int
    task_execution_id: str
    task_type: str
    created_at: float = 0.0
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0
    first: str = ""
    covered: int = 0
    valid: int = 0
    cases: int = 0
    files: int = 0


class ReportCase(Record):
    """One test of a report; `number` counts from 1, those that went wrong first."""

    report_id: int
    number: int
    verdict: Verdict
    name: str
    classname: str = ""
    file: str = ""
    seconds: float | None = None
    message: str = ""


class ReportLines(Record):
    """The lines of one file; `number` counts from 1, those with the most lines that did not run first."""

    report_id: int
    number: int
    path: str
    covered: int
    valid: int
