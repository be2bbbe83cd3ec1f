"""What a definition says about what its runs share with others: a concurrency group, resources, and whose success
starts it."""

from __future__ import annotations

from functools import partial
from typing import Final

from formicary.runner.core.definition import MAX_NAME, Concurrency, ExtractConfig, Resource
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.shapes import fits
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.names import SECRET_TOKEN

MAX_GROUP: Final = 255
"""Characters of a group's name; a branch may have as many."""
MAX_UNITS: Final = 1_000_000
MAX_TAGS: Final = 50


def _lacks(reader: Reader, node: Node, before: int, name: str, message: str, expected: str) -> None:
    """Tell that a key is missing, unless something within the mapping is told already. Raises Unread."""
    said = isinstance(node, MappingNode) and any(key.text == name for key, _ in node.pairs)
    if not said and len(reader.faults) == before:
        reader.tell(node, message, expected)
    raise Unread


def concurrency(reader: Reader, node: Node) -> Concurrency:
    """A mapping; or the group alone, as GitHub allows too."""
    if isinstance(node, Scalar):
        return Concurrency(group=_group(reader, node))
    before = len(reader.faults)
    fields = CONCURRENCY.read(reader, node)
    if "group" not in fields:
        expected = "name it: `group: deploy`, or one for each branch: `group: {{ GitBranch }}`"
        _lacks(reader, node, before, "group", "`concurrency` needs a `group`", expected)
    return Concurrency(**fields)


def _group(reader: Reader, node: Node) -> str:
    """Any text will do, an outsider's too: it is compared with others of its repository and nothing else."""
    scalar = reader.scalar(node, "the name of a group")
    if not reader.settled(scalar):
        raise Unread
    text = reader.text(scalar).strip()
    if not text or reader.empty(node):
        reader.fail(node, "The group has no name", "write a name such as `deploy`")
    if SECRET_TOKEN.search(text):
        reader.fail(node, "A group's name is shown to everybody and may not hold a secret", "take something else")
    if len(text) > MAX_GROUP:
        reader.fail(node, f"This name has {len(text)} characters", f"use at most {MAX_GROUP}")
    return text


def resources(reader: Reader, node: Node) -> Resource:
    before = len(reader.faults)
    fields = RESOURCES.read(reader, node)
    if "resource_type" not in fields:
        expected = "say which resource it holds: `resource_type: db`; `formicary resources list` shows what there is"
        _lacks(reader, node, before, "resource_type", "`resources` needs a `resource_type`", expected)
    return Resource(**fields)


def _word(reader: Reader, node: Node) -> str:
    text = reader.known(reader.scalar(node)).strip()
    if not text or reader.empty(node):
        reader.fail(node, "A name is missing here", "write a name")
    if len(text) > MAX_NAME or SECRET_TOKEN.search(text):
        reader.fail(node, "This is no name of a resource", f"use at most {MAX_NAME} characters, and no secret")
    return text


def _words(reader: Reader, node: Node) -> tuple[str, ...]:
    """Each once; what a template leaves empty is left out."""
    nothing: tuple[str, ...] = ()
    found = [text for item in reader.flat(node) for text in reader.attempt(partial(reader.strings, item), nothing)]
    if len(found) > MAX_TAGS:
        reader.fail(node, f"There are {len(found)} of them here", f"use at most {MAX_TAGS}")
    return tuple(dict.fromkeys(filter(None, found)))


def _extract(reader: Reader, node: Node) -> ExtractConfig:
    return ExtractConfig(**EXTRACT.read(reader, node))


def completed(reader: Reader, node: Node) -> tuple[str, ...]:
    """Names of jobs; whether there are such jobs is seen when one of them ends."""
    found = tuple(dict.fromkeys(_word(reader, item) for item in reader.flat(node)))
    if not found:
        reader.fail(node, "No job is named here", "name the jobs whose success starts this one: `completed: [build]`")
    return found


CONCURRENCY: Final = Table(
    "concurrency",
    {"group": Key(_group, "text"), "cancel_in_progress": Key(Reader.boolean, "flag")},
)
EXTRACT: Final = Table(
    "extract_config",
    {"properties": Key(_words, "texts"), "context_prefix": Key(Reader.string, "text")},
)
RESOURCES: Final = Table(
    "resources",
    {
        "resource_type": Key(_word, "text"),
        "platform": Key(Reader.string, "text"),
        "tags": Key(_words, "texts"),
        "value": Key(fits(1, MAX_UNITS), "count"),
        "extract_config": Key(_extract, "extract_config"),
    },
)
