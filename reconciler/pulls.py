"""What the ledger says of pull requests: each delivery in its order, against what is known of the pull request.

A fork's pull request is held: nothing of it runs. The head of one in the same repository runs by the definitions that
it brings along; a request a cause, however often it is told. What the forge told before what is known is old news.
Blocking (it reads git); run in a thread. Decides nothing by itself but what `judge` says, which is pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from formicary.reconciler import triggers
from formicary.reconciler.diff import Move
from formicary.reconciler.look import Ask, is_news, new_request
from formicary.reconciler.readback import ref_of
from formicary.runner.core.definition import JobDefinition, PullRequestFilter
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Delivery, Fact, PullRequest, Repository, SeenRef
from formicary.runner.git.repository import GitRepository
from formicary.runner.queen.arriving.sources import Sources, git_params

EVENT: Final = "pull_request"
HELD: Final = (
    "it comes from a fork: nothing of it runs, because this version cannot run what is not trusted; "
    "push its branch to the repository itself to have it run"
)
#: Actions that a moved head tells of; their cause is the move, any other action's is the delivery that told of it.
_MOVES: Final = frozenset({"opened", "synchronize"})


@dataclass(frozen=True, slots=True)
class PullLook:
    """What one delivery comes to: the pull request as it is from now on (None: it was old news), the ref of its head,
    what is asked for, and the verdict."""

    delivery: Delivery
    verdict: str
    reason: str = ""
    pull: PullRequest | None = None
    seen: SeenRef | None = None
    asks: tuple[Ask, ...] = ()
    judged: str = ""
    """Its head, where the forge is to be told how the definitions there are."""


def looks(
    sources: Sources,
    repository: Repository,
    accepted: Sequence[Delivery],
    known: Mapping[int, PullRequest],
    seen: Mapping[str, SeenRef],
) -> list[PullLook]:
    """In the order in which they came. `known`: by number; `seen`: by ref."""
    pulls, refs = dict(known), dict(seen)
    found: list[PullLook] = []
    for delivery in accepted:
        fact = Fact.model_validate(delivery.fact)
        if fact.pull_request is None:
            continue
        pull = fact.pull_request.model_copy(update={"repository_id": repository.id})
        one = _look(sources, repository, delivery, fact, pull, pulls.get(pull.number), refs.get(ref_of(pull)))
        if one.pull is not None:
            pulls[pull.number] = pull
        if one.seen is not None:
            refs[one.seen.ref] = one.seen
        found.append(one)
    return found


def missing_heads(sources: Sources, repository: Repository, accepted: Sequence[Delivery]) -> list[str]:
    """The refs of heads that the deliveries tell of and that no branch has brought here. Not those of forks (T3)."""
    git = sources.git(repository.path)
    facts = [Fact.model_validate(delivery.fact).pull_request for delivery in accepted]
    heads = [pull for pull in facts if pull is not None and not pull.fork and pull.head_commit]
    return sorted({ref_of(pull) for pull in heads if not git.contains(pull.head_commit)})


def _look(
    sources: Sources,
    repository: Repository,
    delivery: Delivery,
    fact: Fact,
    pull: PullRequest,
    known: PullRequest | None,
    seen: SeenRef | None,
) -> PullLook:
    if known is not None and pull.updated_at < known.updated_at:
        return PullLook(delivery, "coalesced", "the forge has told of something newer before")
    if pull.fork:
        return PullLook(delivery, "held", HELD, pull)
    move = _move(pull, seen)
    cause = "" if fact.action in _MOVES else str(delivery.id)
    try:
        git = sources.git(repository.path)
        asks, named = _asks(sources, git, repository, pull, fact, move, cause)
        judged = pull.head_commit if is_news(sources, repository, move) else ""
    except NotFound:
        return PullLook(delivery, "coalesced", "its head is not there any more: a newer push took its place", pull)
    here = replace(move, after="") if pull.state == "closed" else move
    verdict, reason = ("handled", "") if named else ("ignored", f"no job there is triggered by `{fact.action}`")
    return PullLook(delivery, verdict, reason, pull, here.seen(repository.id), tuple(asks), judged)


def _move(pull: PullRequest, seen: SeenRef | None) -> Move:
    """Where its head went. A pull request that was closed and is open again has moved, as a ref that was gone."""
    if seen is None:
        return Move(ref_of(pull), "", pull.head_commit, 1)
    moved = seen.gone or seen.commit != pull.head_commit
    return Move(ref_of(pull), "" if seen.gone else seen.commit, pull.head_commit, seen.generation + moved)


def _asks(
    sources: Sources, git: GitRepository, repository: Repository, pull: PullRequest, fact: Fact, move: Move, cause: str
) -> tuple[list[Ask], bool]:
    """The requests that this causes, and whether any job's trigger names it. Raises NotFound without its head."""
    git.commit(pull.head_commit)
    found = sources.definitions(repository.path, pull.head_commit, repository.dialect)
    loaded = [one for one in found.loaded if not one.problems]
    jobs = [(one, one.definition) for one in loaded if one.definition is not None]
    wanting = [(one, job, wanted) for one, job in jobs if (wanted := _wanted(job, fact.action)) is not None]
    if not wanting:
        return [], False
    files = tuple(changed_files(git, pull))
    params = _params(git, repository, pull, move, files)
    asks = []
    for one, job, wanted in wanting:
        verdict = triggers.Verdict(EVENT, judge(wanted, pull, files))
        new = new_request(repository, move, pull.head_commit, cause, job, verdict, params)
        asks.append(Ask(one, new.model_copy(update={"created_by": fact.sender or EVENT})))
    return asks, True


def _wanted(job: JobDefinition, action: str) -> PullRequestFilter | None:
    """The job's trigger, if it names this action; else the event is none that the trigger names."""
    wanted = job.triggers.pull_request
    return wanted if wanted is not None and action in wanted.types else None


def judge(wanted: PullRequestFilter, pull: PullRequest, files: Sequence[str]) -> str:
    """Why the filter excludes it; empty if it does not. Pure."""
    if wanted.branches and not triggers.matches(wanted.branches, pull.base_ref):
        return f"its base `{pull.base_ref}` is not among {triggers.listed(wanted.branches)}"
    return triggers.path_reason(wanted.paths, wanted.paths_ignore, files)


def changed_files(git: GitRepository, pull: PullRequest) -> list[str]:
    """What its head has changed since it left its base; where the base is not known here, what its last commit did.
    A mirror may not reach back to where it left: then all that differs from the base, which is rather more."""
    said = pull.base_commit or git.refs().get(f"refs/heads/{pull.base_ref}", "")  # GitLab names the branch alone
    base = said if said and git.contains(said) else None
    start = (git.merge_base(base, pull.head_commit) or base) if base else None
    return git.changed_files(start, pull.head_commit)


def _params(
    git: GitRepository, repository: Repository, pull: PullRequest, move: Move, files: Sequence[str]
) -> dict[str, object]:
    found = git_params(git, repository, ref=move.ref, commit=pull.head_commit, before=move.before or None, event=EVENT)
    return {
        **found,
        "GitBranch": pull.head_ref,
        "GitBaseBranch": pull.base_ref,
        "GitPullRequest": str(pull.number),
        "GitPullRequestTitle": pull.title,
        "GitMergeCommit": pull.merge_commit,
        "GitChangedFiles": list(files),
    }
