"""What the reports of a run look like on its page."""

import re

import anyio.to_thread
import pytest

from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.execution import TaskRun
from formicary.runner.core.reported import TaskReport
from formicary.runner.core.reports import Case, Coverage, FileLines, Reports, Suite
from formicary.runner.core.states import State
from formicary.site import run

JOB = JobDefinition(job_type="ci", tasks=tuple(TaskDefinition(task_type=name) for name in ("unit", "lint")))
SAID = Reports(
    tests=Suite(
        passed=117,
        failed=2,
        errors=1,
        skipped=4,
        seconds=12.5,
        cases=(
            Case(name="test_login[<b>]", classname="tests.auth", verdict="failed", seconds=0.4, message="assert <i>"),
            Case(name="test_db", file="tests/db.py", verdict="error", message="no database"),
            Case(name="test_last", verdict="failed"),
            Case(name="test_good"),
        ),
    ),
    coverage=Coverage(
        covered=871,
        valid=1000,
        files=(FileLines(path="src/a.py", covered=1, valid=100), FileLines(path="src/full.py", covered=9, valid=9)),
    ),
)


@pytest.fixture
async def shown(nest, make_attempt):
    """A failed run whose first attempt had another report than the second, and its page."""

    def tasks(number):
        first = make_attempt(number, 1, State.FAILED, number=1)
        last = make_attempt(number, 2, State.FAILED, 6, number=2, tally=SAID.tally())
        return {
            "unit": TaskRun(name="unit", state=State.FAILED, attempts=(first, last)),
            "lint": TaskRun(name="lint", state=State.COMPLETED, attempts=(make_attempt(number, 3),)),
        }

    async def made(said=SAID):
        repository = await nest.repository()
        request = await nest.request(await nest.definition(repository))
        execution = await nest.run(request, JOB, tasks, State.FAILED)
        for attempt, one in ((1, Reports(tests=Suite(failed=99))), (2, said)):
            report = TaskReport(request_id=request.id, task_execution_id=f"{execution.id}-{attempt}", task_type="unit")
            await nest.store.write(lambda tx, report=report, one=one: tx.add_report(report, one))
        return request

    return made


async def test_failures_come_first_and_only_the_newest_attempt_counts(nest, shown):
    request = await shown()
    found = run.request(nest.source(), request.id).tests
    assert (found.tests, found.bad, found.lines, found.more) == (124, 3, "87.1%", 0)
    assert [(one.name, one.where, one.broken) for one in found.failures] == [
        ("test_login[<b>]", "tests.auth", False), ("test_db", "tests/db.py", True), ("test_last", "", False),
    ]  # fmt: skip
    assert [(one.path, one.share) for one in found.files] == [("src/a.py", "1.0%")]


async def test_the_page_as_a_file(nest, shown):
    """T5: what a test says is text, and nothing else."""
    request = await shown()
    nest.writer.publish(request.id)
    (path,) = [one for one in nest.site.rglob("*.html") if "h-tests" in one.read_text()]
    page = path.read_text()
    text = re.sub(r"\s+", " ", page)
    assert "3 of 124 failed" in text and "87.1% of lines covered" in text
    assert "test_login[&lt;b&gt;]" in text and "assert &lt;i&gt;" in text and "<b>]" not in text
    assert text.index("test_login") < text.index("src/a.py") and "The report says no more." in text


async def test_many_failures_are_bounded(nest, shown):
    cases = tuple(Case(name=f"t{number}", verdict="failed") for number in range(200))
    request = await shown(Reports(tests=Suite(failed=300, cases=cases)))
    found = run.request(nest.source(), request.id).tests
    assert (len(found.failures), found.more, found.lines, found.files) == (50, 250, "", ())


async def test_a_run_without_reports_has_no_such_part(nest, populated):
    made = await populated(nest)
    assert run.request(nest.source(), made["failing"].id).tests is None


def right_edges(executable, path):
    """Where the times of the failed tests and of the tasks end, in pixels from the left, on a wide and a small page."""
    from playwright.sync_api import sync_playwright

    times = "[...document.querySelectorAll('.tasks .task > summary .d')].map(d => d.getBoundingClientRect().right)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(path.as_uri())
        for width in (1200, 390):
            page.set_viewport_size({"width": width, "height": 800})
            yield set(page.evaluate(times))
        browser.close()


async def test_failed_tests_stand_in_the_columns_of_the_tasks(nest, shown, chromium_path):
    request = await shown()
    nest.writer.publish(request.id)
    path = nest.site / f"requests/{request.id}/index.html"
    wide, small = await anyio.to_thread.run_sync(lambda: tuple(right_edges(chromium_path, path)))
    assert len(wide) == 1 and min(wide) > 1000, wide
    assert len(small) == 1 and min(small) > 300, small
