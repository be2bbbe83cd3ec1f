"""The OpenAPI 3.1 document, made from the same table that the routes are made from, and its page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from formicary.webhook.onion import MUTATING
from formicary.webhook.operations import JSON, Operation, is_many
from formicary.webhook.problems import MEDIA_TYPE, ProblemDocument

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_REASONS: Final = {
    400: "The call is malformed",
    401: "No token, or none that is good",
    403: "Not allowed",
    404: "Not there, or not yours",
    405: "This path has no such method",
    409: "Its present state does not allow this",
    413: "The body is too large",
    429: "Too often: `Retry-After` says when to ask again",
    415: "The body has the wrong type",
    416: "There is nothing in this range",
    422: "Not valid; `errors` name the fields",
    503: "Something outside does not answer; try again",
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same call with the same key is done once; its answer is kept for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[\\x21-\\x7e]+$"},
}
_SIGNED: Final = (
    ("X-Formicary-Signature-256", "`sha256=` and the HMAC of the raw body in hex."),
    ("X-Formicary-Delivery", "The delivery's id; one seen before starts nothing."),
)


def document(operations: Iterable[Operation], url: str) -> dict[str, Any]:
    """The whole document as plain data."""
    operations = tuple(operations)
    references, schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(plain_path(operation.path), {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Formicary",
            "version": version("formicary"),
            "description": "Times are RFC 3339 in UTC. Errors are RFC 9457 problem documents.",
        },
        "servers": [{"url": url}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "fmy_…"}},
            "schemas": schemas,
        },
    }


def plain_path(path: str) -> str:
    """A path as OpenAPI writes it: without converters."""
    return _PARAMETER.sub(r"{\1}", path)


Reference = Mapping[tuple[Any, str], str]


def _schemas(operations: Iterable[Operation]) -> tuple[Reference, dict[str, Any]]:
    models: list[tuple[type[BaseModel], Any]] = [(ProblemDocument, "serialization")]
    models += [(operation.body, "validation") for operation in operations if operation.body]
    models += [(operation.answer, "serialization") for operation in operations if operation.answer]
    found, definitions = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF)
    references: dict[tuple[Any, str], str] = {(model, mode): schema["$ref"] for (model, mode), schema in found.items()}
    return references, definitions["$defs"]


def _operation(operation: Operation, references: Reference) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.handler.__module__.rpartition(".")[2] + "_" + operation.handler.__name__,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation, references),
    }
    if operation.role:
        described["description"] = f"Needs the role {operation.role}" + (
            ", for the whole organization." if operation.everything else "."
        )
    else:
        described["security"] = []
    if operation.body:
        schema = {"$ref": references[operation.body, "validation"]}
        needed = operation.signed or any(field.is_required() for field in operation.body.model_fields.values())
        described["requestBody"] = {"required": needed, "content": {JSON: {"schema": schema}}}
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    number, text = {"type": "integer", "minimum": 0}, {"type": "string"}
    return [
        {"name": name, "in": "path", "required": True, "schema": number if kind == "int" else text}
        for name, kind in _PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema()
    return [_query_parameter(operation.query, name, schema) for name in schema.get("properties", {})]


def _query_parameter(model: type[BaseModel], name: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = _inlined(schema["properties"][name], schema.get("$defs", {}))
    found.pop("title", None)
    parameter = {"name": name, "in": "query", "schema": found}
    if description := found.pop("description", None):
        parameter["description"] = description
    if is_many(model, name):
        parameter |= {"style": "form", "explode": True}
    return parameter


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Parameters stand alone: what they refer to is put in place."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {key: _inlined(value, definitions) for key, value in schema.items()}
    return [_inlined(item, definitions) for item in schema] if isinstance(schema, list) else schema


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if operation.signed:
        text = {"type": "string"}
        return [
            {"name": name, "in": "header", "required": True, "description": what, "schema": text}
            for name, what in _SIGNED
        ]
    return [_KEY] if operation.method in MUTATING else []


def _responses(operation: Operation, references: Reference) -> dict[str, Any]:
    good: dict[str, Any] = {"description": operation.summary}
    if operation.answer:
        good["content"] = {JSON: {"schema": {"$ref": references[operation.answer, "serialization"]}}}
    elif operation.media:
        good["content"] = {operation.media: {"schema": {"type": "string"}}}
    also = {str(status): {**good, "description": why} for status, why in (operation.also or {}).items()}
    wrong = {"schema": {"$ref": references[ProblemDocument, "serialization"]}}
    bad = {
        str(status): {"description": _REASONS[status], "content": {MEDIA_TYPE: wrong}}
        for status in sorted({*operation.errors, *_everywhere(operation)})
    }
    return {str(operation.status): good, **also, **bad}


def _everywhere(operation: Operation) -> set[int]:
    """What every call of this kind may be answered, whatever it does."""
    always = {400} if operation.role is None else {400, 401, 403}
    if operation.method in MUTATING:
        return always | {403, 409, 413, 422}
    return always
