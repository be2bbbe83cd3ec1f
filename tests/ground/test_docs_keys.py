"""The tables of keys in docs/language.md are made from what the JSON Schema is made from."""

import importlib.util
import re

import pytest

from formicary.runner.core.loading.keys import DEFAULTS
from formicary.runner.core.schema import TABLES


def module_at(path):
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(root):
    return module_at(root / "docs" / "keys.py")


def test_the_reference_is_the_one_that_make_docs_writes(root):
    reference = module_at(root / "docs" / "reference.py")
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `make docs`"


def test_every_key_has_its_row_with_an_example(root):
    """Nothing of the language is left out of the reference, in any table."""
    page = (root / "docs" / "reference.md").read_text(encoding="utf-8")
    sections = page.split("\n## ")[1:]
    assert len(sections) == len(TABLES)
    for section, (name, described) in zip(sections, TABLES.items(), strict=True):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.M))
        assert set(described.table.keys) - set(DEFAULTS) <= set(rows), name
        for key, row in rows.items():
            assert len([cell for cell in re.split(r"(?<!\\) \| ", row) if cell.strip()]) == 4, f"{name} {key}"


def test_the_tables_are_those_that_make_docs_writes(made):
    page = made.PAGE.read_text(encoding="utf-8")
    assert made.filled(page) == page, "run `make docs`; what a key means stands in runner/core/loading/meanings.py"


def test_a_table_that_says_something_else_is_written_anew(made):
    page = "a\n<!-- keys: CHECKOUT -->\n| key |\n|---|\n| `deep` |\n\nb\n"
    filled = made.filled(page)
    assert "| `depth` | a number | `50` |" in filled and "deep`" not in filled
    assert filled.startswith("a\n<!--") and filled.endswith("\n\nb\n")
