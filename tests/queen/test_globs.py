"""Globs of triggers and of `when`: as in .gitignore, and quick whatever they look like."""

import random

import pathspec
import pytest
from costs import within
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.queen.arriving.globs import Globs, globs_of

LETTERS = "ab*?/.!["


@pytest.mark.parametrize(
    ("globs", "yes", "no"),
    [
        (["src/**"], ["src/a", "src/b/c"], ["src", "other/src/a", "a"]),
        (["*.py", "!test_*"], ["a.py", "d/a.py"], ["test_a.py", "d/test_a.py"]),
        (["release/*"], ["release/1"], ["release", "x/release/1"]),
        (["main"], ["main"], ["maintain"]),
        (["v[0-9]*"], ["v1", "v1.2"], ["va"]),
        (["**"], ["a", "a/b"], []),
        ([], [], ["a"]),
    ],
)
def test_they_mean_what_they_mean_there(globs, yes, no):
    found = Globs(globs)
    assert [found.match(name) for name in yes + no] == [True] * len(yes) + [False] * len(no)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(LETTERS, max_size=8), max_size=6), st.text("ab/.", min_size=1, max_size=10))
def test_both_engines_agree(globs, name):
    try:
        simple = pathspec.GitIgnoreSpec.from_lines(globs, backend="simple").match_file(name)
    except ValueError:  # one of them is no glob, such as `!` alone
        simple = Globs([glob for glob in globs if glob.strip("!/")]).match(name)
    assert Globs(globs).match(name) == simple


def test_no_glob_takes_long():
    """T18: Python's own engine does not come back from this one."""
    assert within(0.2, lambda: Globs(["*a" * 40 + "b"]).match("a" * 200)) is False


def test_long_lists_and_long_globs():
    chance = random.Random(1)
    many = ["".join(chance.choice("abcdefgh*?") for _ in range(50)).replace("**", "*x") for _ in range(3000)]
    found = Globs([*many, "src/**", "!src/secret"])
    assert found.match("src/a") and not found.match("src/secret")
    assert not Globs(["?" * 60_000]).match("a"), "nothing is that long"
    assert Globs(["!", "a"]).match("a"), "what is no glob is left out"


def test_a_list_is_read_once():
    assert globs_of(("a", "b")) is globs_of(("a", "b"))
