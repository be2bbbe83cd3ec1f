"""Which tasks an execution passes by because of their `when`: known when it is planned, by the facts of git."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from formicary.runner.core.definition import JobDefinition, Value, WhenFilter
from formicary.runner.queen.arriving.globs import globs_of


def passed_by(job: JobDefinition, params: Mapping[str, Value]) -> JobDefinition:
    """The job, with the reason in those of its tasks that `when` excludes."""
    reasons = {task.task_type: unwanted(task.when, params) for task in job.tasks if task.when is not None}
    if not any(reasons.values()):
        return job
    tasks = [task.model_copy(update={"unwanted": reasons.get(task.task_type, "")}) for task in job.tasks]
    return job.model_copy(update={"tasks": tuple(tasks)})


def unwanted(when: WhenFilter, params: Mapping[str, Value]) -> str:
    """Why it does not match, as a sentence; empty where it does. Files that nobody knows of exclude nothing."""
    branch, event = str(params.get("GitBranch") or ""), str(params.get("GitEvent") or "")
    changed = params.get("GitChangedFiles")
    files = [str(file) for file in changed] if isinstance(changed, list) else []
    if when.branch and not _any(when.branch, [branch]):
        return f"Its `when` is for the branch {_listed(when.branch)}, and this is {_named(branch)}."
    if when.event and not _any(when.event, [event]):
        return f"Its `when` is for the event {_listed(when.event)}, and this is {_named(event)}."
    if when.path and files and not _any(when.path, files):
        return f"Its `when` is for changes of {_listed(when.path)}, and none of the changed files is among these."
    return ""


def _any(globs: tuple[str, ...], names: Iterable[str]) -> bool:
    return any(globs_of(globs).match(name) for name in names if name)


def _named(name: str) -> str:
    return f"`{name}`" if name else "none"


def _listed(globs: tuple[str, ...]) -> str:
    return ", ".join(f"`{glob}`" for glob in globs)
