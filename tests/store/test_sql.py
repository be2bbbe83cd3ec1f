"""The shape of SQLite's tables and statements: columns, indexes, limits, names."""

import re
from pathlib import Path

import pytest

from formicary.runner.store import rows, schema
from formicary.runner.store.connect import open_query_only
from formicary.runner.store.lists import RequestFilter, page_of_ids, rows_of, totals
from formicary.runner.store.sql import QUERIES, SQL, parse
from formicary.runner.store.sqlite import open_store

STORE = Path(schema.__file__).parent


@pytest.fixture
def database(tmp_path):
    open_store(tmp_path).close()
    connection = open_query_only(tmp_path)
    yield connection
    connection.close()


SHAPES = {
    "repositories": rows.REPOSITORY,
    "refs": rows.REF,
    "versions": rows.VERSION,
    "definitions": rows.DEFINITION,
    "requests": rows.REQUEST,
    "artifacts": rows.ARTIFACT,
    "deliveries": rows.DELIVERY,
    "pull_requests": rows.PULL_REQUEST,
    "secrets": rows.SECRET,
    "tokens": rows.TOKEN,
    "outbox": rows.OUTBOX,
    "leases": rows.LEASE,
    "error_codes": rows.ERROR_CODE,
    "reports": rows.REPORT,
    "report_cases": rows.REPORT_CASE,
    "report_lines": rows.REPORT_LINES,
}


@pytest.mark.parametrize("table", SHAPES)
def test_a_table_has_a_column_for_every_field_and_no_other(database, table):
    """Columns are the fields of the record; leases know their organization besides, secrets their sealed value."""
    columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    assert columns - {"organization_id", "sealed"} == set(SHAPES[table].fields) - {"organization_id"}


WITHOUT_ORGANIZATION = {"store", "refs", "crons", "request_secrets", "plans", "loose_digests", "pull_requests", "kept"}
WITHOUT_ORGANIZATION |= {"report_cases", "report_lines", "execution_parts", "lists", "calls"}
"""The store itself, parts that are only reached through a row that has one, and calls, which are a token's."""


def test_every_table_that_needs_it_knows_its_organization(database):
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    ours = {name for name in tables if not name.startswith(("sqlite_", "_sqlite", "requests_fts"))}
    without = {
        name
        for name in ours
        if "organization_id" not in {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
    }
    assert without == WITHOUT_ORGANIZATION


# The queries

SMALL = {
    "store",
    "sqlite_sequence",
    "CONSTANT",
    "leases",
    "secrets",
    "repositories",
    "resources",
    "definitions",
    "plugins",
    "tokens",
    "ended",
    "loose",
    "outbox",
    "loose_digests",
    "refs",
}
"""Tables that stay small, or (outbox) whose list is walked by its key."""


def plan_of(database, text):
    names = dict.fromkeys(re.findall(r":(\w+)", text))
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {text}", names)]


def scans(plan):
    """Tables that are read whole: a walk along an index, or by id up to a limit, is none."""
    return {step.split()[1] for step in plan if step.startswith("SCAN") and "USING" not in step}


@pytest.mark.parametrize("name", [name for name in QUERIES if not SQL[name].startswith("INSERT")])
def test_no_statement_reads_a_big_table_whole(database, name):
    """D14: every list has an index; nothing is sorted that may be long."""
    plan = plan_of(database, SQL[name])
    assert not scans(plan) - SMALL, plan
    if name not in {"definition_of_repository", "definitions_named", "count_ended", "live_executions"}:
        assert not [step for step in plan if "TEMP B-TREE" in step], plan


@pytest.mark.parametrize("name", [n for n in QUERIES if SQL[n].startswith("SELECT") and "ORDER BY" in SQL[n]])
def test_every_list_has_a_limit(name):
    """D14."""
    assert "LIMIT" in SQL[name]


WANTED = [
    RequestFilter(),
    RequestFilter(organization_id="o"),
    RequestFilter(repository_id=1),
    RequestFilter(repository_id=1, job_type="j"),
    RequestFilter(job_type="j"),
    RequestFilter(ref="r"),
    RequestFilter(commit="c"),
    RequestFilter(states=("FAILED",)),
    RequestFilter(states=("FAILED", "PENDING")),
    RequestFilter(states=("FAILED", "PENDING"), organization_id="o", job_type="j", ref="r"),
    RequestFilter(q="word"),
    RequestFilter(q="word", states=("FAILED", "PENDING")),
]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_lists_of_requests_walk_an_index(database, wanted):
    """D14: only the list without any filter walks the table, by id and up to its limit."""
    statement = page_of_ids(wanted, 0, 200)
    scanned = scans(plan_of(database, statement.text))
    if wanted != RequestFilter():
        assert "requests" not in scanned
    for total in totals(wanted):
        assert "requests" not in scans(plan_of(database, total.text))
    assert "requests" not in scans(plan_of(database, rows_of([1, 2], "-id").text))


def test_every_statement_says_what_it_is_for_and_is_used():
    sources = "".join(path.read_text() for path in STORE.glob("*.py"))
    for query in QUERIES.values():
        assert query.purpose.endswith("."), query.name
        assert f'"{query.name}"' in sources, f"{query.name} is used by nobody"
    with pytest.raises(ValueError, match="two statements called a"):
        parse("-- name: a\n-- One.\nSELECT 1\n\n-- name: a\n-- Two.\nSELECT 2\n")


def test_a_field_without_a_column_kind_is_refused_at_the_start():
    class Odd(rows.Record):
        when: complex

    with pytest.raises(TypeError, match="no column kind"):
        rows.Shape(Odd)
