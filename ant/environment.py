"""The whole environment of a task, made from nothing: what is not put in here, the task does not see."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from formicary.ant.contained import is_contained
from formicary.ant.workspace import Place
from formicary.runner.core.messages import TaskOrder

_ALWAYS: Final = {
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "CI": "true",
    "FORMICARY": "true",
}


def compose(order: TaskOrder, place: Place, path: str, files: Mapping[str, Path]) -> dict[str, str]:
    """Ours, then the order's (its parameters and variables), then what the definition says. A container has its own
    user, with a home, and its own places for programs."""
    return {
        **_ALWAYS,
        **({} if is_contained(order.task) else _of_this_machine(place, path)),
        "FORMICARY_OUTPUT": str(place.output),
        "FORMICARY_WORKSPACE": str(place.workspace),
        "FORMICARY_TASK_EXECUTION_ID": order.task_execution_id,
        **order.environment,
        **{name: str(file) for name, file in files.items()},
        **order.task.environment,
    }


def _of_this_machine(place: Place, path: str) -> dict[str, str]:
    user = "formicary" if place.uid is not None else own_name()
    return {
        "SHELL": "/bin/sh",
        "PATH": path,
        "HOME": str(place.home),
        "TMPDIR": str(place.tmp),
        "USER": user,
        "LOGNAME": user,
    }


@cache
def own_name() -> str:
    """The name of the ant's own user; `formicary` where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "formicary"
