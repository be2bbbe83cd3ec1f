"""Reports that a script has written: what they say, and what is not taken from bytes that may be anybody's."""

import io
import os

import pytest
from costs import within

from formicary.ant.below import Below
from formicary.ant.reports import events, junit, lines, reading
from formicary.ant.reports.events import Budget
from formicary.ant.reports.junit import Gathered
from formicary.ant.reports.lines import Lines
from formicary.ant.reports.unreadable import Unreadable
from formicary.runner.core.reports import Case, Coverage, FileLines, ReportFiles

#: As pytest 9 writes it.
PYTEST = """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1"
failures="1" skipped="1" tests="4" time="0.049" timestamp="2026-11-24T12:21:52.323306+00:00" hostname="vm"><testcase
classname="test_it" name="test_two" time="0.000" /><testcase classname="test_it" name="test_bad" time="0.001"><failure
message="AssertionError: three&#10;  is not well">&gt;   def test_bad(): assert double(3) == 7
E   AssertionError: three

test_it.py:4: AssertionError</failure></testcase><testcase classname="test_it" name="test_later" time="0.000"><skipped
type="pytest.skip" message="later">/src/test_it.py:5: later</skipped></testcase><testcase classname="test_it"
name="test_error" time="0.001"><error message="failed on setup with &quot;RuntimeError: no database&quot;">x</error>
</testcase></testsuite></testsuites>"""
#: As Maven's surefire writes it, shortened.
SUREFIRE = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" name="org.AppTest" time="0.05" tests="2" errors="0">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="works" classname="org.AppTest" time="1,234.5"><system-out><![CDATA[<hello>]]></system-out></testcase>
  <testcase name="fails" classname="org.AppTest" time="0.01">
    <failure type="java.lang.AssertionError"><![CDATA[java.lang.AssertionError
	at org.AppTest.fails(AppTest.java:9)]]></failure></testcase>
</testsuite>"""
#: As jest-junit writes it: the file stands on the test, or on its suite.
JEST = """<testsuites name="jest"><testsuite name="sum" file="sum.test.js" tests="2">
<testcase classname="sum adds" name="sum adds" time="0.002"/>
<testcase name="own" file="own.test.js"><failure>Error: expected 3</failure></testcase></testsuite></testsuites>"""
COBERTURA = """<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage version="7.17.4" lines-valid="99" line-rate="0.1"><sources><source>/tmp/covt</source></sources>
<packages><package name="src.pkg"><classes>
<class name="A" filename="src/a.py"><methods><method name="m"><lines><line number="1" hits="1"/></lines></method>
</methods><lines><line number="1" hits="1"/><line number="2" hits="0"/><line number="3" hits="7"/></lines></class>
<class name="B" filename="src/b.py"><lines><line number="8" hits="0"/></lines></class>
</classes></package></packages></coverage>"""
LCOV = """TN:
SF:/ws/src/a.py
FN:1,4,double
DA:1,1
DA:2,5,checksum
DA:9,0
LF:3
LH:2
end_of_record
SF:src/c.py
DA:1,1e+06
DA:2,-1
end_of_record
"""
BOMB = """<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><testsuite><testcase name="&c;"/></testsuite>"""
OUTSIDE = """<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&e;"/></testsuite>"""


def plain(text):
    return text


def cases_in(*texts, mask=plain):
    gathered = Gathered(mask)
    for text in texts:
        gathered.read(io.BytesIO(text.encode()), Budget())
    return gathered.tests()


def lines_in(*texts, root="/ws"):
    found = Lines(plain, root)
    for text in texts:
        found.read(io.BytesIO(text.encode()), Budget())
    return found.coverage()


# JUnit


def test_what_pytest_says():
    found = cases_in(PYTEST)
    assert (found.passed, found.failed, found.errors, found.skipped) == (1, 1, 1, 1)
    assert [(case.name, case.verdict) for case in found.cases] == [
        ("test_bad", "failed"),
        ("test_error", "error"),
        ("test_two", "passed"),
        ("test_later", "skipped"),
    ]
    assert found.cases[0].message.splitlines()[:3] == [
        "AssertionError: three",
        "  is not well",
        ">   def test_bad(): assert double(3) == 7",
    ]
    assert found.cases[3].message.startswith("later\n") and found.cases[0].seconds == 0.001


def test_what_surefire_and_jest_say():
    found = cases_in(SUREFIRE, JEST)
    assert (found.passed, found.failed, found.seconds) == (2, 2, 1234.512)
    own, works = found.cases[1], found.cases[2]
    assert found.cases[0].message.startswith("java.lang.AssertionError\n\tat org.AppTest")
    assert (own.file, own.seconds, own.message) == ("own.test.js", None, "Error: expected 3")
    assert works.seconds == 1234.5 and found.cases[3].file == "sum.test.js"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "entities"),
        (OUTSIDE, "entities"),
        ("<testsuite><testcase name='a'>", "not XML"),
        ("", "not XML"),
        ("PASS", "not XML"),
        ("<html></html>", "no JUnit report"),
        ("<coverage/>", "no JUnit report"),
        ("<?xml version='1.0' encoding='no-such'?><testsuite/>", "cannot be read|not XML"),
        ("<testsuite>" + "<a>" * 200, "deeper"),
        ("<testsuite><testcase>" + "<a/>" * 2000 + "</testcase></testsuite>", "deeper"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_not_taken(text, why):
    with pytest.raises(Unreadable, match=why):
        cases_in(text)


def test_strange_values():
    text = """<testsuite><testcase time="NaN"/><testcase name="a&#9;b" time="x"/><testcase name="n" time="-1"/>
    <t:testcase xmlns:t="urn:t" name="spaced"><t:failure message="m"/></t:testcase></testsuite>"""
    found = cases_in(text)
    assert [case.name for case in found.cases] == ["spaced", "(no name)", "a b", "n"]
    assert {case.seconds for case in found.cases} == {None} and found.failed == 1


def test_secrets_are_masked_before_anything_is_cut():
    """T8."""
    secret = "hunter2-hunter2"
    text = f'<testsuite><testcase name="{"n" * (junit.MOST_NAME - 5)}{secret}"><failure>no {secret} there</failure>'
    found = cases_in(text + "</testcase></testsuite>", mask=lambda said: said.replace(secret, "***"))
    assert secret[:5] not in found.model_dump_json() and found.cases[0].message == "no *** there"


def test_many_tests_are_counted_and_the_failed_ones_kept():
    good = '<testcase name="good" classname="c" time="0.1"/>' * 5000
    bad = '<testcase name="bad"><failure>' + "long line\n" * 1000 + "</failure></testcase>"
    found = cases_in(f"<testsuite>{good}{bad * 300}</testsuite>")
    assert (found.passed, found.failed, len(found.cases)) == (5000, 300, junit.MOST_CASES)
    assert [case.verdict for case in found.cases[:301]] == ["failed"] * 300 + ["passed"]
    assert found.cases[0].message.count("\n") < junit.MOST_LINES
    assert len(found.model_dump_json()) < 1 << 20


def test_a_large_report_is_quick_and_small_in_memory():
    case = '<testcase name="test_something_longer[a-b-c]" classname="tests.some.module" time="0.012"/>'
    text = f"<testsuites><testsuite>{case * 50_000}</testsuite></testsuites>".encode()
    gathered = Gathered(plain)
    within(4.0, lambda: gathered.read(io.BytesIO(text), Budget()))
    assert gathered.counts["passed"] >= 50_000 and len(gathered.others) == junit.MOST_CASES


def test_elements_without_end(monkeypatch):
    with pytest.raises(Unreadable, match="too long"):
        Gathered(plain).read(io.BytesIO(b"<testsuite>" + b"<a/>" * 1000 + b"</testsuite>"), Budget(500))


# Lines


def test_lines_of_both_kinds_are_one_union():
    found = lines_in(COBERTURA, LCOV)
    assert found == Coverage(
        covered=4,
        valid=7,
        files=(
            FileLines(path="src/a.py", covered=3, valid=4),
            FileLines(path="src/b.py", covered=0, valid=1),
            FileLines(path="src/c.py", covered=1, valid=2),
        ),
    ), "line 2 of a.py ran in one of the two; line 1 of a method is not counted twice"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "entities"),
        ("", "no line of it begins with SF:"),
        ("DA:1,1\n", "no line of it begins with SF:"),
        ("<report name='jacoco'/>", "neither Cobertura nor LCOV.*<report>"),
        ('<coverage generated="1"><project/></coverage>', "neither Cobertura nor LCOV"),
        ("<coverage><class filename='a'><line number='1' hits='1'/>", "not XML"),
    ],
    ids=lambda value: value[:12],
)
def test_lines_that_are_not_taken(text, why):
    with pytest.raises(Unreadable, match=why):
        lines_in(text)


def test_lines_that_are_none():
    assert lines_in("SF:a\nDA:x,1\nDA:-1,1\nDA:1\nDA:9999999999,1\nDA:2,many\nend_of_record\nDA:5,1\n").files == (
        FileLines(path="a", covered=0, valid=2),
    )


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [("MOST_LINES", "SF:a\n" + "".join(f"DA:{n},1\n" for n in range(20)), "too many lines"),
     ("MOST_SEEN", "".join(f"SF:{n}\n" for n in range(20)), "too many files")],
)  # fmt: skip
def test_bounds_of_lines(monkeypatch, name, text, why):
    monkeypatch.setattr(lines, name, 10)
    with pytest.raises(Unreadable, match=why):
        lines_in(text)


# From the workspace


def test_from_a_workspace(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/a.xml").write_text(PYTEST)
    (tmp_path / "reports/b.xml").write_text(JEST)
    (tmp_path / "reports/broken.xml").write_text("<testsuite>")
    (tmp_path / "lcov.info").write_text(LCOV)
    warnings = []
    wanted = ReportFiles(junit=("reports/*.xml", "reports/a.xml", "none/*.xml"), coverage=("lcov.info", "../x"))
    with Below(tmp_path) as below:
        found = reading.read(below, "", wanted, str(tmp_path), plain, warnings.append)
    tally = found.tally()
    assert (tally.tests, tally.bad, tally.skipped, tally.covered, tally.valid) == (6, 3, 1, 3, 5)
    assert tally.failing == "3 of 6 tests failed: test_bad" and tally.share == "60.0%"
    assert [text[:40] for text in warnings] == [
        "reports: junit: reports/broken.xml is no",
        "reports: junit: 'none/*.xml' matches not",
        "reports: coverage: '../x' does not lie i",
    ]


def test_links_and_devices_are_not_followed(tmp_path):
    """T11: a report is a file of the workspace, and nothing that a link leads to."""
    (tmp_path / "secret.xml").write_text(PYTEST)
    work = tmp_path / "work"
    work.mkdir()
    (work / "link.xml").symlink_to(tmp_path / "secret.xml")
    os.mkfifo(work / "pipe.xml")
    (work / "folder").symlink_to(tmp_path)
    warnings = []
    with Below(work) as below:
        wanted = ReportFiles(junit=("*.xml", "link.xml", "folder/secret.xml"))
        assert reading.read(below, "", wanted, str(work), plain, warnings.append) is None
    assert len(warnings) == 3


def test_bounds_of_a_workspace(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_FILES", 3)
    for number in range(20):
        (tmp_path / f"{number:02}.xml").write_text(JEST)
    warnings = []
    with Below(tmp_path) as below:
        found = reading.read(below, "", ReportFiles(junit=("*.xml",)), str(tmp_path), plain, warnings.append)
    assert found.tally().tests == 6 and len(warnings) == reading.MOST_WARNINGS + 1
    monkeypatch.setattr(reading, "MOST_BYTES", len(JEST) + 1)
    with Below(tmp_path) as below:
        found = reading.read(below, "", ReportFiles(junit=("*.xml",)), str(tmp_path), plain, warnings.append)
    assert found.tally().tests == 2


# A whole task


async def test_a_task_that_fails_tells_its_tests(colony, an_order):
    script = f"mkdir -p out; cat > out/junit.xml <<'EOF'\n{PYTEST}\nEOF\necho '{LCOV}' > lcov.info; exit 1"
    wanted = ReportFiles(junit=("out/*.xml",), coverage=("lcov.info", "coverage.xml"))
    order = an_order("SHELL", script=(script,), reports=wanted, order={"secrets": {"Word": "no database"}})
    report = await colony.do(order)
    result = report.result
    assert result.exit_code == 1 and result.reports.tests.failed == 1
    assert result.reports.tests.cases[1] == Case(
        name="test_error", classname="test_it", verdict="error", seconds=0.001,
        message='failed on setup with "RuntimeError: ***"\nx',
    )  # fmt: skip
    assert result.warnings == ("reports: coverage: 'coverage.xml' matches nothing.",)
    said = colony.desk.sys(order.task_execution_id)
    assert "Reports: 4 tests, 2 failed, 1 skipped; 60.0% of 5 lines covered." in said
    assert "Warning: reports: coverage: 'coverage.xml' matches nothing." in said


async def test_a_task_without_reports_looks_for_none(colony, an_order):
    report = await colony.do(an_order("SHELL", script=("true",)))
    assert report.result.reports is None and report.result.warnings == ()


def test_budget_is_of_all_files():
    budget = Budget(events.MOST_ELEMENTS)
    Gathered(plain).read(io.BytesIO(JEST.encode()), budget)
    assert budget.elements == events.MOST_ELEMENTS - 5
