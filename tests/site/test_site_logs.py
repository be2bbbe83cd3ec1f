"""Logs on pages: T15 (escapes), groups, annotations, the end of long ones, and reading on."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.core import logframes
from formicary.runner.core.errors import NotFound
from formicary.runner.queen.keeping.logs import log_path
from formicary.site import ansi
from formicary.site.logtail import Cursor, began, read_on, read_tail
from formicary.site.logview import Closed, Opened, Shown, failing_lines, log_part


def write(path, *frames):
    with path.open("ab") as file:
        for index, (stream, data) in enumerate(frames):
            file.write(logframes.frame(100.0 + index, stream, data if isinstance(data, bytes) else data.encode()))
    return path


def texts(lines):
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&#34;&#39;"),
        ("\x1b[31mred\x1b[0m plain", '<span class="f1">red</span> plain'),
        ("\x1b[1;92mbold\x1b[22mthin", '<span class="sb f10">bold</span><span class="f10">thin</span>'),
        ("\x1b[38;5;196mx", '<span class="f1">x</span>'),
        ("\x1b[38;2;0;0;0;4mx", '<span class="su f0">x</span>'),
        ("\x1b[7mx", '<span class="sv">x</span>'),
        ("\x1b[31;41;7mx", '<span class="f1 b1">x</span>'),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x9b31mred", '<span class="f1">red</span>'),
        ("\x1b[2J\x1b[10;10Hx\x1b[?1049h", "x"),
        ("\x1b[31", "31"),
        ("10%\r50%\r100%\r", "100%"),
        ("a\x00\x08\x7fb\tc", "ab\tc"),
        ("user\u202etxt.exe", "user\ufffdtxt.exe"),
        ("\x1b[999999999999999999999;;;38m\x1b[38;9mx", "x"),
        ('\x1b["><script>m', ""),
    ],
)
def test_only_colours_are_rendered_and_all_else_is_escaped(text, html):
    """T15"""
    found = ansi.to_html(text)[0]
    if html:
        assert found.replace("&quot;", "&#34;").replace("&#x27;", "&#39;") == html
    assert "<script" not in found


@given(st.text(alphabet=st.sampled_from('\x1b[]0123456789;m<>"&\x07\\\x9b\x9dPa \u202e\r'), max_size=60))
@settings(max_examples=400, deadline=None)
def test_whatever_a_log_holds_only_our_own_markup_comes_out(text):
    """T15"""
    html = ansi.to_html(text)[0]
    bare = re.sub(r'<span class="[a-z0-9 ]+">|</span>', "", html)
    assert not re.search(r"[<>\x1b\x9b\x9d\x07]", bare)


def test_frames_break_lines_anywhere(tmp_path):
    path = write(
        tmp_path / "a.log",
        ("out", "one\ntw"),
        ("out", "o\n\n"),
        ("out", "é".encode()[:1]),
        ("out", "é".encode()[1:] + b"!"),
    )
    tail = read_tail(path, ended=True)
    assert texts(tail.lines) == ["one", "two", "", "é!"] and tail.total == 4
    assert texts(read_tail(path, ended=False).lines) == ["one", "two", ""]


def test_streams_are_told_apart_and_end_each_others_lines(tmp_path):
    path = write(tmp_path / "a.log", ("sys", "hello"), ("cmd", "make\n"), ("out", "no newline"), ("sys", "exit code 0"))
    assert [(line.stream, line.text) for line in read_tail(path, ended=True).lines] == [
        ("sys", "hello"), ("cmd", "make"), ("out", "no newline"), ("sys", "exit code 0"),
    ]  # fmt: skip


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read_tail(tmp_path / "none.log", ended=True).lines == ()
    (tmp_path / "empty.log").touch()
    assert read_tail(tmp_path / "empty.log", ended=True).total == 0
    assert read_on(tmp_path / "none.log", Cursor(), ended=True) == ([], Cursor())
    assert began(tmp_path / "none.log") == 0.0


def test_of_a_huge_log_only_the_end_is_held_with_true_numbers(tmp_path):
    """200,000 lines never reach the page."""
    path = tmp_path / "a.log"
    with path.open("wb") as file:
        for index in range(200):
            body = b"".join(b"line %d\n" % number for number in range(index * 1000 + 1, index * 1000 + 1001))
            file.write(logframes.frame(100.0 + index, "out", body))
    part = log_part(path, ended=True)
    assert part.total == 200_000 and len(part.items) == 2000 and part.hidden == 198_000
    assert str(part.items[-1].html) == "line 200000" and part.items[0].number == 198_001
    assert part.items[0].clock == "3:18.0"


def test_one_endless_line_is_cut(tmp_path):
    path = write(tmp_path / "a.log", ("out", "x" * 50_000 + "\nnext\n"))
    first, second = read_tail(path, ended=True).lines
    assert len(first.text) < 4200 and "50000 bytes" in first.text and second.text == "next"


def test_a_damaged_log_shows_what_is_whole_and_says_so(tmp_path):
    path = write(tmp_path / "a.log", ("out", "good\n"))
    with path.open("ab") as file:
        file.write(b"no frame at all " * 10)
    tail = read_tail(path, ended=True)
    assert texts(tail.lines) == ["good"] and "no log frame" in tail.damaged


def test_groups_fold_and_annotations_are_told(tmp_path):
    lines = "::group::a <b>\nin\n::group::b\n::endgroup::\n::error file=x.py,line=3::bad <i>\n"
    lines += "::warning::hm\n::add-mask::s3cret\n::endgroup::\n"
    part = log_part(write(tmp_path / "a.log", ("out", lines)), ended=True)
    kinds = [type(item).__name__ if isinstance(item, Opened | Closed) else item.kind for item in part.items]
    assert kinds == ["Opened", "out", "Closed", "Opened", "Closed", "error", "warning", "sys"]
    error = part.annotations[0]
    assert (error.place, str(error.html), error.number) == ("x.py:3", "bad &lt;i&gt;", 5)
    assert "s3cret" not in str(part.items)


def test_a_group_that_is_open_is_closed_for_the_page(tmp_path):
    part = log_part(write(tmp_path / "a.log", ("out", "::group::a\nin\n")), ended=False)
    assert isinstance(part.items[-1], Closed) and part.grouped


def test_commands_in_other_streams_are_text(tmp_path):
    part = log_part(write(tmp_path / "a.log", ("cmd", "echo ::error::x\n"), ("sys", "::group::x\n")), ended=True)
    assert [item.kind for item in part.items] == ["cmd", "sys"]


def test_the_lines_to_read_first(tmp_path):
    out = (
        "".join(f"ok {n}\n" for n in range(30)) + "0 errors so far\nabout to\nError: no trail\nstack\n" + "more\n" * 30
    )
    found = failing_lines(write(tmp_path / "a.log", ("out", out), ("sys", "exit code 1")))
    assert [str(item.html) for item in found][:3] == ["about to", "Error: no trail", "stack"] and len(found) == 12
    quiet = failing_lines(write(tmp_path / "b.log", ("out", "".join(f"{n}\n" for n in range(30)))))
    assert [str(item.html) for item in quiet] == [str(n) for n in range(18, 30)]
    assert all(isinstance(item, Shown) for item in found)


FRAMES = st.lists(
    st.tuples(st.sampled_from(["out", "out", "out", "cmd", "sys"]), st.text(alphabet="ab\n", max_size=6)), max_size=12
)


@given(FRAMES, st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_reading_on_gives_every_line_once(tmp_path_factory, frames, cut):
    """D13: wherever the page was made and however the stream was cut, no line is lost or doubled."""
    path = tmp_path_factory.mktemp("log") / "a.log"
    path.touch()
    write(path, *frames[:cut])
    tail = read_tail(path, ended=False)
    got, cursor = list(tail.lines), tail.cursor
    for frame in frames[cut:]:
        write(path, frame)
        more, cursor = read_on(path, Cursor.parse(str(cursor)), ended=False)
        got += more
    more, _ = read_on(path, cursor, ended=True)
    whole = read_tail(path, ended=True)
    assert texts(got + more) == texts(whole.lines)
    assert [line.number for line in got + more] == list(range(1, whole.total + 1))


@given(FRAMES, st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_the_end_of_a_log_is_the_end_of_all_of_it(tmp_path_factory, frames, most):
    path = tmp_path_factory.mktemp("log") / "a.log"
    path.touch()
    write(path, *frames)
    whole, end = read_tail(path, ended=True), read_tail(path, ended=True, max_lines=most)
    assert end.lines == whole.lines[-most:] and end.total == whole.total


def test_a_frame_longer_than_the_buffer_is_read(tmp_path):
    path = write(tmp_path / "a.log", ("out", "x" * 5000 + "\n"))
    lines, cursor = read_on(path, Cursor(), ended=False, max_bytes=100)
    assert len(lines) == 1 and cursor.shown == 1


def test_a_log_that_was_replaced_by_a_shorter_one_is_no_crash(tmp_path):
    path = write(tmp_path / "a.log", ("out", "one\n"))
    assert read_on(path, Cursor(5000, 9, 9), ended=True)[0] == []
    assert read_on(path, Cursor(9, 0, 0), ended=True)[0] == []


@pytest.mark.parametrize("name", ["../1", "1/2", "", ".", "..", "a\0", "-/"])
def test_an_id_never_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(NotFound, match="no task execution"):
        log_path(tmp_path, name)


@pytest.mark.parametrize("text", ["", "1", "1-2", "1-2-x", "-1-2-3", "9" * 20 + "-1-1", "1-2-3-4"])
def test_a_cursor_that_is_none_is_the_start(text):
    assert Cursor.parse(text) == Cursor()
