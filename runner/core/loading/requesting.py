"""What a definition says about an HTTP request, and which of a task's other keys make no sense there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from formicary.runner.core.definition import HTTP_METHODS, Checkout, Value
from formicary.runner.core.language.functions import text_of
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar
from formicary.runner.core.loading.outward import headers, query, url
from formicary.runner.core.loading.reader import Reader
from formicary.runner.core.loading.table import Key, read

_INSTEAD: Final = "name the host in the file, and put what outsiders can write into `query` or `body`"
#: The shape of a URL is looked at where the method is known: a job of one task has a `url` of another kind.
_CALLED: Final = Key(url, "text", late=True, instead=_INSTEAD)
#: Keys of a task that say how a script runs.
_OF_SCRIPTS: Final = ("before_script", "after_script", "shell", "working_dir", "cache", "checkout")
_NO_URL: Final = "name it: `url: https://service.example/path`"


def _address(reader: Reader, node: Node) -> str:
    return "" if reader.empty(node) else reader.address(reader.scalar(node, "a URL")).strip()


def _body(reader: Reader, node: Node) -> Value:
    if isinstance(node, Scalar) and node.plain and not node.token and not reader.empty(node):
        return reader.text(node)  # as it is written: 1.10 stays 1.10
    return reader.value(node)


#: The keys of a task that are about its request.
KEYS: Final[Mapping[str, Key]] = {
    "url": Key(_address, "text", late=True, instead=_INSTEAD),
    "headers": Key(headers, "headers", late=True),
    "query": Key(query, "query", late=True),
    "body": Key(_body, "value", late=True),
}


def requesting(reader: Reader, node: Node, fields: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task, with what of them and HTTP does not go together told. `written`: its own keys.

    A short job's `url` says something of the job where its method is none of HTTP's.
    """
    method = str(fields.get("method", ""))
    if method not in HTTP_METHODS:
        for key in (key for key in KEYS if key in written and not (key == "url" and "job_type" in written)):
            what = f"`{key}` is for tasks of the methods {', '.join(HTTP_METHODS)}"
            reader.question(_place(node, key), what, "write `method: HTTP_GET`, or another of them")
        return {name: value for name, value in fields.items() if name not in KEYS}
    for key in (key for key in _OF_SCRIPTS if key in written):
        what = f"`{key}` means nothing here: a task of the method {method} runs no script"
        reader.question(_place(node, key), what, "move it to another task")
    for key, what, remedy in _bodies(method, fields):
        reader.tell(_place(node, key), what, remedy)
    found = {name: value for name, value in fields.items() if name not in (*_OF_SCRIPTS, "script")}
    if reader.go and "body" not in found and method != "HTTP_GET" and found.get("variables"):
        # The original sends every variable that it has; here only those that the task itself names.
        found["body"] = {name: text_of(value) for name, value in found["variables"].items()}
    return {**found, "checkout": Checkout(enabled=False), "url": _url(reader, node, written)}


def _url(reader: Reader, node: Node, written: Mapping[str, Any]) -> str:
    """What is called; without `url` the first item of the script."""
    own, script = _value(node, "url"), _value(node, "script")
    if own is not None and not reader.empty(own):
        if script is not None:
            reader.question(
                _place(node, "script"), "`script` means nothing here: the URL is in `url`", "remove one of the two"
            )
        return reader.attempt(partial(read, reader, _CALLED, own), "")
    items = [] if script is None else list(reader.flat(script))
    if not items:
        reader.tell(_place(node, "method"), "This task does not say which URL it calls", _NO_URL)
        return ""
    if len(items) > 1:
        what = "A task of an HTTP method has one script item, which is its URL"
        reader.question(items[1], what, "write a task for each URL, and commands into a task of SHELL")
    return reader.attempt(partial(read, reader, _CALLED, items[0]), "")


def _bodies(method: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(key, what is wrong, remedy)."""
    body = fields.get("body")
    if body is None:
        return
    if method == "HTTP_GET":
        yield "body", "HTTP_GET sends no body", "use `query`, or HTTP_POST_JSON"
    elif method.endswith("_FORM") and isinstance(body, list):
        yield "body", "The body of a form is a mapping of names to texts, or text", "write `name: value` lines"
    elif method.endswith("_FORM") and isinstance(body, dict) and any(isinstance(one, dict) for one in body.values()):
        yield "body", "The fields of a form are texts, or lists of texts", f"use {method.replace('FORM', 'JSON')}"


def _value(node: Node, key: str) -> Node | None:
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return next((value for name, value in pairs if name.text == key), None)


def _place(node: Node, key: str) -> Node:
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return next((name for name, _ in pairs if name.text == key), node)
