"""One look at a repository: what git says now, as plain data. Blocking; run in a thread. Decides nothing by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from formicary.reconciler import triggers
from formicary.reconciler.diff import Move, moves
from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import NotFound, WorldError
from formicary.runner.core.load import Loaded
from formicary.runner.core.records import NewRequest, Repository, SeenRef
from formicary.runner.core.states import State
from formicary.runner.git.repository import GitRepository
from formicary.runner.queen.arriving.sources import CommitDefinitions, Sources, git_params, tainted_names

#: Moves handled in one transaction; the others follow at once (bounded backfill, D5).
MOST_MOVES: Final = 100
MOST_COMMITS: Final = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to make, and the text that it runs."""

    loaded: Loaded
    new: NewRequest


@dataclass(slots=True)
class Look:
    """What was found. `tracked` is the tracked branch, `head` its commit ("" = unborn); `more` = not all moves fit."""

    tracked: str
    head: str
    moves: list[Move] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    definitions: CommitDefinitions | None = None
    more: bool = False
    later: set[str] = field(default_factory=set)
    """Refs that have moved and are read another time: there are too many, or they could not be read."""
    troubles: list[str] = field(default_factory=list)
    """Refs that could not be read, each with its reason; they are looked at again next time (D8)."""
    judged: list[str] = field(default_factory=list)
    """Commits whose definitions are invalid, or valid again; empty where no forge is to be told."""


def look(sources: Sources, repository: Repository, seen: Mapping[str, SeenRef]) -> Look:
    """Raises RepositoryUnavailable, SetupError."""
    git = sources.git(repository.path)
    refs = git.refs()
    tracked = _tracked(git, repository, refs)
    head = refs.get(f"refs/heads/{tracked}", "")
    found = moves({ref: one for ref, one in seen.items() if not ref.startswith("refs/pull/")}, refs)
    result = Look(tracked, head)
    if repository.seen_at is None:
        # On first sight everything is old news but the tracked branch's head.
        result.moves = found
        running = [move for move in found if move.ref == f"refs/heads/{tracked}"]
    else:
        result.moves = running = found[:MOST_MOVES]
        result.more = len(found) > MOST_MOVES
        result.later = {move.ref for move in found[MOST_MOVES:]}
    _ask(sources, git, repository, [move for move in running if move.after], result)
    if head and (head != repository.synced_commit or repository.seen_at is None):
        result.definitions = sources.definitions(repository.path, head, repository.dialect)
    return result


def _ask(sources: Sources, git: GitRepository, repository: Repository, running: Sequence[Move], result: Look) -> None:
    """What these moves cause. One damaged ref keeps no other from being seen; where none can be read, or the tracked
    one cannot, it is the repository that is unavailable."""
    unread: list[Move] = []
    for move in running:
        try:
            result.asks.extend(_asks(sources, git, repository, move))
            if is_news(sources, repository, move):
                result.judged.append(move.after)
        except (WorldError, NotFound) as error:
            unread.append(move)
            result.later.add(move.ref)
            result.troubles.append(f"{move.ref} cannot be read: {error}")
            if len(unread) == len(running) or move.ref == f"refs/heads/{result.tracked}":
                raise
    result.moves = [move for move in result.moves if move not in unread]


def is_news(sources: Sources, repository: Repository, move: Move) -> bool:
    """Whether the forge is to be told how the definitions of this commit are: invalid, or valid after invalid ones."""
    if not repository.forge:
        return False
    if _invalid(sources, repository, move.after):
        return True
    try:
        return bool(move.before) and _invalid(sources, repository, move.before)
    except (WorldError, NotFound):  # history was rewritten: what it was before is gone
        return False


def _invalid(sources: Sources, repository: Repository, commit: str) -> bool:
    problems = sources.definitions(repository.path, commit, repository.dialect).problems
    return any(problem.severity == "error" for problem in problems)


def _tracked(git: GitRepository, repository: Repository, refs: Mapping[str, str]) -> str:
    """The operator's branch; else the one that HEAD named first, and when that is gone (or never came), HEAD's now."""
    tracked = repository.tracked_branch
    if tracked and (repository.pinned or f"refs/heads/{tracked}" in refs):
        return tracked
    head = (git.head_ref() or "").removeprefix("refs/heads/")
    return head if not tracked or f"refs/heads/{head}" in refs else tracked


def _asks(sources: Sources, git: GitRepository, repository: Repository, move: Move) -> list[Ask]:
    """The requests that this move causes: those of the definitions of the commit itself."""
    found = sources.definitions(repository.path, move.after, repository.dialect)
    valid = [(one, one.definition) for one in found.loaded if one.definition is not None and not one.problems]
    jobs = [job for _, job in valid]
    remote = bool(repository.url)
    if not any(triggers.filter_of(job, remote=remote) for job in jobs):
        return []
    files = git.changed_files(move.before or None, move.after) if triggers.wants_files(jobs, remote=remote) else ()
    pushed = triggers.Pushed(move.ref, git.commit(move.after).message, tuple(files), remote)
    asks: list[Ask] = []
    for loaded, job in valid:
        verdict = triggers.judge(job, pushed)
        if verdict is None:
            continue
        if verdict.every_commit and verdict.runs:
            asks.extend(_every_commit(sources, git, repository, move, job, verdict.event))
        else:
            params = _params(git, repository, move, verdict.event)
            asks.append(Ask(loaded, new_request(repository, move, move.after, "", job, verdict, params)))
    return asks


def _every_commit(
    sources: Sources, git: GitRepository, repository: Repository, move: Move, job: JobDefinition, event: str
) -> list[Ask]:
    """One request a commit, each with its own definition; the commit is the cause."""
    asks: list[Ask] = []
    before = move.before or None
    for commit in git.commits_between(before, move.after, limit=MOST_COMMITS):
        loaded = sources.definitions(repository.path, commit.sha, repository.dialect).find(job.job_type)
        if loaded is None or loaded.definition is None or loaded.problems:
            before = commit.sha
            continue
        step = Move(move.ref, before or "", commit.sha, move.generation)
        files = tuple(git.changed_files(before, commit.sha))
        pushed = triggers.Pushed(move.ref, commit.message, files, bool(repository.url))
        verdict = triggers.judge(loaded.definition, pushed)
        before = commit.sha
        if verdict is not None:
            params = _params(git, repository, step, event)
            asks.append(
                Ask(loaded, new_request(repository, move, commit.sha, commit.sha, loaded.definition, verdict, params))
            )
    return asks


def _params(git: GitRepository, repository: Repository, move: Move, event: str) -> dict[str, object]:
    return dict(git_params(git, repository, ref=move.ref, commit=move.after, before=move.before or None, event=event))


def new_request(
    repository: Repository,
    move: Move,
    commit: str,
    cause: str,
    job: JobDefinition,
    verdict: triggers.Verdict,
    git: Mapping[str, object],
) -> NewRequest:
    """One request per (repository, ref, generation, event, job, cause), however often it is asked."""
    state, reason = (State.PENDING, "") if verdict.runs else (State.SKIPPED, verdict.reason)
    params: Mapping[str, object] = {name: param.default for name, param in job.params.items() if not param.secret}
    if state is State.PENDING and job.required_params:
        missing = [name for name in job.required_params if params.get(name) in (None, "") and name not in git]
        if missing:
            state, reason = State.SKIPPED, f"it needs {_named(missing)}, which a commit does not give"
    key = "\n".join((str(repository.id), move.ref, str(move.generation), verdict.event, job.job_type, cause))
    return NewRequest.model_validate(
        {
            "organization_id": repository.organization_id,
            "repository_id": repository.id,
            "version_id": 0,
            "job_type": job.job_type,
            "event": verdict.event,
            "ref": move.ref,
            "commit": commit,
            "source_path": repository.path,
            "cause_key": key,
            "params": {**{name: value for name, value in params.items() if value is not None}, **git},
            "tainted": tainted_names(git),
            "priority": job.priority,
            "max_concurrency": job.max_concurrency,
            "created_by": verdict.event,
            "state": state,
            "reason": reason,
        }
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
