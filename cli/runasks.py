"""MANUAL tasks in `formicary run`: whoever sits at the terminal decides; where there is none, nobody does, and no."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass, field

import anyio
import click
from anyio.abc import TaskGroup

from formicary.cli.format import harmless
from formicary.cli.house import House
from formicary.runner.core.errors import Conflict
from formicary.runner.core.execution import Plan
from formicary.runner.core.policy import ApprovalPolicy
from formicary.runner.core.records import JobRequest
from formicary.runner.queen.people.approvals import Ballot, Question, questions


def by_whoever_runs_it(plan: Plan) -> Plan:
    """Without what a server would ask of people: one is there, and he decides."""
    tasks = tuple(task.model_copy(update={"approval_policy": ApprovalPolicy()}) for task in plan.definition.tasks)
    return plan.model_copy(update={"definition": plan.definition.model_copy(update={"tasks": tasks})})


@dataclass(slots=True)
class Asking:
    """Asks each question once, one after the other."""

    house: House
    group: TaskGroup
    _asked: set[str] = field(default_factory=set)
    _one: anyio.Lock = field(default_factory=anyio.Lock)

    def look(self, request: JobRequest) -> None:
        for one in questions(self.house.store.read(), request):
            if one.open and one.attempt.id not in self._asked:
                self._asked.add(one.attempt.id)
                self.group.start_soon(self._ask, one, name=f"ask about {one.task}")

    async def _ask(self, one: Question) -> None:
        async with self._one:
            approved, comment = await _answer(one)
        try:
            name = f"{getpass.getuser()} at the terminal" if sys.stdin.isatty() else "run"
            ballot = Ballot(approved=approved, by=name, role="admin", task=one.task, comment=comment)
            await self.house.queen.vote(one.request.id, ballot)
        except Conflict:
            pass  # it was cancelled meanwhile


async def _answer(one: Question) -> tuple[bool, str]:
    if not sys.stdin.isatty():
        return False, "there is no terminal to ask at"
    about = f" ({harmless(one.description)})" if one.description else ""
    click.echo(f"? approve {harmless(one.task)}{about} [y/n] ", nl=False, err=True)
    while True:
        await anyio.wait_readable(sys.stdin)
        said = sys.stdin.readline()
        if not said or said.strip().lower() in ("y", "yes", "n", "no"):
            return said.strip().lower() in ("y", "yes"), ""
        click.echo("y or n? ", nl=False, err=True)
