"""Writes docs/reference.md, every key of the definition language with an example: python docs/reference.py

All of it comes from the loader's tables and `loading/meanings.py`, as the JSON Schema does.
"""

from __future__ import annotations

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from formicary.runner.core.loading.keys import DEFAULTS
from formicary.runner.core.loading.meanings import MEANINGS
from formicary.runner.core.schema import TABLES

PAGE: Final = Path(__file__).with_name("reference.md")
HEAD: Final = """# Reference

Every key of the definition language: what it takes, what it is if it is not there, and an example. What they mean
together is in [language.md](language.md); [status.md](status.md) says which of them work. This page is made from the
program by `make docs`; editors get the same from `formicary schema`.
"""
_KEYS: Final = Path(__file__).with_name("keys.py")


def page() -> str:
    default = _defaults()
    return HEAD + "".join(f"\n## {_title(name)}\n\n{_table(name, default)}" for name in TABLES)


def _defaults() -> Any:
    """How docs/keys.py writes a default."""
    spec = spec_from_file_location("docs_keys", _KEYS)
    assert spec and spec.loader
    keys = module_from_spec(spec)
    spec.loader.exec_module(keys)
    return keys._default


def _title(name: str) -> str:
    what = TABLES[name].table.what
    key = re.fullmatch(r"[a-z]+(_[a-z]+)+|affinity|checkout", what)
    return f"`{what}`" if key else what[:1].upper() + what[1:]


def _table(name: str, default: Any) -> str:
    known = TABLES[name].table.keys
    keys = [key for key in MEANINGS[name] if key in known or key == "tasks"]
    rows = [_row(name, key, default(name, key)) for key in keys]
    if name == "JOB":
        names = ", ".join(f"`{key}`" for key in DEFAULTS)
        rows.append(f"| {names} | as for a task | | | defaults of its tasks |\n")
    return "| key | takes | default | example | meaning |\n|---|---|---|---|---|\n" + "".join(rows)


def _row(table: str, key: str, default: str) -> str:
    one = MEANINGS[table][key]
    return f"| `{key}` | {_linked(one.takes)} | {default} | {_example(one.example)} | {_linked(one.means)} |\n"


def _example(value: Any) -> str:
    """As YAML in one line: what is JSON is that too."""
    if value is None:
        return ""
    text = value if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) else json.dumps(value)
    return f"`{text}`".replace("|", "\\|")


def _linked(text: str) -> str:
    """Links lead to the language's page."""
    return text.replace("](#", "](language.md#")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
