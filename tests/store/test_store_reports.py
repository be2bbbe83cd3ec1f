"""Reports in the store: figures, tests and files, once an attempt, for as long as their request."""

from __future__ import annotations

from formicary.runner.core.reported import TaskReport
from formicary.runner.core.reports import Case, Coverage, FileLines, Reports, Suite

CASES = (
    Case(name="bad", classname="c", file="f.py", verdict="failed", seconds=0.5, message="assert 1 == 2\nat f.py:3"),
    Case(name="worse", verdict="error", message="no database"),
    *(Case(name=f"good {number}") for number in range(30)),
)
SAID = Reports(
    tests=Suite(passed=118, failed=1, errors=1, skipped=2, seconds=3.25, cases=CASES),
    coverage=Coverage(covered=871, valid=1000, files=(FileLines(path="a.py", covered=1, valid=9),)),
)


def of(request, attempt="1-1", **values):
    return TaskReport(request_id=request.id, task_execution_id=attempt, task_type="test", repository_id=7, **values)


async def test_a_report_comes_back_as_it_was(world):
    request = await world.request()
    made = await world.store.write(lambda tx: tx.add_report(of(request), SAID))
    assert (made.passed, made.failed, made.errors, made.skipped, made.seconds) == (118, 1, 1, 2, 3.25)
    assert (made.first, made.covered, made.valid, made.cases, made.files) == ("bad", 871, 1000, 32, 1)
    assert made.created_at == world.clock.now
    reader = world.store.read()
    assert reader.report(made.id) == made and reader.reports(request.id) == [made]
    page = reader.report_cases(made.id, page_size=10)
    assert (page.total_records, len(page.records)) == (32, 10)
    first = page.records[0]
    assert (first.name, first.classname, first.file, first.seconds, first.message) == (
        "bad", "c", "f.py", 0.5, "assert 1 == 2\nat f.py:3",
    )  # fmt: skip
    assert [case.name for case in reader.report_cases(made.id, "error").records] == ["worse"]
    assert [case.name for case in reader.report_cases(made.id, page=3, page_size=10).records] == ["good 28", "good 29"]
    assert [(one.path, one.covered, one.valid) for one in reader.report_lines(made.id).records] == [("a.py", 1, 9)]


async def test_an_attempt_reports_once(world):
    """D2: a report that comes again changes nothing."""
    request = await world.request()
    first = await world.store.write(lambda tx: tx.add_report(of(request), SAID))
    again = await world.store.write(lambda tx: tx.add_report(of(request), Reports(tests=Suite(passed=1))))
    assert again == first and world.store.read().report_cases(first.id).total_records == 32


async def test_failing_tests_of_several_reports(world):
    request = await world.request()
    made = [await world.store.write(lambda tx, n=n: tx.add_report(of(request, f"1-{n}"), SAID)) for n in range(1, 4)]
    found = world.store.read().failing_cases([one.id for one in made], 5)
    assert [(case.report_id, case.name) for case in found] == [
        (made[0].id, "bad"), (made[0].id, "worse"), (made[1].id, "bad"), (made[1].id, "worse"), (made[2].id, "bad"),
    ]  # fmt: skip


async def test_reports_of_one_kind_only(world):
    request = await world.request()
    made = await world.store.write(lambda tx: tx.add_report(of(request), Reports(coverage=SAID.coverage)))
    assert (made.passed, made.first, made.valid) == (0, "", 1000)
    assert world.store.read().report_cases(made.id).records == ()


async def test_reports_go_with_their_request(world):
    request = await world.run()
    made = await world.store.write(lambda tx: tx.add_report(of(request), SAID))
    await world.store.write(lambda tx: tx.expire(ended_before=world.clock.now + 1, deliveries_before=0))
    reader = world.store.read()
    assert reader.report(made.id) is None and reader.report_cases(made.id).total_records == 0
    assert reader.report_lines(made.id).total_records == 0
