"""Where `formicary run` runs a task of containers: where its method says, or (`--on-host`) on this host, said aloud."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import anyio

from formicary.cli.house import House
from formicary.runner.core.containing import CONTAINED, CONTAINER
from formicary.runner.core.definition import QUEENS, TaskDefinition
from formicary.runner.core.errors import UserError
from formicary.runner.core.execution import Plan

ON_HOST: Final = "SHELL"
JOINS: Final = 30.0
"""Seconds that the ant of this process may take to look what it can run."""


def on_this_host(plan: Plan) -> Plan:
    """The plan with the method SHELL for what else would run in containers."""
    tasks = tuple(_here(task) for task in plan.definition.tasks)
    return plan.model_copy(update={"definition": plan.definition.model_copy(update={"tasks": tasks})})


def _here(task: TaskDefinition) -> TaskDefinition:
    if task.method not in CONTAINED:
        return task
    return task.model_copy(update={"method": ON_HOST, "variants": tuple(map(_here, task.variants))})


def said_of(tasks: Iterable[TaskDefinition]) -> list[str]:
    """What is said before tasks of containers run on this host. Raises UserError where one cannot."""
    found: list[str] = []
    for task in tasks:
        if task.method not in CONTAINED:
            continue
        if not task.script and not task.before_script:
            raise UserError(
                f"`{task.task_type}` runs what its image holds: without a `script` it cannot run on this host"
            )
        missing = f", and without its services {', '.join(one.name for one in task.services)}" if task.services else ""
        image = task.image or "its image"
        found.append(f"`{task.task_type}` runs on this host, not in a container of {image}{missing} (--on-host)")
    return found


async def must_be_runnable(house: House, tasks: Sequence[TaskDefinition]) -> None:
    """Wait for the ant of this process, and raise UserError where it cannot run one of these: no other comes."""
    with house.queen.changes.subscribe() as news, anyio.move_on_after(JOINS):
        while not house.queen.ants():
            await news.next()
    ants = house.queen.ants()
    methods = QUEENS.union(*(ant.methods for ant in ants))
    for task in tasks:
        if ants and task.method not in methods:
            why = next(filter(None, (ant.without.get(task.method, "") for ant in ants)), "")
            raise UserError(_cannot(task, why))


def _cannot(task: TaskDefinition, why: str) -> str:
    if task.method not in CONTAINED:
        return (
            f"`{task.task_type}` has the method {task.method}, which `formicary run` has no ant for; run it on a server"
        )
    engine = "a container" if task.method == CONTAINER else task.method
    reason = why or f"nothing here runs {'containers' if task.method == CONTAINER else task.method}"
    return (
        f"`{task.task_type}` wants {engine}, and {reason}; `formicary run --on-host` runs it with this host's own tools"
        " instead"
    )
