"""The document to read and the page to look at it: made here, without a script and without another host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from starlette.responses import Response

from formicary.webhook.openapi import document
from formicary.webhook.operations import Call, Operation
from formicary.webhook.plainpage import plain_page

Document = dict[str, Any]


def operations(described: list[Operation]) -> tuple[Operation, ...]:
    """The two operations that show the document of `described`, which they are part of themselves."""

    async def openapi_yaml(call: Call) -> Response:
        import yaml

        text = yaml.safe_dump(document(described, call.door.settings.url), sort_keys=False, allow_unicode=True)
        return Response(text, media_type="application/yaml")

    async def openapi_page(call: Call) -> Response:
        found = document(described, call.door.settings.url)
        return plain_page("The HTTP interface", "\n".join(_page(found)))

    return (
        Operation(
            "GET",
            "/api/openapi.yaml",
            "This document",
            openapi_yaml,
            tag=_TAG,
            media="application/yaml",
        ),
        Operation("GET", "/api/docs", "This document as a page", openapi_page, tag=_TAG, media="text/html"),
    )


_TAG: Final = "Documentation"


def _page(found: Document) -> Iterator[str]:
    yield f"<p>{escape(found['info']['description'])} Version {escape(found['info']['version'])}.</p>"
    yield "<p>Send a token as <code>Authorization: Bearer fmy_…</code>. "
    yield 'The same as <a href="/api/openapi.yaml">OpenAPI 3.1</a>.</p>'
    by_tag: dict[str, list[tuple[str, str, Document]]] = {}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append((path, method, operation))
    for tag in sorted(by_tag):
        yield f"<h2>{escape(tag)}</h2>"
        for path, method, operation in by_tag[tag]:
            yield from _operation(path, method, operation)
    yield "<h2>Shapes</h2>"
    for name, schema in sorted(found["components"]["schemas"].items()):
        yield f"<details id={_anchor(name)}><summary><code>{escape(name)}</code></summary>"
        yield f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre></details>"


def _operation(path: str, method: str, operation: Document) -> Iterator[str]:
    yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
    yield f"<span class=soft>{escape(operation['summary'])}</span></summary>"
    yield f"<p>{escape(operation.get('description', 'Open to everybody.'))}</p>"
    if operation["parameters"]:
        yield "<table><tr><th>Parameter<th>in<th>what</tr>"
        yield from (_parameter(parameter) for parameter in operation["parameters"])
        yield "</table>"
    if "requestBody" in operation:
        yield f"<p>Body: {_content(operation['requestBody'])}</p>"
    yield "<table><tr><th>Answer<th>when<th>what</tr>"
    for status, response in operation["responses"].items():
        yield f"<tr><td>{status}<td>{escape(response['description'])}<td>{_content(response)}</tr>"
    yield "</table></details>"


def _parameter(parameter: Document) -> str:
    schema = json.dumps(parameter["schema"], ensure_ascii=False)
    what = f"{escape(parameter.get('description', ''))} <code class=soft>{escape(schema)}</code>"
    return f"<tr><td><code>{escape(parameter['name'])}</code><td>{parameter['in']}<td>{what}</tr>"


def _content(holder: Document) -> str:
    """The media types, each with a link to its shape."""
    return ", ".join(_medium(media, what["schema"]) for media, what in holder.get("content", {}).items())


def _medium(media: str, schema: Document) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    link = f' <a href="#{_anchor(name)}">{escape(name)}</a>' if name else ""
    return f"<code>{escape(media)}</code>{link}"


def _anchor(name: str) -> str:
    return "shape-" + "".join(char if char.isalnum() else "-" for char in name)
