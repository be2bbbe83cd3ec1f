"""Writes the tables of keys in docs/language.md, from the loader's own tables and their meanings: python docs/keys.py

A table stands below `<!-- keys: NAME -->`; what is around the tables is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from formicary.runner.core.loading.keys import DEFAULTS
from formicary.runner.core.loading.meanings import MEANINGS
from formicary.runner.core.schema import TABLES, default_of

PAGE: Final = Path(__file__).with_name("language.md")
HEAD: Final = "| key | takes | default | meaning |\n|---|---|---|---|\n"
#: Keys of a task that may stand on the job, in one row.
_SHARED: Final = (
    "| {names} | as for a task | | defaults of its tasks; a task's `environment` is added to the job's, "
    "the others replace it |\n"
)
_TABLE: Final = re.compile(r"(<!-- keys: (\w+) -->\n)(?:\|.*\n)+")


def filled(page: str) -> str:
    """The page with its tables made anew."""
    return _TABLE.sub(lambda found: found[1] + table(found[2]), page)


def table(name: str) -> str:
    """One table. A key that has no meaning yet is left out; a test finds it."""
    known = TABLES[name].table.keys
    rows = [
        f"| `{key}` | {one.takes} | {_default(name, key)} | {one.means} |\n"
        for key, one in MEANINGS[name].items()
        if key in known or key == "tasks"
    ]
    if name == "JOB":
        rows.append(_SHARED.format(names=", ".join(f"`{key}`" for key in DEFAULTS)))
    return HEAD + "".join(rows)


def _default(table: str, key: str) -> str:
    if key in TABLES[table].required:
        return "required"
    found: Any = default_of(table, key)
    if found is None:
        return "—"
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    return (
        f"`[{', '.join(found)}]`"
        if isinstance(found, list)
        else f"`{found:g}`"
        if isinstance(found, float)
        else f"`{found}`"
    )


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
