"""Reports of tests and lines in SQLite: a row a report, and its tests and files one by one."""

from __future__ import annotations

from collections.abc import Sequence

from formicary.runner.core.records import Page
from formicary.runner.core.reported import ReportCase, ReportLines, TaskReport
from formicary.runner.core.reports import Coverage, Reports, Suite, Verdict
from formicary.runner.store import rows
from formicary.runner.store.looking import Looking
from formicary.runner.store.rows import changed
from formicary.runner.store.sql import SQL


class SqliteReportsReader(Looking):
    """The `ReportsReader` of one connection."""

    def reports(self, request_id: int) -> list[TaskReport]:
        return self._many(rows.REPORT, "reports", {"request_id": request_id})

    def report(self, report_id: int) -> TaskReport | None:
        return self._one(rows.REPORT, "report", {"id": report_id})

    def report_cases(
        self, report_id: int, verdict: Verdict | None = None, page: int = 0, page_size: int = 200
    ) -> Page[ReportCase]:
        keys = {"report_id": report_id, "verdict": verdict}
        return self._listed(rows.REPORT_CASE, "report_cases", "number", page, page_size, keys)

    def report_lines(self, report_id: int, page: int = 0, page_size: int = 200) -> Page[ReportLines]:
        return self._listed(rows.REPORT_LINES, "report_lines", "number", page, page_size, {"report_id": report_id})

    def failing_cases(self, report_ids: Sequence[int], limit: int) -> list[ReportCase]:
        found: list[ReportCase] = []
        for report_id in report_ids:
            found += self._many(rows.REPORT_CASE, "failing_cases", {"report_id": report_id, "limit": limit})
            if len(found) >= limit:
                break
        return found[:limit]


class SqliteReportsTx(SqliteReportsReader):
    """The `ReportsTx` of one change."""

    now: float

    def add_report(self, report: TaskReport, said: Reports) -> TaskReport:
        known = self._one(rows.REPORT, "report_of_attempt", {"task_execution_id": report.task_execution_id})
        if known is not None:
            return known
        tests, lines = said.tests or Suite(), said.coverage or Coverage()
        new = changed(
            report,
            created_at=self.now,
            passed=tests.passed,
            failed=tests.failed,
            errors=tests.errors,
            skipped=tests.skipped,
            seconds=tests.seconds,
            first=said.tally().first,
            covered=lines.covered,
            valid=lines.valid,
            cases=len(tests.cases),
            files=len(lines.files),
        )
        (new_id,) = self._row("add_report", rows.REPORT.encode(new))
        for number, case in enumerate(tests.cases, 1):
            row = ReportCase.model_construct(report_id=new_id, number=number, **case.__dict__)
            self._execute(SQL["add_report_case"], rows.REPORT_CASE.encode(row))
        for number, one in enumerate(lines.files, 1):
            file = ReportLines.model_construct(report_id=new_id, number=number, **one.__dict__)
            self._execute(SQL["add_report_lines"], rows.REPORT_LINES.encode(file))
        return changed(new, id=new_id)
