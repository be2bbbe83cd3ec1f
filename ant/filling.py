"""An order with its secrets filled in; from here on they stay in memory and in the task. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from formicary.ant.contained import is_contained
from formicary.runner.core.containing import Contained
from formicary.runner.core.definition import Artifacts, Cache, TaskDefinition
from formicary.runner.core.messages import TaskOrder
from formicary.runner.core.names import fill
from formicary.runner.core.secrets.masking import MASK

_TEXTS: Final = ("before_script", "script", "after_script", "shell")


def filled(order: TaskOrder) -> TaskOrder:
    """The same order where nothing had to be filled."""
    secrets = order.secrets
    changed: dict[str, Any] = {}
    for name in ("environment", "files"):
        texts: Mapping[str, str] = getattr(order, name)
        new = {key: fill(text, secrets) for key, text in texts.items()}
        if new != texts:
            changed[name] = new
    task = _task(order.task, secrets)
    if task is not order.task:
        changed["task"] = task
    return order.model_copy(update=changed) if changed else order


def _task(task: TaskDefinition, secrets: Mapping[str, str]) -> TaskDefinition:
    changed: dict[str, Any] = {}
    for name in _TEXTS:
        texts: tuple[str, ...] = getattr(task, name)
        if (new := _all(texts, secrets)) != texts:
            changed[name] = new
    if task.environment:
        changed["environment"] = {key: fill(text, secrets) for key, text in task.environment.items()}
    changed |= _request(task, secrets)
    if (folder := fill(task.working_dir, secrets)) != task.working_dir:
        changed["working_dir"] = folder
    if is_contained(task):
        changed |= _containers(task, secrets)
    if task.artifacts.paths:
        changed["artifacts"] = _artifacts(task.artifacts, secrets)
    if task.cache:
        changed["cache"] = tuple(_cache(cache, secrets) for cache in task.cache)
    return task.model_copy(update=changed) if changed else task


def _containers(task: TaskDefinition, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Every text of its containers, services and volumes."""
    names = ("container", "helper", "services", "volumes")
    there = task.model_dump(include={*names})
    if (filled := _deep(there, secrets)) == _deep(there, {}):
        return {}
    made = Contained.model_validate(filled)
    return {name: getattr(made, name) for name in names}


def _request(task: TaskDefinition, secrets: Mapping[str, str]) -> dict[str, Any]:
    """What an HTTP task sends."""
    found = {name: _deep(getattr(task, name), secrets) for name in ("url", "headers", "query", "body")}
    return {name: value for name, value in found.items() if value != getattr(task, name)}


def _deep(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, secrets)
    if isinstance(value, (list, tuple)):
        return [_deep(one, secrets) for one in value]
    if isinstance(value, Mapping):
        return {fill(name, secrets): _deep(one, secrets) for name, one in value.items()}
    return value


def _all(texts: tuple[str, ...], secrets: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(fill(text, secrets) for text in texts)


def _artifacts(artifacts: Artifacts, secrets: Mapping[str, str]) -> Artifacts:
    update = {"paths": _all(artifacts.paths, secrets), "exclude": _all(artifacts.exclude, secrets)}
    return artifacts.model_copy(update=update)


def _cache(cache: Cache, secrets: Mapping[str, str]) -> Cache:
    """What is kept is filed under its key for all to see, so secrets in it stay masked."""
    masks = dict.fromkeys(secrets, MASK.decode())
    update: dict[str, Any] = {name: _all(getattr(cache, name), secrets) for name in ("key_paths", "paths")}
    update["fallback_keys"] = _all(cache.fallback_keys, masks)
    return cache.model_copy(update={**update, "key": fill(cache.key, masks)})
