"""docs/cookbook.md is made from the examples, and leaves none of them out."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def made(root):
    spec = importlib.util.spec_from_file_location("docs_recipes", root / "docs" / "recipes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_one_that_make_docs_writes(made):
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run `make docs`"


def test_every_example_stands_in_one_group(made):
    grouped = [name for names in made.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(path.stem for path in made.FOLDER.glob("*.yml"))
    assert len(grouped) >= 30


def test_what_each_shows_is_said_in_sentences(made):
    for names in made.GROUPS.values():
        for name in names:
            lines = made.about(name)
            assert len(lines) >= 2 and lines[-1].endswith("."), f"{name}.yml does not begin with what it shows"
