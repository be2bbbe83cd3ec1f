"""`formicary help`: the same as --help, for those who ask in this order."""

import pytest


@pytest.mark.parametrize("words", [[], ["run"], ["hook", "install"], ["help"]], ids=" ".join)
def test_it_says_what_help_says(words, formicary):
    asked, said = formicary("help", *words), formicary(*words, "--help")
    assert (asked.code, asked.out) == (0, said.out)
    assert asked.out.startswith(" ".join(["Usage: formicary", *words]))


@pytest.mark.parametrize(
    ("words", "why"), [(["rnu"], "did you mean `run`?"), (["run", "x"], "`formicary run` has no commands below it")]
)
def test_a_command_that_is_not_there(words, why, formicary):
    said = formicary("help", *words)
    assert said.code == 2 and why in said.err
