"""The tables of keys in docs/language.md are made from what the JSON Schema is made from."""

import importlib.util

import pytest


@pytest.fixture(scope="module")
def made(root):
    spec = importlib.util.spec_from_file_location("docs_keys", root / "docs" / "keys.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_that_make_docs_writes(made):
    page = made.PAGE.read_text(encoding="utf-8")
    assert made.filled(page) == page, "run `make docs`; what a key means stands in runner/core/loading/meanings.py"


def test_a_table_that_says_something_else_is_written_anew(made):
    page = "a\n<!-- keys: CHECKOUT -->\n| key |\n|---|\n| `deep` |\n\nb\n"
    filled = made.filled(page)
    assert "| `depth` | a number | `50` |" in filled and "deep`" not in filled
    assert filled.startswith("a\n<!--") and filled.endswith("\n\nb\n")
