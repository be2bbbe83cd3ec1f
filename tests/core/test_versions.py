"""Versions of plugins: how they look, in which order they come, and which one is wanted."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formicary.runner.core.load import load
from formicary.runner.core.versions import is_wanted, newest, read_version, suits

ORDER = ["0.9", "1.0-dev", "1.0-rc1", "1.0-rc2", "1.0", "1.0.1-rc", "1.0.1", "1.2", "1.10", "2.0-dev", "2.0"]


def test_they_come_in_this_order():
    assert all(read_version(one) < read_version(two) for one, two in pairwise(ORDER))
    assert read_version("1.2") == read_version("1.2.0") == read_version(" 1.2 ")
    assert [read_version(text).released for text in ("1.0-dev", "1.0rc1", "1.0")] == [False, False, True]


@pytest.mark.parametrize("text", ["", "1", "v1.2", "1.2.3.4", "1.2-beta", "1.2-1", "1.²", "1.2\n3", "^1.2", "latest"])
def test_what_is_no_version(text):
    assert read_version(text) is None


WANTED = [
    ("", "2.0"),
    ("1.0", "1.0"),
    ("1.0.0", "1.0"),
    ("1.0-rc1", "1.0-rc1"),
    ("^1.0", "1.10"),
    ("^1.3", "1.10"),
    ("^0.9", "0.9"),
    ("^2.1", None),
    ("3.0", None),
]


@pytest.mark.parametrize(("wanted", "found"), WANTED, ids=str)
def test_the_newest_that_is_wanted(wanted, found):
    assert newest(wanted, [(text, text) for text in ORDER]) == found
    assert not wanted or is_wanted(wanted)


NUMBERS = st.integers(0, 30)
VERSIONS = st.builds("{}.{}.{}{}".format, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(("", "-dev", "-rc1", "-rc12")))


@given(VERSIONS, VERSIONS)
def test_a_caret_never_leads_to_another_major_version_nor_back(one, other):
    least, version = read_version(one), read_version(other)
    assert read_version(least.plain) == least
    if least.released and suits(f"^{one}", version):
        assert version.released and version >= least and version.major == least.major
        assert least.major or version.minor == least.minor
    assert suits(one, version) == (least == version)


WRONG = [
    ("job_type: y\nsem_version: 1\nscript: [x]", "`1` is not a version"),
    ("job_type: io.x.y\npublic_plugin: true\nscript: [x]", "A public plugin needs a version"),
    (
        "job_type: y\npublic_plugin: true\nsem_version: 1.0\nscript: [x]",
        "does not begin with the organization's bundle",
    ),
    ("job_type: y\nmethod: FORK_JOB\nfork_job_type: x\nfork_job_version: ~1", "`~1` says no version"),
    ("job_type: y\nscript: [x]\nfork_job_version: '1.0'", "is for tasks of the method FORK_JOB"),
    (
        "job_type: y\nscript: [x]\nfan_out: {source: a, item_var: b, fork_job_version: 1.0}",
        "without a job says nothing",
    ),
    ("job_type: y\nsem_version: '{{ V }}'\nscript: [x]", "may not hold a template"),
]


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_wrong_is_told_at_its_place(text, told):
    (loaded,) = load(text, path="f.yml")
    assert any(told in problem.message and problem.line for problem in loaded.problems), loaded.problems


@pytest.mark.parametrize("dialect", ["native", "go"])
def test_a_version_is_the_text_that_stands_there(dialect):
    (loaded,) = load(
        "job_type: io.x.y\npublic_plugin: true\nsem_version: 1.10\nscript: [x]", path="f.yml", dialect=dialect
    )
    assert loaded.definition.sem_version == "1.10" and loaded.definition.public_plugin
