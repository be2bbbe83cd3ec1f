"""Which secret configs a request sees, and why not the others: scope, trust, branch and event. Pure.

The nearest scope that lets the request see it wins: job, repository, organization. Globs of branches match the whole
name and `*` stops at a `/`: what `main` protects, `me/main` does not open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import Problem
from formicary.runner.core.records import JobRequest, Secret, SecretKind

EVENTS: Final = (
    "push",
    "commit",
    "pull_request",
    "manual",
    "schedule",
    "run",
    "comment",
    "release",
    "webhook",
    "completed",
)
"""What a request's event may be. `run` is `formicary run`."""
_IS_THERE: Final = "sealed"
_HEADS: Final = "refs/heads/"
_NAMED_BY_US: Final = frozenset({"pull_request", "run"})
_SCRIPTS: Final = ("before_script", "script", "after_script")


@dataclass(frozen=True, slots=True)
class Sight:
    """`secrets` are seen by this request, by name; `refused` are there and not for it: name → why, as half a sentence.
    `withheld`: the run is not trusted, so its tasks see none at all; the queen may still send what they hold."""

    secrets: Mapping[str, Secret] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    withheld: bool = False
    configs: Mapping[str, str] = field(init=False)
    """As `names_for` wants them. It looks only whether there is a value, and here nobody knows it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "configs", dict.fromkeys(self.secrets, _IS_THERE))

    def explained(self, problem: Problem) -> Problem:
        """The problem, with the reason where it is that a secret is not for this request."""
        for name, why in self.refused.items():
            if f"`{name}`" in problem.message:
                return Problem(
                    problem.path,
                    problem.line,
                    problem.column,
                    f"The secret `{name}` is not for this run: {why}",
                    "leave the task out with `except`, or set the secret with other limits",
                    problem.source,
                    problem.severity,
                )
        return problem

    def notes(self, task: TaskDefinition) -> tuple[str, ...]:
        """What to say of variables that its scripts read and that it does not get."""
        if not self.refused and not self.withheld:
            return ()
        text = "\n".join(item for name in _SCRIPTS for item in getattr(task, name))
        kept = dict(self.refused)
        if self.withheld:
            kept |= dict.fromkeys(self.secrets, "what outsiders have sent in gets no secrets")
        read = (name for name in sorted(kept) if re.search(rf"\$\{{?[#!]?{re.escape(name)}\b", text))
        return tuple(f"The secret `{name}` is not in the environment: {kept[name]}." for name in read)


NOTHING: Final = Sight()


def scoped(secrets: Iterable[Secret], repository_id: int | None, job_type: str) -> dict[str, tuple[Secret, ...]]:
    """Those that a job of this repository could see, by name, the nearest scope first."""
    found: dict[str, list[Secret]] = {}
    for secret in secrets:
        if secret.kind is SecretKind.SECRET and _covers(secret, repository_id, job_type):
            found.setdefault(secret.name, []).append(secret)
    return {name: tuple(sorted(some, key=_nearness)) for name, some in found.items()}


def _covers(secret: Secret, repository_id: int | None, job_type: str) -> bool:
    return secret.repository_id in (None, repository_id) and secret.job_type in ("", job_type)


def _nearness(secret: Secret) -> tuple[bool, bool]:
    return not secret.job_type, secret.repository_id is None


def sight(scope: Mapping[str, Sequence[Secret]], request: JobRequest) -> Sight:
    """What this request sees of what is in its scope."""
    seen: dict[str, Secret] = {}
    refused: dict[str, str] = {}
    branch = branch_of(request)
    for name, candidates in scope.items():
        reasons = [_limit(secret, branch, request.event) for secret in candidates]
        if "" in reasons:
            seen[name] = candidates[reasons.index("")]
        else:
            refused[name] = reasons[0]
    return Sight(seen, refused, not request.trusted)


def branch_of(request: JobRequest) -> str:
    """The branch that a request is about; "" for a tag, or a commit of none. A pull request's is its head, that of
    `formicary run` the one that is checked out. Nobody's parameter says which."""
    if request.event in _NAMED_BY_US:
        return str(request.params.get("GitBranch") or "")
    return request.ref.removeprefix(_HEADS) if request.ref.startswith(_HEADS) else ""


def _limit(secret: Secret, branch: str, event: str) -> str:
    """Why it is not for this branch or event; empty if it is."""
    if secret.events and event not in secret.events:
        return f"it is for {_listed(secret.events)} only, and the event is `{event}`"
    if secret.branches and not any(_glob(glob).fullmatch(branch) for glob in secret.branches):
        where = f"the branch is `{branch}`" if branch else "this run is of no branch"
        return f"it is for branches {_listed(secret.branches)} only, and {where}"
    return ""


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


@lru_cache(maxsize=512)
def _glob(text: str) -> re.Pattern[str]:
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", text)), re.DOTALL)
