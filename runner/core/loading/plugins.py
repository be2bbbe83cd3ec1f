"""What a definition says about itself as a plugin: its version, and whether others may fork it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.language.nodes import Node
from formicary.runner.core.loading.matrix import check_runs
from formicary.runner.core.loading.reader import Reader
from formicary.runner.core.loading.table import Key
from formicary.runner.core.versions import LOOKS, is_wanted, read_version

PARTS: Final = 3
"""Dotted parts that the name of a public plugin has at least."""


def sem_version(reader: Reader, node: Node) -> str:
    text = reader.known(reader.scalar(node)).strip()
    if read_version(text) is None:
        reader.fail(node, f"`{text[:40]}` is not a version", f"write {LOOKS}")
    return text


def wanted_version(reader: Reader, node: Node) -> str:
    """Which version of the forked job: one, or `^1.2`."""
    text = reader.known(reader.scalar(node)).strip()
    if text and not is_wanted(text):
        reader.fail(node, f"`{text[:40]}` says no version", f"write {LOOKS}, or `^1.2` for the newest 1.x from 1.2 on")
    return text


KEYS: Final[Mapping[str, Key]] = {
    "public_plugin": Key(Reader.boolean, "flag", static=True),
    "sem_version": Key(sem_version, "version", static=True),
}


def check_whole(
    reader: Reader, root: Node, tasks: Node | None, fields: Mapping[str, Any], made: Sequence[TaskDefinition]
) -> None:
    """Tell what is wrong with the job as a whole: how many runs it has, and what it is as a plugin."""
    check_runs(reader, tasks or root, made)
    if not fields.get("public_plugin"):
        return
    if "sem_version" not in fields:
        reader.tell(root, "A public plugin needs a version", f"write `sem_version:`, such as {LOOKS}")
    name = fields["job_type"]
    if len([part for part in name.split(".") if part]) < PARTS:
        told = f"`{name[:60]}` is a public plugin, and its name does not begin with the organization's bundle id"
        reader.tell(root, told, "name it like `io.example.scan`")
