"""Forked jobs as data: what a definition says of them, the children of an attempt, the events and orders about them.

The names are the language's: FORK_JOB makes requests of their own, the children; AWAIT_FORKED_JOB waits for them. Both
need no ant. A child is stored in the change that moves the attempt on which it hangs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from formicary.runner.core.states import SUCCESS, State

FORK: Final = "FORK_JOB"
AWAIT: Final = "AWAIT_FORKED_JOB"
FORKS: Final = frozenset({FORK, AWAIT})
"""Methods that the queen carries out herself, without asking anybody."""
SPELLINGS: Final[Mapping[str, str]] = {"JOB_FORK": FORK, "JOB_FORK_AWAIT": AWAIT}
MOST_CHILDREN: Final = 1000
"""Children of one execution."""
DEEPEST: Final = 8
"""How many jobs may stand above each other."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SubWorkflow(_Frozen):
    """The key `sub_workflow`. `input_params`: the child's parameters, and no others (None: those of the parent and the
    task's variables). `output_variables`: which outputs of the child are the task's, and as what (None: all, as they
    are called). `wait_for_completion` None: as the task needs it."""

    input_params: Mapping[str, Any] | None = None
    output_variables: Mapping[str, str] | None = None
    wait_for_completion: bool | None = None
    tainted: tuple[str, ...] = ()
    """Those of `input_params` that outsiders had a hand in."""


class FanOut(_Frozen):
    """The key `fan_out`: the forked job, or the task's own script, once an item of `source`, a list or the name of one.
    `max_parallel` 0: all at once; `fail_fast`: the first that fails ends the others."""

    source: Any = ""
    item_var: str = ""
    max_parallel: int = 0
    fail_fast: bool = False
    fork_job_type: str = ""
    fork_job_version: str = ""
    tainted: bool = False
    """Whether outsiders had a hand in `source`."""


class Child(_Frozen):
    """A forked request. `label`: the task that forked it, or its item; `state`: how it ended; `released`: its turn has
    come (`max_parallel`); `tainted`: what it tells may be outsiders' words."""

    request_id: int
    label: str = ""
    state: State | None = None
    released: bool = True
    tainted: bool = False

    @property
    def failed(self) -> bool:
        return self.state is not None and self.state not in SUCCESS


class Children(_Frozen):
    """The children of an attempt; `waits`: it ends when they all have."""

    each: tuple[Child, ...] = ()
    waits: bool = False
    fail_fast: bool = False

    @property
    def left(self) -> tuple[int, ...]:
        """The requests that have not ended, as far as is known here."""
        return tuple(child.request_id for child in self.each if child.state is None)

    @property
    def minded(self) -> tuple[int, ...]:
        """Of these, those whose turn has come."""
        return tuple(child.request_id for child in self.each if child.state is None and child.released)

    @property
    def spoilt(self) -> int | None:
        """The one that failed, for which nobody else's turn comes any more (fail_fast)."""
        return next((child.request_id for child in self.each if child.failed), None) if self.fail_fast else None


@dataclass(frozen=True, slots=True)
class Forked:
    """The attempt has these children from now on; `outputs` are those of one that does not wait."""

    task_execution_id: str
    fence: int
    children: Children
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A child of this attempt has come to its end. Harmless when it comes twice."""

    task_execution_id: str
    request_id: int
    state: State


@dataclass(frozen=True, slots=True)
class Overlong:
    """The attempt has waited for its children as long as its timeout."""

    task_execution_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Spread:
    """The list of a task that runs once an item is made, and its items are the combinations of the plan that is decided
    by from now on. `other`: runs of the same names that were of other items."""

    task_execution_id: str
    fence: int
    other: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mind:
    """These children may run: what waits starts, and what has ended is told. Harmless when it comes twice."""

    task_execution_id: str
    request_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """All children have ended: make their ends the attempt's."""

    task: str
    task_execution_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class CancelChildren:
    """End these, running or waiting. Harmless for those that have ended."""

    request_ids: tuple[int, ...]
    reason: str
