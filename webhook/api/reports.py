"""What tasks' reports say of a request: tests one by one, and lines file by file."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field

from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import JobRequest
from formicary.runner.core.reported import ReportCase, ReportLines, TaskReport
from formicary.runner.core.reports import Verdict
from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed, moment, request_of
from formicary.webhook.operations import Call, Operation

PATH: Final = "/api/jobs/requests/{id:int}/reports"


class ReportView(shared.View):
    """What one attempt's reports say, in figures. `first` is the first test that went wrong; `valid` 0: there is no
    report of lines. `cases` and `files`: how many of these are kept one by one, those that matter most."""

    id: int
    task_type: str
    task_execution_id: str
    created_at: datetime | None
    tests: int
    passed: int
    failed: int
    errors: int
    skipped: int
    seconds: float
    first: str
    covered: int
    valid: int
    cases: int
    files: int


class CaseView(shared.View):
    """One test. `message`: the first lines of what went wrong, or why it was skipped."""

    name: str
    classname: str
    file: str
    verdict: Verdict
    seconds: float | None
    message: str


class LinesView(shared.View):
    """How many lines of a file can run, and how many of these did."""

    path: str
    covered: int
    valid: int


class CasesQuery(shared.PageQuery):
    verdict: Verdict | None = Field(default=None, description="Only tests that ended so.")


def view(report: TaskReport) -> ReportView:
    return ReportView(
        id=report.id,
        task_type=report.task_type,
        task_execution_id=report.task_execution_id,
        created_at=moment(report.created_at),
        tests=report.passed + report.failed + report.errors + report.skipped,
        passed=report.passed,
        failed=report.failed,
        errors=report.errors,
        skipped=report.skipped,
        seconds=report.seconds,
        first=report.first,
        covered=report.covered,
        valid=report.valid,
        cases=report.cases,
        files=report.files,
    )


async def show_list(call: Call) -> Listed[ReportView]:
    found = call.door.store.read().reports(request_of(call).id)
    return shared.listed(shared.cut(found, call.query), view)


def _report(call: Call, request: JobRequest) -> TaskReport:
    report_id = call.number("report")
    found = call.door.store.read().report(report_id)
    if found is None or found.request_id != request.id:
        raise NotFound(f"Job request {request.id} has no report {report_id}.")
    return found


async def show_cases(call: Call) -> Listed[CaseView]:
    report, query = _report(call, request_of(call)), call.query
    page = call.door.store.read().report_cases(report.id, query.verdict, query.page, query.page_size)
    return shared.listed(page, _case)


def _case(case: ReportCase) -> CaseView:
    return CaseView(
        name=case.name,
        classname=case.classname,
        file=case.file,
        verdict=case.verdict,
        seconds=case.seconds,
        message=case.message,
    )


async def show_lines(call: Call) -> Listed[LinesView]:
    report, query = _report(call, request_of(call)), call.query
    page = call.door.store.read().report_lines(report.id, query.page, query.page_size)
    return shared.listed(page, _lines)


def _lines(lines: ReportLines) -> LinesView:
    return LinesView(path=lines.path, covered=lines.covered, valid=lines.valid)


_TAG: Final = "Job requests"

OPERATIONS: Final = (
    Operation(
        "GET", PATH, "What the reports of its attempts say, in figures", show_list, tag=_TAG, query=shared.PageQuery,
        answer=Listed[ReportView], errors=(404, 422),
    ),
    Operation(
        "GET", PATH + "/{report:int}/cases", "Tests of a report, those that went wrong first", show_cases, tag=_TAG,
        query=CasesQuery, answer=Listed[CaseView], errors=(404, 422),
    ),
    Operation(
        "GET", PATH + "/{report:int}/lines", "Files of a report, those with the most lines that did not run first",
        show_lines, tag=_TAG, query=shared.PageQuery, answer=Listed[LinesView], errors=(404, 422),
    ),
)  # fmt: skip
