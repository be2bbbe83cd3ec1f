"""The definition language as a JSON Schema (draft 2020-12), made from the loader's own tables of keys.

It says what can be said about one value without its neighbours: types, words, unknown and missing keys. It refuses
nothing that the loader takes. Where a key may hold a template, a text with `{{` or `{%` is right; the go dialect, where
an unknown key is a warning, is not looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from formicary.runner.core import definition as model
from formicary.runner.core import schema_of_containers
from formicary.runner.core.deciding.outcome import span
from formicary.runner.core.forked import FanOut, SubWorkflow
from formicary.runner.core.language.fragments import FOLDER
from formicary.runner.core.loading import approving, forking, keys, matrix, outward, shared, triggering
from formicary.runner.core.loading.document import FULL, SHORT
from formicary.runner.core.loading.meanings import MEANINGS, Meaning, plain
from formicary.runner.core.loading.shapes import Fits, OneOf
from formicary.runner.core.loading.table import ABSENT_IF_EMPTY, Key, Table
from formicary.runner.core.policy import ApprovalPolicy
from formicary.runner.core.reports import ReportFiles
from formicary.runner.core.versions import PATTERN as VERSION
from formicary.runner.core.webhooks import RateLimit, WebhookTrigger

Schema = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEMPLATE: Final = r"\{\{|\{%"
_DURATION: Final = r"^\s*(?=[0-9])([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}(\.[0-9]{1,6})?s)?([0-9]{1,9}ms)?\s*$"
_SECONDS: Final = r"^\s*[0-9]{1,9}(\.[0-9]{1,6})?\s*$"
_INTEGER: Final = r"^[-+]?[0-9]{1,18}$|^0o[0-7]+$|^0x[0-9a-fA-F]+$"
_EXIT_CODE: Final = r"^(-?[0-9]{1,9}|SKIPPED|COMPLETED|FAILED|APPROVED|REJECTED)$"
_FLAGS: Final = r"^(true|True|TRUE|false|False|FALSE)$"
_TEXT: Final[Schema] = {"type": ["string", "number", "boolean", "null"]}


@dataclass(frozen=True)
class Described:
    """A table of keys, the model that its values become, and what may not be left out."""

    table: Table
    model: type[BaseModel]
    required: tuple[str, ...] = ()


#: By the names that docs/language.md gives them.
TABLES: Final[Mapping[str, Described]] = {
    "JOB": Described(keys.JOB, model.JobDefinition, ("job_type",)),
    "TASK": Described(keys.TASK, model.TaskDefinition, ("task_type",)),
    "BACKOFF": Described(keys.BACKOFF, model.Backoff),
    "TRIGGERS": Described(keys.TRIGGERS, model.Triggers),
    "REF_FILTER": Described(keys.REF_FILTER, model.RefFilter),
    "PULL_REQUEST_FILTER": Described(keys.PULL_REQUEST_FILTER, model.PullRequestFilter),
    "WEBHOOK": Described(triggering.WEBHOOK, WebhookTrigger, ("name", "auth", "secret_config")),
    "RATE_LIMIT": Described(triggering.RATE_LIMIT, RateLimit, ("max",)),
    "CONCURRENCY": Described(shared.CONCURRENCY, model.Concurrency, ("group",)),
    "RESOURCES": Described(shared.RESOURCES, model.Resource, ("resource_type",)),
    "EXTRACT": Described(shared.EXTRACT, model.ExtractConfig),
    "WHEN": Described(matrix.WHEN, model.WhenFilter),
    "PARAM": Described(keys.PARAM, model.Param),
    "ARTIFACTS": Described(keys.ARTIFACTS, model.Artifacts),
    "REPORTS": Described(keys.REPORTS, ReportFiles),
    "CACHE": Described(keys.CACHE, model.Cache, ("paths",)),
    "APPROVAL": Described(approving.APPROVAL, ApprovalPolicy),
    "SUB_WORKFLOW": Described(forking.SUB_WORKFLOW, SubWorkflow),
    "FAN_OUT": Described(forking.FAN_OUT, FanOut, ("source", "item_var")),
    "CHECKOUT": Described(keys.CHECKOUT, model.Checkout),
    "HOOK": Described(outward.HOOK, model.Hook, ("url",)),
    "CHANNEL": Described(outward.CHANNEL, model.Notify, ("recipients",)),
    "STATUS": Described(outward.STATUS, model.Status),
    "RETENTION": Described(outward.RETENTION, model.Retention),
    **{name: Described(*one) for name, one in schema_of_containers.TABLES.items()},
}
_RETRY: Final = model.Retry()
_ELSEWHERE: Final = {"retry": _RETRY.attempts, "delay_between_retries": _RETRY.delay}
#: Shapes that are a mapping by one of the tables, and nothing else.
_NESTED: Final = {
    "artifacts": "ARTIFACTS",
    "reports": "REPORTS",
    "backoff": "BACKOFF",
    "hook": "HOOK",
    "notify_channel": "CHANNEL",
    "status": "STATUS",
    "retention": "RETENTION",
    "resources": "RESOURCES",
    "extract_config": "EXTRACT",
    "when_filter": "WHEN",
    "rate_limit": "RATE_LIMIT",
    "approval_policy": "APPROVAL",
    "sub_workflow": "SUB_WORKFLOW",
    "fan_out": "FAN_OUT",
    **schema_of_containers.NESTED,
}
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "template": model.DIALECTS,
    "notify_when": outward.WHEN,
    "method": (*sorted(model.METHODS), "JOB_FORK", "JOB_FORK_AWAIT"),
}


def default_of(table: str, name: str) -> Any:
    """What a key is if it is not there, as a definition would write it; None where nothing can be said."""
    described = TABLES.get(table)
    key = described.table.keys.get(name) if described else None
    if described is None or key is None or name == "template":
        return None
    field = described.model.model_fields.get(key.field or name)
    value = _ELSEWHERE.get(name, field.default if field else None)
    if value is PydanticUndefined or value is None or isinstance(value, BaseModel):
        return None
    if key.shape == "duration":
        return span(value) if value else "0s"
    if isinstance(value, tuple):
        return list(value) or None
    return value if value != "" else None


@cache
def schema() -> Schema:
    """The schema of one document of a file. Callers may not change it."""
    made = _Schemas()
    return {
        "$schema": DIALECT,
        "title": "A job definition of Formicary",
        "description": "One document of a file in .formicary. Its keys are explained in docs/language.md.",
        "type": "object",
        "if": {"properties": {"template": {"const": "go"}}, "required": ["template"]},
        "then": {"required": ["job_type"]},
        "else": {
            "if": {"required": ["tasks"]},
            "then": made.reference("job", lambda: made.job(FULL)),
            "else": {
                "allOf": [made.reference("short_job", lambda: made.job(SHORT))],
                "anyOf": [{"required": [name]} for name in ("script", "include", "method", "container")],
            },
        },
        "$defs": made.definitions(),
    }


class _Schemas:
    """The parts of a schema that others refer to, each made once."""

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}

    def definitions(self) -> Schema:
        return dict(sorted(self.made.items()))

    def reference(self, name: str, make: Callable[[], Schema]) -> Schema:
        if name not in self.made:
            self.made[name] = {}
            self.made[name] = make()
        return {"$ref": f"#/$defs/{name}"}

    # --- mappings

    def job(self, table: Table) -> Schema:
        found = self.mapping(table, "JOB", ("job_type",))
        return {**found, "patternProperties": {**found["patternProperties"], r"^\.": {}}}

    def mapping(self, table: Table, page: str, required: Iterable[str] = (), *, static: bool = False) -> Schema:
        properties = {name: self.key(name, key, page, static) for name, key in table.keys.items()}
        found: Schema = {"type": "object", "properties": properties}
        if required:
            found["required"] = [*required]
        found["additionalProperties"] = False
        return found if static else {**found, "patternProperties": {_TEMPLATE: {}}}

    def nested(self, name: str, *, static: bool = False) -> Schema:
        one = TABLES[name]
        return self.reference(name.lower(), lambda: self.mapping(one.table, name, one.required, static=static))

    def listed(self, name: str, item: Schema) -> Schema:
        """A list, lists within it opened (anchors make such); what is empty does not count."""
        within = {"$ref": f"#/$defs/{name}_list"}
        make = {"type": "array", "items": {"anyOf": [item, {"type": "null"}, within]}}
        return self.reference(f"{name}_list", lambda: make)

    def key(self, name: str, key: Key, page: str, static: bool = False) -> Schema:
        found = dict(self.shape(key, static or key.static))
        meaning, place = _meaning(page, name)
        if meaning is not None:
            found["description"] = plain(meaning.means)
            if meaning.example is not None:
                found["examples"] = [meaning.example]
        default = default_of(place, name)
        return found if default is None else {**found, "default": default}

    # --- what one key takes

    def shape(self, key: Key, static: bool) -> Schema:
        found = self._shape(key, static)
        empty = key.shape in ABSENT_IF_EMPTY and found != {}
        return {"anyOf": [found, {"type": "null"}]} if empty else found

    def _shape(self, key: Key, static: bool) -> Schema:
        words = key.read.words if isinstance(key.read, OneOf) else _WORDS.get(key.shape)
        if words:
            return _either(static, {"enum": [*words]})
        if key.shape in _NESTED:
            return self.nested(_NESTED[key.shape], static=static)
        limits = key.read if isinstance(key.read, Fits) else Fits()
        if key.shape in ("count", "integer"):
            return _integer(limits, static)
        make = getattr(self, f"_{key.shape}", None)
        return make(static) if make is not None else schema_of_containers.shape(self, key.shape) or {}

    def _name(self, static: bool) -> Schema:
        text = _unless(static, {"type": "string", "maxLength": model.MAX_NAME, "pattern": r"\S"})
        return _either(static, text, {"type": ["number", "boolean"]})

    def _text(self, static: bool) -> Schema:
        return _unless(static, self.reference("text", lambda: dict(_TEXT)))

    def _texts(self, static: bool) -> Schema:
        listed = {"type": "array", "items": {"$ref": "#/$defs/texts"}}
        return self.reference("texts", lambda: {"anyOf": [_TEXT, listed]})

    _secrets = _texts
    _target = _text

    def _value(self, static: bool) -> Schema:
        return {}

    def _flag(self, static: bool) -> Schema:
        make = partial_either(static, {"type": "boolean"}, {"type": "string", "pattern": _FLAGS})
        return self.reference("static_flag" if static else "flag", make)

    def _duration(self, static: bool) -> Schema:
        make = partial_either(
            static,
            {"type": "number", "minimum": 0, "maximum": 999_999_999.999999},
            {"type": "string", "pattern": f"{_DURATION}|{_SECONDS}"},
        )
        return self.reference("static_duration" if static else "duration", make)

    def _number(self, static: bool) -> Schema:
        return _either(static, {"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[-+]?[0-9.]"})

    def _environment(self, static: bool) -> Schema:
        return {"type": ["object", "null"], "additionalProperties": dict(_TEXT)}

    _headers = _environment
    _query = _environment

    def _variables(self, static: bool) -> Schema:
        item = {"type": "object", "required": ["name", "value"], "additionalProperties": False}
        item["properties"] = {"name": dict(_TEXT), "value": {}}
        return self.reference(
            "variables", lambda: {"anyOf": [{"type": ["object", "null"]}, self.listed("variable", item)]}
        )

    def _output_variables(self, static: bool) -> Schema:
        return {"anyOf": [self._variables(static), self._texts(static)]}

    def _exit_codes(self, static: bool) -> Schema:
        names = {"pattern": f"{_EXIT_CODE}|{_TEMPLATE}"}
        return {"type": "object", "propertyNames": names, "additionalProperties": dict(_TEXT)}

    def _allow_failure(self, static: bool) -> Schema:
        codes = _integer(Fits(), static)
        return {"anyOf": [self._flag(static), codes, self.listed("exit_code", codes)]}

    def _params(self, static: bool) -> Schema:
        return {"type": ["object", "null"], "additionalProperties": _or_null(self.nested("PARAM", static=True))}

    def _triggers(self, static: bool) -> Schema:
        one = self.nested("TRIGGERS", static=True)
        return {"anyOf": [one, self.listed("trigger", one)]}

    def _ref_filter(self, static: bool) -> Schema:
        return _or_null(self.nested("REF_FILTER", static=True))

    def _pull_request_filter(self, static: bool) -> Schema:
        return _or_null(self.nested("PULL_REQUEST_FILTER", static=True))

    def _pull_request_types(self, static: bool) -> Schema:
        words = {"enum": [*get_args(model.PullRequestType)]}
        return {"anyOf": [words, {**self.listed("pull_request_type", words), "minItems": 1}]}

    def _webhook_triggers(self, static: bool) -> Schema:
        one = self.nested("WEBHOOK", static=True)
        return {"anyOf": [one, self.listed("webhook_trigger", one)]}

    def _trigger_name(self, static: bool) -> Schema:
        return {"anyOf": [{"type": "string", "pattern": f"^{triggering.NAME.pattern}$"}, {"type": "number"}]}

    def _version(self, static: bool) -> Schema:
        return {"anyOf": [{"type": "string", "pattern": rf"^\s*{VERSION}\s*$"}, {"type": "number"}]}

    def _wanted_version(self, static: bool) -> Schema:
        asked = {"type": "string", "pattern": rf"^\s*(\^?{VERSION})?\s*$"}
        return _either(static, asked, {"type": ["number", "null"]})

    def _secret_name(self, static: bool) -> Schema:
        return {"type": ["string", "boolean", "number"]}

    _header_name = _secret_name

    def _waiting(self, static: bool) -> Schema:
        return self.reference("waiting", lambda: dict(_TEXT))

    def _waiting_texts(self, static: bool) -> Schema:
        return {"type": ["object", "null"], "additionalProperties": self._waiting(static)}

    def _checkout(self, static: bool) -> Schema:
        return {"anyOf": [self._flag(static), self.nested("CHECKOUT")]}

    def _caches(self, static: bool) -> Schema:
        one = self.nested("CACHE")
        return {"anyOf": [one, {"type": "array", "items": one}, {"type": "null"}]}

    def _concurrency(self, static: bool) -> Schema:
        return {"anyOf": [{"type": ["string", "number", "boolean"]}, self.nested("CONCURRENCY")]}

    def _notify(self, static: bool) -> Schema:
        return self.mapping(outward.CHANNELS, "CHANNELS")

    def _matrix(self, static: bool) -> Schema:
        pairs = {"type": ["object", "array", "string", "null"]}
        named = {"include": pairs, "exclude": pairs, "max_parallel": _integer(Fits(1), static)}
        names = {"pattern": rf"^[A-Za-z_][A-Za-z0-9_]*$|{_TEMPLATE}"}
        return {"type": "object", "properties": {**named, "fail_fast": self._flag(static)}, "propertyNames": names}

    def _include(self, static: bool) -> Schema:
        one = {"type": "string", "pattern": rf"^{FOLDER}.+\.ya?ml$"}
        return {"anyOf": [one, {"type": "array", "items": one}, {"type": "null"}]}

    def _tasks(self, static: bool) -> Schema:
        return {
            **self.listed("task", self.nested("TASK")),
            "contains": {"anyOf": [{"type": "object"}, {"type": "array", "minItems": 1}]},
        }


def partial_either(static: bool, *schemas: Schema) -> Callable[[], Schema]:
    return lambda: _either(static, *schemas)


def _either(static: bool, *schemas: Schema) -> Schema:
    """Any of these, or a template where one may stand."""
    if static and len(schemas) == 1:
        return schemas[0]
    return {"anyOf": [*schemas, *([] if static else [{"type": "string", "pattern": _TEMPLATE}])]}


def _unless(static: bool, schema: Schema) -> Schema:
    return {**schema, "not": {"type": "string", "pattern": _TEMPLATE}} if static else schema


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _integer(limits: Fits, static: bool) -> Schema:
    number: Schema = {"type": "integer"}
    if limits.low is not None:
        number["minimum"] = limits.low
    if limits.high is not None:
        number["maximum"] = limits.high
    return _either(static, number, {"type": "string", "pattern": _INTEGER})


def _meaning(page: str, name: str) -> tuple[Meaning | None, str]:
    """What a key means, and in which table that stands: a job has keys of its tasks too."""
    places = ("JOB", "TASK") if page == "JOB" else (page,)
    return next(((MEANINGS[at][name], at) for at in places if name in MEANINGS.get(at, {})), (None, page))
