"""How things look: aligned, cut where the terminal ends, harmless (T15)."""

import click
import pytest

from formicary.cli import format as form


def test_columns_are_aligned_whatever_they_hold():
    text = form.table([("a", click.style("red", fg="red"), "x"), ("日本", "b", "y")])
    assert [form.width(line) for line in text.splitlines()] == [12, 12]
    assert click.unstyle(text).splitlines()[0] == "a     red  x"


def test_a_narrow_terminal_cuts_the_last_column():
    text = form.table([("1", "COMPLETED", "a very long sentence that has no room")], wide=30)
    assert text == "1  COMPLETED  a very long sen…"


def test_heads_are_there_only_with_rows():
    assert form.table([], ("id", "name")) == ""
    assert click.unstyle(form.table([("1", "x")], ("id", "name"))).splitlines() == ["id  name", "1   x"]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x9b2Jx\x00\x08", "2Jx"),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
    ],
)
def test_what_others_wrote_cannot_steer_the_terminal(text, harmless):
    """T15: only colours stay."""
    assert form.harmless(text) == harmless


def test_ages_and_durations():
    at = "2026-01-01T00:00:00Z"
    then = form.moment(at)
    assert form.age(at, then + 0.5) == "now"
    assert form.age(at, then + 185) == "3 min 5 s ago"
    assert form.took(at, None, then + 90) == "1 min 30 s"
    assert (form.age(None), form.took(None, None)) == ("", "")


def test_no_spinner_where_no_terminal_is(capfd):
    with form.progress("waiting") as say:
        say("still waiting")
    assert capfd.readouterr() == ("", "")
