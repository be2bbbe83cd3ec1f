"""The hook of a local repository (post-commit, post-receive): its signature and its body."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

SIGNATURE: Final = "x-formicary-signature-256"
DELIVERY: Final = "x-formicary-delivery"


class RefMove(BaseModel):
    """A ref and where it went; zeros mean that it was not there before, or is not any more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ref: str = Field(min_length=1, max_length=1000)
    before: str = Field(default="", max_length=64)
    after: str = Field(default="", max_length=64)


class CommitHook(BaseModel):
    """What moved in which repository. The reconciler reads the refs itself; this only says when to look."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    repository: str = Field(min_length=1, max_length=4096)
    refs: tuple[RefMove, ...] = ()
    at: str | float = ""


def means(said: str, *, repository_id: int, name: str, path: str) -> bool:
    """Whether the body's `repository` is this one: by name, id or path (its worktree or its `.git`)."""
    return said in (name, str(repository_id)) or _worktree(said) == _worktree(path)


def _worktree(path: str) -> PurePath:
    pure = PurePath(path)
    return pure.parent if pure.name == ".git" else pure
