"""What the ant and an executor promise each other; every executor passes the suite in `test_executor_contract.py`.

An executor opens a place for a task (a process group, a container, a pod) and runs the task's items in it, first the
script, then the after_script. What goes wrong in a task is an `Outcome`, not an exception: the exit code and the error
code say whose fault it was. `ERR_LOST` is ours (D12), everything else the user's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from formicary.runner.core.definition import TaskDefinition


class Sink(Protocol):
    """Where an executor's words go, in order. Its methods are synchronous and quick, and never raise."""

    def cmd(self, text: str) -> None:
        """A script item that is about to run."""

    def out(self, data: bytes) -> None:
        """What it wrote; standard output and standard error are one stream."""

    def sys(self, text: str) -> None:
        """Our own words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What each process of a task may use; None = no limit."""

    cpu_seconds: int | None = None
    memory_bytes: int | None = None
    file_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that an executor needs for a task.

    `environment` is complete: the task sees this and nothing else. `workspace` and `run_dir` exist; the task's
    working_dir is resolved below the workspace; run_dir holds our files (scripts, FORMICARY_OUTPUT) and the task's user
    must be able to reach it. `uid` and `gid` None = the ant's own user. `allow_networks`: those within that the
    operator lets definitions call (T14). `fence` and `ant_id` are for whoever looks at what runs.
    """

    task_execution_id: str
    task: TaskDefinition
    environment: Mapping[str, str]
    workspace: Path
    run_dir: Path
    uid: int | None = None
    gid: int | None = None
    limits: Limits = Limits()
    allow_networks: tuple[str, ...] = ()
    fence: int = 0
    ant_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a script ended. `exit_code` None: it never got that far. `usage`: user_seconds, system_seconds,
    max_rss_bytes, wall_seconds, sent_bytes, received_bytes, as far as they are known. `completed`: an exit code that
    is a success though it is not 0."""

    exit_code: int | None
    error_code: str = ""
    error_message: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)
    completed: bool = False

    @property
    def ok(self) -> bool:
        return (self.completed or self.exit_code == 0) and not self.error_code


class Session(Protocol):
    """One task's place. Scripts may run in it one after the other, never at the same time."""

    async def run(self, items: Sequence[str], sink: Sink, *, name: str = "script", check: bool = True) -> Outcome:
        """Run `items` in one shell, or each in its own (`fresh_shell`); a failing script is an Outcome. `name` (script,
        after_script, before_script of fresh shells) names its file in run_dir.

        With `check` the first item that ends with another status than 0 ends the script; without it all items run, and
        the last one decides. May raise LostError, which means the same as an Outcome with ERR_LOST. Cancelling the
        scope ends everything that was started (TERM, grace, KILL) before this returns; another run may follow.
        """


class Executor(Protocol):
    """How tasks of its methods are run. It is shared by all tasks of an ant."""

    methods: frozenset[str]

    def open(self, prepared: Prepared) -> AbstractAsyncContextManager[Session]:
        """A place for this task; nothing of it is left when the context is left."""

    async def aclose(self) -> None:
        """Give back what the executor keeps ready. No session is open any more."""
