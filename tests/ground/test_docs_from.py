"""docs/from: what people know from elsewhere, in our keys. What is named as ours is there."""

import re

import pytest

from formicary.runner.core import definition as model
from formicary.runner.core.load import load
from formicary.runner.core.loading.keys import TRIGGERS
from formicary.runner.core.schema import TABLES

PAGES = ("gitlab-ci", "github-actions", "woodpecker", "go-formicary")
KEYS = {name for one in TABLES.values() for name in one.table.keys} | {"tasks", "max_parallel", "fail_fast"}


def page(root, name):
    return (root / "docs" / "from" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_every_key_that_is_called_ours_is_there(root, rows, names, name):
    said = rows(page(root, name), "theirs")
    assert len(said) >= 20
    for theirs, ours, _ in said:
        assert theirs and ours
        assert {word for word in names(ours) if re.fullmatch(r"[a-z]+(_[a-z]+)*", word)} - KEYS <= {"export"}, theirs


@pytest.mark.parametrize("name", PAGES)
def test_what_it_says_is_not_supported_is_not(root, rows, names, name):
    """A row goes when the key comes: nothing of it may be a key of ours."""
    for theirs, ours, _ in rows(page(root, name), "theirs"):
        if ours == "not supported" and name == "go-formicary":
            assert not set(names(theirs)) & KEYS, theirs
            assert not set(names(theirs)) & model.METHODS, theirs


#: Words of theirs that mean something else here.
OTHERWISE = {"environment", "release"}


@pytest.mark.parametrize("name", PAGES[:3])
def test_what_has_come_is_not_said_to_be_missing(root, rows, names, name):
    for theirs, ours, _ in rows(page(root, name), "theirs"):
        if ours == "not supported":
            assert not set(names(theirs)) & (KEYS | set(TRIGGERS.keys)) - OTHERWISE, theirs


def written(root, name):
    """(key, text) of each `key: value` of ours in the table."""
    marked = page(root, name).split("<!-- theirs -->")[1].split("\n\n")[0]
    for line in marked.splitlines()[2:]:
        for text in re.findall(r"`([a-z_]+: [^`]+)`", "|".join(line.split("|")[2:])):
            yield text.partition(":")[0], text


@pytest.mark.parametrize("name", PAGES)
def test_what_it_writes_in_a_cell_is_right(root, name):
    """A snippet is taken as it stands: it is loaded, as a key of a task or of the job."""
    for key, text in written(root, name):
        assert key in KEYS | {"except"}, text
        ways = [f"{text}\n{beside}" for beside in ("script: [x]", "fork_job_type: b", "")]
        found = [load(f"job_type: a\n{way}\n", path="f.yml")[0].problems for way in ways]
        assert () in found, (text, found)


@pytest.mark.parametrize("name", PAGES)
def test_its_example_is_translated(root, name):
    found = re.findall(r"^```yaml\n(.*?)^```$", page(root, name), re.M | re.S)
    assert len(found) == 1
    (loaded,) = load(found[0], path=f"{name}.md", fragments={})
    assert loaded.problems == () and loaded.warnings == () and len(loaded.definition.tasks) == 2


def test_the_original_s_runs_as_it_is(root):
    theirs = re.findall(r"^```text\n(.*?)^```$", page(root, "go-formicary"), re.M | re.S)[0]
    (loaded,) = load(f"template: go\n{theirs}", path="f.yml", fragments={})
    assert loaded.problems == () and [task.task_type for task in loaded.definition.tasks] == ["compile", "publish"]
