"""docs/from: what people know from elsewhere, in our keys. What is named as ours is there."""

import re

import pytest

from formicary.runner.core import definition as model
from formicary.runner.core.load import load
from formicary.runner.core.schema import TABLES

PAGES = ("gitlab-ci", "github-actions", "woodpecker", "go-formicary")
KEYS = {name for one in TABLES.values() for name in one.table.keys} | {"tasks", "max_parallel", "fail_fast"}
NOT_YET = model.JOB_KEYS_NOT_YET | model.TASK_KEYS_NOT_YET


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
            assert not set(names(theirs)) & (KEYS - NOT_YET), theirs
            assert not set(names(theirs)) & model.METHODS, theirs


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
