"""Which lines of a log are shown to somebody who is told of a failure."""

import pytest

from formicary.runner.core.logframes import frame
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.tail import LOOKED_AT, tail
from formicary.runner.telling.excerpt import excerpt

NOISE = "".join(f"line {number}\n" for number in range(100))


def test_what_the_script_marked_comes_first():
    written = f"{NOISE}Error: not this\n::error file=a.py,line=3::this one\n{NOISE}::error::and this\n"
    assert excerpt(written) == "this one\nand this"


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "E       AssertionError: 1 != 2",
        "FAILED tests/test_a.py::test_b",
        "--- FAIL: TestSum (0.00s)",
        "main.go:3:1: error: expected declaration",
        "error[E0308]: mismatched types",
        "panic: runtime error: index out of range",
        "fatal: not a git repository",
        "make: *** [all] Error 2",
        "java.lang.IllegalStateException: no",
        "not ok 3 - adds",
    ],
)
def test_the_first_line_that_looks_like_a_failure(line):
    shown = excerpt(f"{NOISE}{line}\n{NOISE}").splitlines()
    assert shown[2] == line and shown[:2] == ["line 98", "line 99"]
    assert len(shown) == 2 + 12


def test_else_the_last_lines():
    assert excerpt(f"{NOISE}\n\n").splitlines() == [f"line {number}" for number in range(80, 100)]
    assert excerpt("0 errors, 3 warnings\ndone\n") == "0 errors, 3 warnings\ndone"
    assert excerpt("") == ""


def test_it_is_bounded_and_without_the_ways_of_a_terminal():
    shown = excerpt("\n".join("é" * 1000 for _ in range(50)))
    assert len(shown.encode()) <= 2048 + len("\n…".encode()) and shown.endswith("…")
    written = "10%\r100%\r\n\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://evil\x1b\\link\x1b(B\x00\x08\u202e.\n"
    assert excerpt(written) == "100%\nred link."


@pytest.fixture
def logs(tmp_path):
    opened = Logs(tmp_path)
    yield opened
    opened.close_all()


def write(logs, *frames):
    data = b"".join(frame(1.0, stream, text) for stream, text in frames)
    assert logs.append("1-1", 0, data) == len(data)


def test_only_what_the_task_wrote_is_read(logs):
    write(logs, ("cmd", b"make"), ("out", b"one "), ("sys", b"ours"), ("out", b"two\n"))
    assert tail(logs, "1-1") == "one two\n"
    assert tail(logs, "9-9") == ""


def test_the_end_of_a_long_log_is_read_from_where_a_frame_begins(logs):
    """A log that holds what looks like a frame's header is no trap."""
    forged = b"x\n1.000 out 99999999\nx\n2.000 sys 3\nabc\n"
    write(logs, *[("out", b"%05d " % number + forged * 10) for number in range(4000)], ("out", b"the end\n"))
    assert logs.size("1-1") > LOOKED_AT
    read = tail(logs, "1-1")
    assert read.endswith("the end\n") and LOOKED_AT * 0.9 < len(read) <= LOOKED_AT
    assert tail(logs, "1-1", most=40).endswith("the end\n")
