"""Patterns of paths: the same as ever, and quick whatever they look like."""

import re

import pytest
from costs import within
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.ant import globs


def plainly(pattern):
    """As one would write it without a thought for time."""
    parts = pattern.strip("/").split("/")
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:.*/)?"
        else:
            name = "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in part)
            text += name + ("" if last else "/")
    return re.compile(text, re.DOTALL)


PARTS = st.lists(
    st.sampled_from(["**", "*", "a", "b", "*a", "a*", "a*b", "*a*", "?", "a?b*a", "**a"]), min_size=1, max_size=6
)
PATHS = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6)


@settings(max_examples=1500, deadline=None)
@given(PARTS, PATHS)
def test_they_match_what_they_say(parts, path):
    pattern, name = "/".join(parts), "/".join(path)
    assert bool(globs.matcher(pattern).fullmatch(name)) == bool(plainly(pattern).fullmatch(name))
    below = re.compile(f"(?:{plainly(pattern).pattern})(?:/.*)?", re.DOTALL)
    assert bool(globs.below(pattern).fullmatch(name)) == bool(below.fullmatch(name))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*a" * 100 + "b", "a" * 250),
        ("**/" + "a/**/" * 50 + "b", "a/" * 140 + "c"),
        ("**/*a*a*a*/**/*b*b*b*/**/c", "aaaaab/" * 100 + "d"),
        ("?*" * 100 + "x", "a" * 250),
    ],
    ids=lambda value: value[:12],
)
def test_no_pattern_takes_long(pattern, name):
    """T11, T18: both are the task's own, and other tasks wait for the same ant."""
    assert within(0.1, lambda: globs.matcher(pattern).fullmatch(name)) is None
    assert within(0.1, lambda: globs.below(pattern).fullmatch(name)) is None
