"""One job execution as data: its tasks and their attempts, the events that move it, the orders that follow.

Shapes only; `plan.decide` moves them. Times are seconds since the epoch. An execution is stored whole, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import is_not
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from formicary.runner.core.clock import ClockSet
from formicary.runner.core.definition import JobDefinition, Value
from formicary.runner.core.errors import ERR_ANT_LOST
from formicary.runner.core.forked import CancelChildren, ChildEnded, Children, Forked, Gather, Mind, Overlong, Spread
from formicary.runner.core.judged import Judgement
from formicary.runner.core.known import Known
from formicary.runner.core.policy import Answer, Approved, Due, Overdue, Rejected, Vote
from formicary.runner.core.reports import Reports, Tally
from formicary.runner.core.states import State


class Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ArtifactRef(Part):
    """An artifact of a finished attempt; `digest` is the sha256 of its bytes, `kind` file or tar; `number`: of which
    of the task's paths, from 1. `executable`: a single file keeps that permission, as a tar does for each of its files.
    `folder`: where it is put in place, of a forked job among others."""

    name: str
    kind: str = "file"
    digest: str
    size: int = 0
    executable: bool = False
    folder: str = ""
    number: int = 0


class Held(Part):
    """Units of a shared resource that a job or a task has while it runs. It is part of the execution, so it ends with
    it. `variables`: what its properties are called in templates."""

    resource_id: int
    resource_type: str
    value: int = 1
    variables: Mapping[str, Value] = Field(default_factory=dict)


class Attempt(Part):
    """A task execution: one attempt at a task. `number` counts from 1 within the execution (TaskRetry = number - 1).
    `tally`: its reports in figures, the rest is in the store. `hard`: an error code forbids any retry, as FATAL does.
    `votes` of a MANUAL task: one a person, the newest; `overdue`: what of its approval has passed."""

    id: str
    number: int
    fence: int
    state: State = State.READY
    ant_id: str = ""
    ready_at: float | None = None
    started_at: float | None = None
    executing_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    error_code: str = ""
    error_message: str = ""
    outputs: Mapping[str, Value] = Field(default_factory=dict)
    artifacts: tuple[ArtifactRef, ...] = ()
    warnings: tuple[str, ...] = ()
    usage: Mapping[str, float] = Field(default_factory=dict)
    tally: Tally | None = None
    hard: bool = False
    held: Held | None = None
    children: Children | None = None
    votes: tuple[Vote, ...] = ()
    overdue: tuple[Due, ...] = ()


class Combinations(Part):
    """How the combinations of a matrix task stand, once it has begun: `left` have not ended; `busy` of these are
    offered, run, or are tried again later; all before number `next` have had their turn. `spoilt` = the one whose
    failure stopped the others (fail_fast). At the end `worst` decided; `waived` = what failed may fail."""

    size: int
    left: int
    busy: int = 0
    next: int = 0
    spoilt: str = ""
    worst: str = ""
    waived: bool = False


class TaskRun(Part):
    """A task within an execution; or one combination of a matrix task, named `test (python=3.12)`, with `matrix_of` =
    the task. The matrix task itself has no attempts. `reason` says why it was skipped or what its state means, as a
    sentence.

    `polling_since`: when the first attempt of a task that polls (EXECUTING) was offered. `rerun`: it asked for another
    attempt of the whole job, and runs again in it even if it completed.

    `failures` and `lost` are the budgets used since the task was last reset; `retry_at` is when a PENDING task that has
    failed is tried again; `chosen` = a transition named it; `led_to` = the task that its own outcome chose; `because` =
    the failed task for which it was SKIPPED; `excepted` = by its own `except`, which counts as completed."""

    name: str
    state: State = State.PENDING
    reason: str = ""
    chosen: bool = False
    led_to: str = ""
    because: str = ""
    excepted: bool = False
    failures: int = 0
    lost: int = 0
    retry_at: float | None = None
    polling_since: float | None = None
    rerun: bool = False
    matrix_of: str = ""
    combinations: Combinations | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


class Execution(Part):
    """One run of a request. `next_number` gives task executions their ids (`<execution id>-<n>`); it is the fence too.

    `job_retry` counts job retries; `cancelled` 0 = no, 1 = asked (always_run tasks still run), 2 = asked again;
    `closing` = the always_run tasks are running; `fatal` = nothing new starts and nothing is retried. `rest` =
    RESTART_JOB or PAUSE_JOB was said, by a task or (PAUSE) a person: nothing new starts, and when what runs has ended
    the job rests until `retry_at`, or until somebody resumes it. `rested` counts these; `resting_since` = it does now.
    A job that waits for people alone rests too, as MANUAL_APPROVAL_REQUIRED; ANSWERED = they have answered, and it goes
    on, as the same attempt of the job, when it is admitted again. `held` = what the whole job holds; none at rest."""

    id: int
    request_id: int
    state: State = State.READY
    job_retry: int = 0
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    deadline: float | None = None
    retry_at: float | None = None
    cancelled: int = 0
    cancel_reason: str = ""
    timed_out: bool = False
    closing: bool = False
    fatal: bool = False
    rest: Literal["", "RESTART_JOB", "PAUSE_JOB", "PAUSE", "ANSWERED"] = ""
    rest_reason: str = ""
    rested: int = 0
    resting_since: float | None = None
    error_code: str = ""
    error_message: str = ""
    next_number: int = 1
    held: Held | None = None
    tasks: Mapping[str, TaskRun] = Field(default_factory=dict)

    _places: Known = PrivateAttr(default_factory=Known)
    _awaited: Known = PrivateAttr(default_factory=Known)

    def attempt(self, task_execution_id: str) -> tuple[TaskRun, Attempt] | None:
        run = self.tasks.get(self._places.get(task_execution_id, ""))
        found = _attempt(run, task_execution_id) if run is not None else None
        if run is not None and found is not None:
            return run, found
        for run in self.tasks.values():
            if (found := _attempt(run, task_execution_id)) is not None:
                self.placed(task_execution_id, run.name)
                return run, found
        return None

    def placed(self, task_execution_id: str, task: str) -> None:
        """Where to look first when this attempt is asked for, of this execution and of those that follow it."""
        self._places[task_execution_id] = task

    @property
    def awaited(self) -> Known:
        """Of those for which a task waits, one that had not ended when it was looked at."""
        return self._awaited

    def changed_since(self, before: Execution | None) -> Iterator[TaskRun]:
        """The tasks that are not as they were in `before`, an earlier moment of this execution."""
        if before is None:
            return iter(self.tasks.values())
        old, new = tuple(before.tasks.values()), tuple(self.tasks.values())
        return chain(compress(new, map(is_not, new, old)), new[len(old) :])


def _attempt(run: TaskRun, task_execution_id: str) -> Attempt | None:
    return next((attempt for attempt in reversed(run.attempts) if attempt.id == task_execution_id), None)


@dataclass(frozen=True, slots=True)
class Begin:
    """The plan is made and the request admitted."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An ant took the offer, with the units of a resource that the task needs."""

    task_execution_id: str
    fence: int
    ant_id: str
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Executing:
    """The ant says that the script runs."""

    task_execution_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended, as the ant (or the queen, for what never reached one) says it."""

    exit_code: int | None = None
    error_code: str = ""
    error_message: str = ""
    outputs: Mapping[str, Value] = field(default_factory=dict)
    artifacts: tuple[ArtifactRef, ...] = ()
    warnings: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
    excepted: bool = False
    """Its `except` held `true` when the attempt was rendered: SKIPPED, counts as completed."""
    answer: Answer = ""
    """What people have decided, of a MANUAL task."""
    completed: bool = False
    """Its exit code is a success though it is not 0: a 2xx of HTTP."""
    reports: Reports | None = None
    judged: Judgement | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    task_execution_id: str
    fence: int
    result: Result


@dataclass(frozen=True, slots=True)
class AntLost:
    """The lease ended without a result, or the ant cannot go on: lost, not failed (D12). `code` is of `LOST_CODES`."""

    task_execution_id: str
    fence: int
    message: str
    code: str = ERR_ANT_LOST


@dataclass(frozen=True, slots=True)
class OfferReturned:
    """The offer was not taken up, or its claim was not followed by a start (D3): offered again, no budget used."""

    task_execution_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Acquired:
    """The job was admitted again, and has these units until it rests or ends."""

    held: Held


@dataclass(frozen=True, slots=True)
class RetryDue:
    """A retry's delay is over: of `task`, or of the whole job where it is empty."""

    task: str = ""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The job's timeout is over."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """A person wants nothing new to start: the job pauses when what runs has ended, until it is resumed."""

    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """A person wants a resting job to go on now; one that is about to rest does not."""

    by: str


Event = (
    Begin
    | Claimed
    | Executing
    | Finished
    | AntLost
    | OfferReturned
    | Acquired
    | RetryDue
    | DeadlinePassed
    | CancelAsked
    | PauseAsked
    | ResumeAsked
    | ClockSet
    | Approved
    | Rejected
    | Overdue
    | Forked
    | ChildEnded
    | Overlong
    | Spread
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A task is ready: find it an ant."""

    execution_id: int
    task: str
    task_execution_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A MANUAL task is ready: people may vote on it. Harmless when it comes twice."""

    execution_id: int
    task: str
    task_execution_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """An offer that nobody took no longer stands."""

    task_execution_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell the ant to end this attempt; its report still comes."""

    task_execution_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Feed `event` to the execution at `at`. Harmless when it comes twice or too late."""

    execution_id: int
    at: float
    event: RetryDue | DeadlinePassed | Overdue | Overlong


@dataclass(frozen=True, slots=True)
class Forget:
    """An attempt of a task that polls is not kept any more, nor is its log. Harmless when it comes twice."""

    task_execution_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The execution reached its terminal state."""

    execution_id: int
    state: State


Order = Offer | Ask | Withdraw | Stop | WakeAt | Forget | Ended | Mind | Gather | CancelChildren


class Plan(Part):
    """The rendered definition that an execution follows; rendered once, stored, never changed."""

    definition: JobDefinition
    tainted: tuple[str, ...] = ()
    """Names of job variables that came from tainted values."""
