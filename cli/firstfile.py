"""From what was found in a project to the text of its first definition. Pure; whatever was found, the text is valid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Final

from formicary.cli.project import Cache, Find

HEAD: Final = """\
# yaml-language-server: $schema=../.git/formicary-schema.json
# (Your editor finds it there after: formicary schema --output .git/formicary-schema.json)
# Made by `formicary init`; it is yours now. Run it as it stands: formicary run
# Beside `push` there is `cron_trigger`, and much else: see docs/language.md of Formicary.
"""
JOB: Final = "ci"
HELLO: Final = 'echo "Hello from commit $GitCommitID"'

_PLAIN: Final = re.compile(r"(?!.*(?:: | #|:$))[A-Za-z./][ -~]*(?<! )")
_TEMPLATE: Final = re.compile(r"\{[{%#]")


def text_of(finds: Sequence[Find]) -> str:
    """One job: one task where one thing was found (or none), else a task for each."""
    lines = [HEAD.rstrip("\n"), f"job_type: {JOB}", "triggers:", "  push: {}"]
    if not finds:
        lines += ["# Nothing here told how this project is tested: say it in place of this line.", f"script: {HELLO}"]
    elif len(finds) == 1:
        lines += _task(finds[0])
    else:
        lines.append("tasks:")
        for name, find in zip(names_of(finds), finds, strict=True):
            lines.append(f"  - task_type: {name}")
            lines += (f"    {line}" for line in _task(find))
    return "\n".join(lines) + "\n"


def names_of(finds: Iterable[Find]) -> list[str]:
    """A name for each task: the language, and the folder; a number where that is not enough."""
    found: list[str] = []
    for find in finds:
        name = f"test-{find.language.lower()}" + (f"-{find.folder}" if find.folder else "")
        free = (name if number == 1 else f"{name}-{number}" for number in count(1))
        found.append(next(one for one in free if one not in found))
    return found


def _task(find: Find) -> Iterator[str]:
    if find.folder:
        yield f"working_dir: {_scalar(find.folder)}"
    if find.environment:
        yield f"environment: {{{', '.join(f'{name}: {_flow(value)}' for name, value in find.environment.items())}}}"
    yield "script:"
    yield from (f"  - {_scalar(line)}" for line in find.script)
    if find.cache:
        yield from _cache(find.cache, find.folder)


def _cache(cache: Cache, folder: str) -> Iterator[str]:
    key = f"{cache.key}-{folder}" if folder else cache.key
    yield "cache:"
    yield f"  key: {_scalar(key)}"
    yield f"  key_paths: [{', '.join(map(_flow, cache.key_paths))}]"
    yield f"  paths: [{', '.join(map(_flow, cache.paths))}]"
    yield f"  fallback_keys: [{_flow(key)}]"


def _scalar(value: str) -> str:
    """In a line of its own: plain where YAML takes it so."""
    return value if _PLAIN.fullmatch(value) and not _TEMPLATE.search(value) else _quoted(value)


def _flow(value: str) -> str:
    """Between brackets: plain where it is a plain word."""
    return value if re.fullmatch(r"[A-Za-z.][\w./-]*", value) else _quoted(value)


def _quoted(value: str) -> str:
    """JSON is YAML; what would be a template is written so that it is none."""
    return _TEMPLATE.sub(lambda found: found[0][0] + f"\\x{ord(found[0][1]):02x}", json.dumps(value))
