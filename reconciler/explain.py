"""What an event would run, and of each definition why, or why not. Blocking (it reads git); changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from formicary.reconciler import pulls, triggers
from formicary.runner.core.definition import JobDefinition, PullRequestFilter, RefFilter
from formicary.runner.core.errors import RequestRefused
from formicary.runner.core.heard import hear
from formicary.runner.core.language.functions import text_of
from formicary.runner.core.load import Loaded
from formicary.runner.core.records import PullRequest, Repository
from formicary.runner.core.refs import short
from formicary.runner.core.webhooks import WebhookTrigger
from formicary.runner.queen.arriving.sources import CommitDefinitions, Sources

Answer = Literal["runs", "skipped", "nothing", "invalid"]
"""`skipped`: its trigger names the event and its filter excludes it, so a request would end SKIPPED at once; `nothing`:
no trigger of it names the event; `invalid`: the definition cannot be read, so nothing of it runs."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One definition's answer, and the reason as a sentence."""

    job_type: str
    path: str
    answer: Answer
    reason: str


def push(sources: Sources, repository: Repository, ref: str, commit: str, before: str | None = None) -> list[Explained]:
    """What the definitions of `commit` would do if `ref` moved there (from `before`, else from its first parent).

    Raises NotFound, RepositoryUnavailable, SetupError.
    """
    git = sources.git(repository.path)
    files = tuple(git.changed_files(before, commit))
    pushed = triggers.Pushed(ref, git.commit(commit).message, files, bool(repository.url))

    def judge(job: JobDefinition) -> tuple[Answer, str]:
        verdict = triggers.judge(job, pushed)
        if verdict is None:
            return "nothing", _no_trigger(job, "commit or push" if not pushed.remote else "push")
        found = triggers.filter_of(job, remote=pushed.remote)
        return ("runs", _wants(verdict.event, found[1], ref)) if verdict.runs and found else ("skipped", verdict.reason)

    return _explained(sources.definitions(repository.path, commit, repository.dialect), judge)


def pull_request(sources: Sources, repository: Repository, pull: PullRequest, action: str) -> list[Explained]:
    """What the definitions of a pull request's head would do at this action; of a fork's, nothing runs. Raises as
    `push`."""
    git = sources.git(repository.path)
    files = tuple(pulls.changed_files(git, pull))

    def judge(job: JobDefinition) -> tuple[Answer, str]:
        wanted = job.triggers.pull_request
        if wanted is None:
            return "nothing", _no_trigger(job, "pull_request")
        if action not in wanted.types:
            return "nothing", f"its `pull_request` trigger is for {triggers.listed(wanted.types)}, not for `{action}`"
        if pull.fork:
            return "nothing", pulls.HELD
        reason = pulls.judge(wanted, pull, files)
        return ("skipped", reason) if reason else ("runs", _wants_pull(wanted, pull))

    return _explained(sources.definitions(repository.path, pull.head_commit, repository.dialect), judge)


def call(sources: Sources, repository: Repository, commit: str, body: object, name: str = "") -> list[Explained]:
    """What a call with this body would come to at each `webhook` trigger of the definitions of `commit`, or at those of
    one name. No header is sent along. Raises as `push`."""
    found = sources.definitions(repository.path, commit, repository.dialect)
    told: list[Explained] = []
    for one in found.loaded:
        triggers_ = one.definition.triggers.webhook if one.definition is not None and not one.problems else ()
        wanted = [trigger for trigger in triggers_ if name in ("", trigger.name)]
        told += [Explained(one.job_type or "", one.path, *_called(one, trigger, body)) for trigger in wanted]
        if not wanted:
            told.append(_one(one, lambda job: ("nothing", _no_trigger(job, f"webhook {name}".strip()))))
    return told + [Explained("", problem.path, "invalid", str(problem)) for problem in found.broken]


def _called(loaded: Loaded, trigger: WebhookTrigger, body: object) -> tuple[Answer, str]:
    of = f"its `webhook` trigger `{trigger.name}`"
    if not trigger.auth:
        return "nothing", f"{of} has no `auth`, so nobody may call it"
    try:
        heard = hear(trigger, loaded.dialect, body, {})
    except RequestRefused as error:
        return "nothing", f"{of} does not fit: {error}"
    if heard.unwanted:
        return "skipped", f"{of}: {heard.unwanted}"
    params = ", ".join(f"{key}={text_of(value)}" for key, value in heard.params.items()) or "no parameters"
    once = f"; once for `{heard.dedup_key}`" if heard.dedup_key else ""
    return "runs", f"{of}: {params}{once}"


def _explained(found: CommitDefinitions, judge: Callable[[JobDefinition], tuple[Answer, str]]) -> list[Explained]:
    return [_one(loaded, judge) for loaded in found.loaded] + [
        Explained("", problem.path, "invalid", str(problem)) for problem in found.broken
    ]


def _one(loaded: Loaded, judge: Callable[[JobDefinition], tuple[Answer, str]]) -> Explained:
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    if errors or loaded.definition is None:
        return Explained(loaded.job_type or "", loaded.path, "invalid", str(errors[0]) if errors else "it says nothing")
    return Explained(loaded.job_type or "", loaded.path, *judge(loaded.definition))


def _no_trigger(job: JobDefinition, event: str) -> str:
    if job.cron_trigger:
        return f"no trigger of it names {event}; it runs by its schedule, {job.cron_trigger}"
    return f"no trigger of it names {event}; it runs when it is asked for"


def _wants(event: str, wanted: RefFilter, ref: str) -> str:
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    named = wanted.tags if kind == "tag" else wanted.branches
    among = f"{kind} `{short(ref)}` is among {triggers.listed(named)}" if named else f"every {kind} will do"
    return f"its `{event}` trigger: {among}{_paths(wanted.paths, wanted.paths_ignore)}"


def _wants_pull(wanted: PullRequestFilter, pull: PullRequest) -> str:
    base = f"its base `{pull.base_ref}`"
    among = f"{base} is among {triggers.listed(wanted.branches)}" if wanted.branches else "every base will do"
    return f"its `pull_request` trigger: {among}{_paths(wanted.paths, wanted.paths_ignore)}"


def _paths(paths: Sequence[str], ignored: Sequence[str]) -> str:
    if paths:
        return f", and a changed file is among {triggers.listed(paths)}"
    return f", and not all changed files are among {triggers.listed(ignored)}" if ignored else ""
