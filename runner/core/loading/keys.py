"""The keys of the definition language: one row a key, with what it takes and when it is read. A JSON Schema follows it.

A row is `static` if it may hold no template, `late` if each attempt renders it again, `code` if its text is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, get_args

from formicary.runner.core.definition import (
    CHECKOUT_KEYS_NOT_YET,
    TRIGGERS_NOT_YET,
    Artifacts,
    Backoff,
    Cache,
    Checkout,
    Param,
    PullRequestFilter,
    PullRequestType,
    RefFilter,
    Triggers,
)
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.loading import containers, forking, plugins, requesting, triggering
from formicary.runner.core.loading.approving import approval_policy
from formicary.runner.core.loading.matrix import matrix, when
from formicary.runner.core.loading.outward import hook, notify, retention, secrets, status
from formicary.runner.core.loading.reader import Reader
from formicary.runner.core.loading.shapes import (
    Read,
    allow_failure,
    cron_trigger,
    exit_codes,
    fits,
    include,
    method,
    name_of,
    names,
    one_of,
    pattern,
    target,
    template,
    texts,
    timezone,
    variables,
)
from formicary.runner.core.loading.shared import completed, concurrency, resources
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.reports import ReportFiles
from formicary.runner.core.webhooks import WebhookTrigger

_PLAIN_REF: Final = "write the ref into the file; where outsiders have a hand in it, it may be a plain word only"


def checkout(reader: Reader, node: Node) -> Checkout:
    if isinstance(node, Scalar):
        return Checkout(enabled=reader.boolean(node))
    return Checkout(**CHECKOUT.read(reader, node))


def caches(reader: Reader, node: Node) -> tuple[Cache, ...]:
    items = node.items if isinstance(node, Sequence) else [] if reader.empty(node) else [node]
    found = []
    for item in items:
        fields = CACHE.read(reader, item)
        if "paths" not in fields:
            reader.tell(item, "A cache needs `paths`", "say which files to keep, such as `paths: [.npm]`")
        found.append(Cache(**fields))
    return tuple(found)


def params(reader: Reader, node: Node) -> dict[str, Param]:
    found: dict[str, Param] = {}
    if reader.empty(node):
        return found
    for name, key, value in reader.pairs(reader.mapping(node, "params")):
        nothing: dict[str, Any] = {}
        fields = reader.attempt(partial(_param, reader, value), nothing)
        if fields.get("secret") and fields.get("default") is not None:
            reader.tell(
                key, f"The secret parameter `{name[:60]}` cannot have a default", "who reads this file would know it"
            )
        found[name] = Param(**fields)
    return found


def _param(reader: Reader, node: Node) -> dict[str, Any]:
    return {} if reader.empty(node) else PARAM.read(reader, node)


def triggers(reader: Reader, node: Node) -> Triggers:
    """A mapping, or a list of mappings of one key each. There may be several webhooks."""
    found: dict[str, Any] = {}
    hooks: list[WebhookTrigger] = []
    if triggering.templates_elsewhere(reader, node):
        return Triggers()
    for item in reader.flat(node):
        if isinstance(item, Scalar):
            reader.tell(item, "A trigger is a key with its filter", f"write `{item.text[:30] or 'push'}: {{}}`")
            continue
        if reader.go and isinstance(item, MappingNode) and (kind := _type_of(reader, item)):
            if kind == "webhook":
                one = reader.attempt(partial(triggering.typed, reader, item), None)
                hooks += [one] if one is not None else []
                continue
            reader.tell(item, f"Not supported yet: triggers of the type `{kind[:60]}`", "remove it")
            continue
        again = TRIGGERS.read(reader, item)
        hooks += again.pop("webhook", ())
        for name in found.keys() & again.keys():
            reader.tell(item, f"The trigger `{name}` is there twice", "write one filter that says both")
        found |= again
    return Triggers(**found, webhook=triggering.distinct(reader, node, hooks))


def _type_of(reader: Reader, node: MappingNode) -> str:
    """The Go original's triggers are a list of {name, type, …}."""
    return next((reader.string(value) for name, _, value in reader.pairs(node) if name == "type"), "")


def ref_filter(reader: Reader, node: Node) -> RefFilter:
    return RefFilter() if reader.empty(node) else RefFilter(**REF_FILTER.read(reader, node))


def pull_request_filter(reader: Reader, node: Node) -> PullRequestFilter:
    return PullRequestFilter() if reader.empty(node) else PullRequestFilter(**PULL_REQUEST_FILTER.read(reader, node))


def _types(reader: Reader, node: Node) -> tuple[str, ...]:
    items = list(reader.flat(node))
    if not items:
        reader.fail(node, "No type is named here", "name one, such as `opened`, or leave `types` out")
    found = [reader.attempt(partial(reader.choice, item, *get_args(PullRequestType)), "") for item in items]
    return tuple(dict.fromkeys(filter(None, found)))


def _jitter(reader: Reader, node: Node) -> float:
    """A part of the delay; in the Go original it is on or off."""
    if reader.go and isinstance(node, Scalar) and node.text in ("true", "false"):
        return float(node.text == "true")
    return reader.number(node)


def _model(model: Callable[..., Any], table: Callable[[], Table]) -> Read:
    return lambda reader, node: model(**table().read(reader, node))


text, strings, flag, duration = Reader.string, Reader.strings, Reader.boolean, Reader.duration
_COUNT: Final = Key(fits(0, 1000), "count")

REF_FILTER: Final = Table(
    "a trigger",
    {name: Key(strings, "texts") for name in ("branches", "tags", "paths", "paths_ignore")}
    | {"every_commit": Key(flag, "flag")},
)
PULL_REQUEST_FILTER: Final = Table(
    "a pull_request trigger",
    {name: Key(strings, "texts") for name in ("branches", "paths", "paths_ignore")}
    | {"types": Key(_types, "pull_request_types")},
)
TRIGGERS: Final = Table(
    "triggers",
    {
        "commit": Key(ref_filter, "ref_filter"),
        "push": Key(ref_filter, "ref_filter"),
        "pull_request": Key(pull_request_filter, "pull_request_filter"),
        "schedule": Key(cron_trigger, "text"),
        "completed": Key(completed, "texts"),
        "webhook": Key(triggering.webhooks, "webhook_triggers"),
    },
    TRIGGERS_NOT_YET,
)
PARAM: Final = Table(
    "a parameter",
    {
        "description": Key(text, "text"),
        "default": Key(Reader.value, "value"),
        "enum": Key(strings, "texts"),
        "pattern": Key(pattern, "text"),
        "secret": Key(flag, "flag"),
    },
)
BACKOFF: Final = Table(
    "retry_backoff_policy",
    {
        "min": Key(duration, "duration"),
        "max": Key(duration, "duration"),
        "factor": Key(lambda reader, node: reader.number(node, 1.0), "number"),
        "jitter": Key(_jitter, "number"),
    },
)
ARTIFACTS: Final = Table(
    "artifacts",
    {
        "paths": Key(strings, "texts"),
        "exclude": Key(strings, "texts"),
        "when": Key(one_of("always", "onSuccess", "onFailure"), "artifacts_when"),
        "expires_after": Key(duration, "duration"),
    },
)
REPORTS: Final = Table("reports", {name: Key(strings, "texts") for name in ("junit", "coverage")})
CACHE: Final = Table(
    "a cache",
    {
        "key": Key(text, "text", code=True),
        "key_paths": Key(strings, "texts", code=True),
        "paths": Key(strings, "texts"),
        "fallback_keys": Key(strings, "texts", code=True),
        "expires_after": Key(duration, "duration"),
        "policy": Key(one_of("pull-push", "pull", "push"), "cache_policy"),
    },
)
CHECKOUT: Final = Table(
    "checkout", {"depth": _COUNT, "ref": Key(text, "text", code=True, instead=_PLAIN_REF)}, CHECKOUT_KEYS_NOT_YET
)

#: Keys of a task that may stand on the job too, as defaults for its tasks.
DEFAULTS: Final[Mapping[str, Key]] = {
    "tags": Key(strings, "texts", code=True),
    "environment": Key(texts, "environment", late=True),
    "before_script": Key(strings, "texts", late=True, code=True),
    "after_script": Key(strings, "texts", late=True, code=True),
    "cache": Key(caches, "caches", late=True),
    "working_dir": Key(text, "text", late=True, code=True),
    "method": Key(method, "method"),
    **containers.DEFAULTS,
}
RETRIES: Final[Mapping[str, Key]] = {
    "retry": _COUNT,
    "delay_between_retries": Key(duration, "duration"),
    "retry_backoff_policy": Key(_model(Backoff, lambda: BACKOFF), "backoff"),
}
TASK: Final = Table(
    "a task",
    {
        "task_type": Key(name_of, "name"),
        "description": Key(text, "text", late=True),
        "on_completed": Key(target, "target"),
        "on_failed": Key(target, "target"),
        "on_exit_code": Key(exit_codes, "exit_codes"),
        "needs": Key(names, "texts"),
        "dependencies": Key(names, "texts"),
        "matrix": Key(matrix, "matrix"),
        "except": Key(text, "text", late=True, field="except_"),
        "when": Key(when, "when_filter"),
        "script": Key(strings, "texts", late=True, code=True),
        "shell": Key(strings, "texts", late=True, code=True),
        "variables": Key(variables, "variables", late=True),
        "checkout": Key(checkout, "checkout", late=True),
        "timeout": Key(duration, "duration"),
        "allow_failure": Key(allow_failure, "allow_failure"),
        "allow_start_if_completed": Key(flag, "flag"),
        "always_run": Key(flag, "flag"),
        "artifacts": Key(_model(Artifacts, lambda: ARTIFACTS), "artifacts", late=True),
        "reports": Key(_model(ReportFiles, lambda: REPORTS), "reports", late=True),
        "report_stdout": Key(flag, "flag"),
        "artifact_ids": Key(strings, "texts", late=True),
        "resources": Key(resources, "resources"),
        "approval_policy": Key(approval_policy, "approval_policy"),
        "await_forked_tasks": Key(names, "texts"),
        **forking.KEYS,
        **requesting.KEYS,
        **containers.KEYS,
        "secrets": Key(secrets, "secrets", late=True),
        "webhook": Key(hook, "hook", late=True),
        "notify": Key(notify, "notify", late=True),
        **DEFAULTS,
        **RETRIES,
    },
)
JOB: Final = Table(
    "a job",
    {
        "job_type": Key(name_of, "name", static=True),
        "description": Key(text, "text"),
        "url": Key(text, "text"),
        "platform": Key(text, "text", code=True),
        "template": Key(template, "template", static=True),
        "include": Key(include, "include", static=True),
        "triggers": Key(triggers, "triggers", static=True),
        "cron_trigger": Key(cron_trigger, "text", static=True),
        "timezone": Key(timezone, "text", static=True),
        "cron_missed": Key(one_of("latest", "all", "none"), "cron_missed"),
        "params": Key(params, "params", static=True),
        **plugins.KEYS,
        "required_params": Key(strings, "texts", static=True),
        "job_variables": Key(variables, "variables"),
        "skip_if": Key(text, "text"),
        "max_concurrency": Key(fits(1), "count"),
        "concurrency": Key(concurrency, "concurrency"),
        "resources": Key(resources, "resources"),
        "priority": Key(fits(), "integer"),
        "timeout": Key(duration, "duration"),
        "hard_reset_after_retries": _COUNT,
        "pause_time": Key(duration, "duration"),
        "webhook": Key(hook, "hook"),
        "notify": Key(notify, "notify"),
        "status": Key(status, "status"),
        "retention": Key(retention, "retention"),
        **RETRIES,
    },
)
