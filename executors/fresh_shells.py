"""Which text runs a task's items: one shell for all of them, or, as the Go original does, a fresh one for each. Pure.

With fresh shells neither `cd` nor `export` carries over. A whole line `env NAME=value` is no command then: it holds for
the lines after it, those of script and after_script too. Its value is taken as it is written; nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from formicary.executors.shell_script import MARK_PATH, Script, between, compose, is_sh, quoted
from formicary.runner.core.definition import TaskDefinition

_HELD: Final = re.compile(r"""\s*env\s+([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"']*))\s*""")
#: What runs before each of a task's scripts.
_BEFORE: Final = {"script": ("before_script",), "after_script": ("before_script", "script")}


def script_for(
    task: TaskDefinition,
    name: str,
    items: Sequence[str],
    nonce: str,
    *,
    check: bool = True,
    mark_path: str = MARK_PATH,
) -> Script:
    """The script for these items of the task's script called `name` (before_script, script, after_script)."""
    if not task.fresh_shell or not is_sh(task.shell):
        return compose(task.shell, items, nonce, check=check, mark_path=mark_path)
    earlier = [item for key in _BEFORE.get(name, ()) for item in getattr(task, key)]
    lines = [line for item in earlier if (line := _held(item))]
    start = " ".join(map(quoted, task.shell))
    for number, item in enumerate(items):
        if number:
            lines += between(f"{nonce}{number}", check, mark_path)
        lines.append(_held(item) or f"{start} -c {quoted(item)}")
    return Script("\n".join(lines) + "\n", tuple(items[:1]), tuple(items[1:]))


def _held(item: str) -> str:
    """What makes a line `env NAME=value` hold; empty for every other line."""
    found = _HELD.fullmatch(item)
    return f"export {found[1]}={quoted(found[2] or found[3] or found[4] or '')}" if found else ""
