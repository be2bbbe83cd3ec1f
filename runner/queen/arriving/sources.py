"""What the queen reads in git: the definitions of a commit and the facts that become a request's git parameters.

Blocking; callers run these in a thread. Repositories stay open, what was read of a commit is remembered (a commit never
changes).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.definition import NATIVE, Dialect, Value
from formicary.runner.core.errors import Problem
from formicary.runner.core.language.fragments import parted
from formicary.runner.core.load import Loaded, load, stray
from formicary.runner.core.names import OUTSIDERS_WRITE
from formicary.runner.core.records import Repository
from formicary.runner.git.repository import GitRepository

FOLDER: Final = ".formicary"
REMEMBERED_COMMITS: Final = 256
REMEMBERED_PARAMS: Final = 256
MAX_CHANGED_FILES: Final = 10_000

#: The git parameters of a request that no commit gives them to.
NO_GIT: Final[Mapping[str, Value]] = {
    "GitBranch": "",
    "GitTag": "",
    "GitCommitID": "",
    "GitMergeCommit": "",
    "GitCommitMessage": "",
    "GitCommitAuthor": "",
    "GitCommitAuthorEmail": "",
    "GitBaseBranch": "",
    "GitPullRequest": "",
    "GitPullRequestTitle": "",
    "GitRepository": "",
    "GitRepositoryURL": "",
    "GitEvent": "",
    "GitBefore": "",
    "GitChangedFiles": [],
}


def tainted_names(params: Mapping[str, object]) -> tuple[str, ...]:
    """Those of the parameters whose text outsiders can write (T6)."""
    return tuple(sorted(OUTSIDERS_WRITE.intersection(params)))


@dataclass(frozen=True, slots=True)
class CommitDefinitions:
    """What the definitions of one commit say. `broken` are files that could not be read at all."""

    loaded: tuple[Loaded, ...]
    broken: tuple[Problem, ...] = ()

    def find(self, job_type: str) -> Loaded | None:
        return next((one for one in self.loaded if one.job_type == job_type), None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.broken + tuple(problem for one in self.loaded for problem in one.problems)


class Sources:
    """Open repositories, and what was read of their commits."""

    def __init__(self) -> None:
        self._open: dict[str, GitRepository] = {}
        self._commits: OrderedDict[tuple[str, str, Dialect], CommitDefinitions] = OrderedDict()
        self._params: OrderedDict[tuple[int, str, str], dict[str, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def git(self, path: str) -> GitRepository:
        """The repository at `path`, opened once. Raises RepositoryUnavailable, SetupError."""
        with self._lock:
            known = self._open.get(path)
            if known is None:
                known = self._open[path] = GitRepository.open(path)
            return known

    def forget(self, path: str) -> None:
        """Open it anew next time: it was gone, or something else is there now."""
        with self._lock:
            known = self._open.pop(path, None)
        if known:
            known.close()

    def definitions(self, path: str, commit: str, dialect: Dialect = NATIVE) -> CommitDefinitions:
        """Load every definition of this commit; invalid ones are there with their problems."""
        key = (path, commit, dialect)
        with self._lock:
            if key in self._commits:
                self._commits.move_to_end(key)
                return self._commits[key]
        found = _load_all(self.git(path), commit, dialect)
        with self._lock:
            self._commits[key] = found
            while len(self._commits) > REMEMBERED_COMMITS:
                self._commits.popitem(last=False)
        return found

    def known_params(self, repository: Repository, ref: str, commit: str) -> dict[str, Value] | None:
        """The git parameters of a manual request for this commit, where they were read before. Does not block."""
        return self._params.get((repository.id, ref, commit))

    def manual_params(self, repository: Repository, ref: str, commit: str) -> dict[str, Value]:
        """The git parameters of a manual request for this commit."""
        git = self.git(repository.path)
        found = git_params(git, repository, ref=ref, commit=commit, before=None, event="manual")
        with self._lock:
            self._params[repository.id, ref, commit] = found
            while len(self._params) > REMEMBERED_PARAMS:
                self._params.popitem(last=False)
        return found

    def close(self) -> None:
        for path in list(self._open):
            self.forget(path)


def _load_all(git: GitRepository, commit: str, dialect: Dialect) -> CommitDefinitions:
    broken: list[Problem] = []
    texts: dict[str, str] = {}
    for path, blob in sorted(git.definitions(commit, FOLDER).items()):
        if blob.text is None:
            broken.append(Problem(path, 0, 0, blob.problem or "this file cannot be read"))
        else:
            texts[path] = blob.text
    loaded = load_all(texts, broken, dialect)
    return CommitDefinitions(tuple(without_doubles(loaded, broken)), tuple(broken))


def load_all(texts: Mapping[str, str], broken: list[Problem], dialect: Dialect) -> list[Loaded]:
    """Every document of these files of one tree, with the fragments among them; their paths begin at its top."""
    jobs, fragments = parted(texts, FOLDER)
    broken += filter(None, (stray(texts[f"{FOLDER}/{path}"], f"{FOLDER}/{path}") for path in fragments))
    return [one for path in jobs for one in load(jobs[path], path=path, dialect=dialect, fragments=fragments)]


def without_doubles(loaded: list[Loaded], broken: list[Problem]) -> list[Loaded]:
    """The first definition of each job_type; a second one is a problem of its file."""
    first: dict[str, Loaded] = {}
    kept: list[Loaded] = []
    for one in loaded:
        known = first.setdefault(one.job_type, one) if one.job_type else one
        if known is one:
            kept.append(one)
        else:
            text = f"job_type `{one.job_type}` is defined in {known.path} already"
            broken.append(Problem(one.path, 0, 0, text, "give one of the two another job_type"))
    return kept


def git_params(
    git: GitRepository, repository: Repository, *, ref: str, commit: str, before: str | None, event: str
) -> dict[str, Value]:
    """The git parameters of a request, as the definition language names them."""
    facts = git.commit(commit)
    branch = ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else ""
    tag = ref.removeprefix("refs/tags/") if ref.startswith("refs/tags/") else ""
    return {
        **NO_GIT,
        "GitBranch": branch,
        "GitTag": tag,
        "GitCommitID": commit,
        "GitCommitMessage": facts.message.rstrip("\n"),
        "GitCommitAuthor": facts.author,
        "GitCommitAuthorEmail": facts.author_email,
        "GitRepository": repository.name,
        "GitRepositoryURL": repository.url or repository.path,
        "GitEvent": event,
        "GitBefore": before or "",
        "GitChangedFiles": list(git.changed_files(before, commit, limit=MAX_CHANGED_FILES)),
    }
