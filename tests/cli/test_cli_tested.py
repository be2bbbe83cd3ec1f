"""What `formicary status REQUEST` says of tests, beside why a task failed."""

import pytest

from formicary.cli.status import _task


def said(reason="", tested="", message=""):
    attempt = {"started_at": None, "ended_at": None, "error_message": message, "tested": tested}
    return _task({"task_type": "unit", "state": "FAILED", "reason": reason, "attempts": [attempt]})[-1]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"tested": "120 tests passed"}, "120 tests passed"),
        ({"reason": "it failed"}, "it failed"),
        ({"reason": "it failed", "tested": "3 of 9 tests failed: a"}, "it failed · 3 of 9 tests failed: a"),
        ({"reason": "it failed: 3 of 9 tests failed: a", "tested": "3 of 9 tests failed: a"},
         "it failed: 3 of 9 tests failed: a"),
        ({"message": "no shell", "tested": "1 test passed"}, "no shell · 1 test passed"),
    ],
)  # fmt: skip
def test_tests_are_told_once(fields, line):
    assert said(**fields) == line
