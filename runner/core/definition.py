"""What a definition says, once its text is parsed and its templates are filled. Shapes only: no text, no decisions.

Fields are the keys of the definition language. Durations are seconds (float). A key of the language that this version
cannot do yet is in one of the `…_NOT_YET` sets, so that the loader can tell it from a misspelt one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from formicary.runner.core.containing import ENGINES, Contained
from formicary.runner.core.forked import FORKS, FanOut, SubWorkflow
from formicary.runner.core.policy import ApprovalPolicy
from formicary.runner.core.reports import ReportFiles
from formicary.runner.core.shape import Shape
from formicary.runner.core.webhooks import WebhookTrigger

MAX_NAME: Final = 100
DEFAULT_JOB_TIMEOUT: Final = 2 * 3600.0
DEFAULT_TASK_TIMEOUT: Final = 3600.0
DEFAULT_MAX_CONCURRENCY: Final = 3
DEFAULT_PAUSE_TIME: Final = 30.0

Dialect = Literal["native", "go"]
"""What a definition is written in: this language, or that of the Go original."""
NATIVE: Final[Dialect] = "native"
GO: Final[Dialect] = "go"
DIALECTS: Final[tuple[Dialect, ...]] = (NATIVE, GO)

Value = str | int | float | bool | None | list[Any] | dict[str, Any]
"""What a parameter, variable or output may be: plain data."""


class Param(Shape):
    """A typed input of a manual run."""

    description: str = ""
    default: Value = None
    enum: tuple[str, ...] = ()
    pattern: str = ""
    secret: bool = False


class RefFilter(Shape):
    """Which moves of refs a `commit` or `push` trigger wants. Globs as in .gitignore; empty means every one.

    A tag is wanted only where `tags` is given or neither `branches` nor `tags` is.
    """

    branches: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    paths_ignore: tuple[str, ...] = ()
    every_commit: bool = False


PullRequestType = Literal[
    "opened", "synchronize", "reopened", "closed", "labeled", "unlabeled", "ready_for_review", "edited"
]
"""What can happen to a pull request, as GitHub's `action` calls it."""


class PullRequestFilter(Shape):
    """Which events of pull requests are wanted. Globs as in .gitignore; empty means every one.

    `branches` are base branches, the ones to merge into.
    """

    branches: tuple[str, ...] = ()
    types: tuple[PullRequestType, ...] = ("opened", "synchronize", "reopened")
    paths: tuple[str, ...] = ()
    paths_ignore: tuple[str, ...] = ()


class Triggers(Shape):
    """What starts the job; None = this trigger is not there. Local repositories tell no `commit` from a `push`.

    `schedule` is another way to write the job's cron_trigger; `completed` names the jobs whose success starts it.
    """

    commit: RefFilter | None = None
    push: RefFilter | None = None
    pull_request: PullRequestFilter | None = None
    schedule: str = ""
    completed: tuple[str, ...] = ()
    webhook: tuple[WebhookTrigger, ...] = ()


class Concurrency(Shape):
    """One running job a `group`, within a repository. `cancel_in_progress`: a newer request ends the older ones."""

    group: str
    cancel_in_progress: bool = False


class ExtractConfig(Shape):
    """Which properties of the held resource become variables `<context_prefix>_<property>`; none named: all."""

    properties: tuple[str, ...] = ()
    context_prefix: str = ""


class Resource(Shape):
    """What is held while the job, or the task, runs: `value` units of a registered pool that has this type, this
    platform (if one is named) and all of these tags."""

    resource_type: str
    platform: str = ""
    tags: tuple[str, ...] = ()
    value: int = 1
    extract_config: ExtractConfig | None = None


class Hook(Shape):
    """The key `webhook`: where to POST the event at every state change. Texts may hold tokens of secrets."""

    url: str
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)


class Notify(Shape):
    """One channel of `notify`; `urls` are Apprise's. Without `when` every end is told, as in the Go original."""

    channel: Literal["email", "slack", "urls"]
    recipients: tuple[str, ...]
    when: Literal["always", "onSuccess", "onFailure", "onChange", "never"] = "always"


class Status(Shape):
    """How the job shows on its commit. Without `context` it is `formicary/<job>`."""

    context: str = ""
    per_task: bool = False
    enabled: bool = True


class Retention(Shape):
    """How long the job's ended requests are kept, by their end, in seconds; None = as long as the server's setting."""

    completed: float | None = None
    failed: float | None = None
    cancelled: float | None = None


class Backoff(Shape):
    """Delay before retry n (from 1) = min(max, min_ * factor**(n-1)), and up to `jitter` (0..1) of it more."""

    min: float = 1.0
    max: float = 300.0
    factor: float = 2.0
    jitter: float = 0.0


class Retry(Shape):
    """Extra attempts after the first. With `backoff` its delays hold, else `delay` seconds."""

    attempts: int = 0
    delay: float = 0.0
    backoff: Backoff | None = None


class Artifacts(Shape):
    """What to keep of a task: one artifact a path; globs; a directory becomes a tar. Relative to working_dir."""

    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    when: Literal["always", "onSuccess", "onFailure"] = "onSuccess"
    expires_after: float | None = None


class Cache(Shape):
    """What to bring from earlier runs. The key is `key` and the digests of the files that `key_paths` match."""

    key: str = "default"
    key_paths: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    fallback_keys: tuple[str, ...] = ()
    expires_after: float | None = None
    policy: Literal["pull-push", "pull", "push"] = "pull-push"


class Checkout(Shape):
    """How a commit gets into the workspace. `depth` 0 = the whole history; `ref`: a branch, a tag or a full commit id
    of the same repository in place of the request's commit."""

    enabled: bool = True
    depth: int = 50
    ref: str = ""


class Target(Shape):
    """Where an outcome leads: a task by name, or one of the words in `WORDS` (`ERR_…` names the error code)."""

    name: str

    @property
    def is_task(self) -> bool:
        return self.name not in WORDS and not self.name.startswith("ERR_")


#: Words that a transition may name in place of a task.
WORDS: Final = frozenset({"COMPLETED", "FAILED", "FATAL", "EXECUTING", "RESTART_TASK", "RESTART_JOB", "PAUSE_JOB"})


MANUAL: Final = "MANUAL"
"""The method of what people do: approve or reject."""
EXPIRE: Final = "EXPIRE_ARTIFACTS"
QUEENS: Final = frozenset({MANUAL, EXPIRE, *FORKS})
"""Methods for which no ant is needed."""
HTTP_METHODS: Final[Mapping[str, str]] = {
    "HTTP_GET": "GET",
    "HTTP_POST_FORM": "POST",
    "HTTP_POST_JSON": "POST",
    "HTTP_PUT_FORM": "PUT",
    "HTTP_PUT_JSON": "PUT",
    "HTTP_DELETE": "DELETE",
}
"""Methods that send one request, and how."""
METHODS: Final = frozenset({"SHELL", *ENGINES, "WEBSOCKET", "MESSAGING", *HTTP_METHODS, *QUEENS})
METHODS_NOT_YET: Final = frozenset[str]()
TRIGGERS_NOT_YET: Final = frozenset({"comment", "release", "s3", "queue"})
CHECKOUT_KEYS_NOT_YET: Final = frozenset({"submodules", "lfs"})


class Combination(Shape):
    """One of a matrix's: the variables of its run. `label` names it: `python=3.12, os=linux`. `variant`: which of the
    task's `variants` it follows."""

    label: str
    values: Mapping[str, Value]
    variant: int = 0


class Matrix(Shape):
    """The runs of one task, in order. `max_parallel` 0: as many as `combinations.MOST_AT_ONCE`."""

    combinations: tuple[Combination, ...] = ()
    max_parallel: int = 0
    fail_fast: bool = False
    names: tuple[str, ...] = ()
    """Every variable of any combination."""
    tainted: tuple[str, ...] = ()
    """Those of `names` whose values outsiders had a hand in."""


class WhenFilter(Shape):
    """The key `when`: globs as in .gitignore; empty means every one. All that are given must match."""

    branch: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


class TaskDefinition(Contained):
    """One task. `except_` holds rendered text; scripts are lists of items."""

    task_type: str
    description: str = ""
    method: str = "SHELL"
    on_completed: Target | None = None
    on_failed: Target | None = None
    on_exit_code: Mapping[str, Target] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    matrix: Matrix | None = None
    variants: tuple[TaskDefinition, ...] = ()
    """What its combinations follow, where their variables shape more than what each attempt renders anew."""
    except_: str = ""
    when: WhenFilter | None = None
    unwanted: str = ""
    """Why this execution passes it by, known when it was planned: SKIPPED, and counts as completed."""
    before_script: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    after_script: tuple[str, ...] = ()
    shell: tuple[str, ...] = ("sh",)
    fresh_shell: bool = False
    """As the Go original runs it: a shell of its own for each line, and before_script before artifacts and cache."""
    environment: Mapping[str, str] = Field(default_factory=dict)
    variables: Mapping[str, Value] = Field(default_factory=dict)
    working_dir: str = ""
    checkout: Checkout = Checkout()
    timeout: float = DEFAULT_TASK_TIMEOUT
    retry: Retry = Retry()
    allow_failure: bool | tuple[int, ...] = False
    allow_start_if_completed: bool = False
    always_run: bool = False
    tags: tuple[str, ...] = ()
    artifacts: Artifacts = Artifacts()
    cache: tuple[Cache, ...] = ()
    reports: ReportFiles = ReportFiles()
    report_stdout: bool = False
    artifact_ids: tuple[str, ...] = ()
    webhook: Hook | None = None
    notify: tuple[Notify, ...] = ()
    resources: Resource | None = None
    approval_policy: ApprovalPolicy = ApprovalPolicy()
    fork_job_type: str = ""
    fork_job_version: str = ""
    await_forked_tasks: tuple[str, ...] = ()
    sub_workflow: SubWorkflow | None = None
    fan_out: FanOut | None = None
    url: str = ""
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    body: Value = None
    secrets: tuple[str, ...] | None = None
    """Which secret configs it may see; None = those that its text names (`names.secrets_of`)."""
    tainted_variables: tuple[str, ...] = ()
    """Those of `variables` that were made from something outsiders can write."""

    def forgives(self, exit_code: int | None) -> bool:
        """Whether allow_failure covers this exit code (None: it ended without one)."""
        if isinstance(self.allow_failure, bool):
            return self.allow_failure
        return exit_code in self.allow_failure


class JobDefinition(Shape):
    """One job. What the executor does not need stays text: `skip_if` is rendered text, true if it holds `true`."""

    job_type: str
    description: str = ""
    public_plugin: bool = False
    sem_version: str = ""
    url: str = ""
    platform: str = ""
    triggers: Triggers = Triggers()
    cron_trigger: str = ""
    timezone: str = "UTC"
    cron_missed: Literal["latest", "all", "none"] = "latest"
    params: Mapping[str, Param] = Field(default_factory=dict)
    required_params: tuple[str, ...] = ()
    job_variables: Mapping[str, Value] = Field(default_factory=dict)
    skip_if: str = ""
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    concurrency: Concurrency | None = None
    resources: Resource | None = None
    priority: int = 0
    timeout: float = DEFAULT_JOB_TIMEOUT
    retry: Retry = Retry()
    hard_reset_after_retries: int = 0
    """From this retry of the job on all tasks run again; 0 = never."""
    pause_time: float = DEFAULT_PAUSE_TIME
    tags: tuple[str, ...] = ()
    webhook: Hook | None = None
    notify: tuple[Notify, ...] = ()
    status: Status = Status()
    retention: Retention = Retention()
    tasks: tuple[TaskDefinition, ...] = ()
    tainted_variables: tuple[str, ...] = ()
    """Those of `job_variables` that were made from something outsiders can write."""

    def task(self, name: str) -> TaskDefinition:
        """The task called `name`. Raises KeyError."""
        for task in self.tasks:
            if task.task_type == name:
                return task
        raise KeyError(name)
