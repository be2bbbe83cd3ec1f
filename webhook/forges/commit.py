"""The hook of a local repository (post-commit, post-receive): its signature and its body."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import PurePath
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

SIGNATURE: Final = "x-formicary-signature-256"
DELIVERY: Final = "x-formicary-delivery"
_SIGNED: Final = re.compile(r"sha256=[0-9a-f]{64}")


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


def sign(secret: bytes, body: bytes) -> str:
    """The signature header's value for this body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def signer(secrets: dict[int, bytes], body: bytes, signature: str) -> int | None:
    """Whose secret signed these bytes; None if nobody's. Every secret is tried, however early one fits, so the time
    taken tells nothing."""
    if not _SIGNED.fullmatch(signature):
        return None
    found = None
    for repository_id, secret in secrets.items():
        if secret and hmac.compare_digest(sign(secret, body), signature):
            found = repository_id
    return found


def means(said: str, *, repository_id: int, name: str, path: str) -> bool:
    """Whether the body's `repository` is this one: by name, id or path (its worktree or its `.git`)."""
    return said in (name, str(repository_id)) or _worktree(said) == _worktree(path)


def _worktree(path: str) -> PurePath:
    pure = PurePath(path)
    return pure.parent if pure.name == ".git" else pure
