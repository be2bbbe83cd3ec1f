"""What is different for a task in containers: where its files are, and what it may not do here (T21). Pure."""

from __future__ import annotations

from formicary.ant.refusal import TaskRefused
from formicary.ant.settings import EVERY_REPOSITORY, AntSettings
from formicary.executors.inside import mount_path
from formicary.runner.core.containing import CONTAINED, risks
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import ERR_NOT_ALLOWED
from formicary.runner.core.messages import TaskOrder


def is_contained(task: TaskDefinition) -> bool:
    return task.method in CONTAINED


def folder(task: TaskDefinition) -> str:
    """Where the script begins, from the workspace's root: a container has its workspace at an absolute working_dir."""
    return "" if is_contained(task) and task.working_dir.startswith("/") else task.working_dir


def root(task: TaskDefinition, workspace: str) -> str:
    """The path of the workspace as the task sees it."""
    return mount_path(task) if is_contained(task) else workspace


def check(order: TaskOrder, settings: AntSettings) -> None:
    """T21: what reaches beyond the task's containers is for trusted runs of repositories that the operator names.
    Raises TaskRefused."""
    found = risks(order.task) if is_contained(order.task) else []
    if not found:
        return
    what = ", ".join(found)
    if not order.trusted:
        raise TaskRefused(ERR_NOT_ALLOWED, f"Refused: {what}: a run that is not trusted may not reach so far (T21).")
    if EVERY_REPOSITORY in settings.risky or (order.repository and order.repository in settings.risky):
        return
    whose = f"repository {order.repository!r}" if order.repository else "what belongs to no repository"
    raise TaskRefused(
        ERR_NOT_ALLOWED,
        f"Refused: {what}: this ant does not allow that for {whose}. Its operator can, by the setting `risky`.",
    )
