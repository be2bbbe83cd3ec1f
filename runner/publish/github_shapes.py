"""A pull request as GitHub writes it, in its hooks and in its API alike. Pure.

https://docs.github.com/en/rest/pulls/pulls
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from formicary.runner.core.records import PullRequest


class Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _empty(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, Field(max_length=2000), BeforeValidator(_empty)]
Commit = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$"), BeforeValidator(_empty)]


class Repository(Said):
    full_name: Text = ""


class User(Said):
    login: Text = ""


class Side(Said):
    """Head or base. `repo` is null where a fork was deleted, `user` where an account was."""

    ref: Text
    sha: Commit
    repo: Repository | None = None


class Label(Said):
    name: Text = ""


class Pull(Said):
    number: int = Field(ge=1, lt=2**53)
    state: Text = "open"
    title: Text = ""
    user: User | None = None
    head: Side
    base: Side
    merge_commit_sha: Commit = ""
    draft: bool | None = False
    labels: tuple[Label, ...] = Field((), max_length=1000)
    updated_at: datetime


def pull_request(said: Pull, slug: str) -> PullRequest:
    """A head whose repository is not known to be this one is a fork's (T3)."""
    head_slug = said.head.repo.full_name if said.head.repo else ""
    return PullRequest(
        repository_id=0,
        number=said.number,
        state="closed" if said.state == "closed" else "open",
        title=said.title,
        author=said.user.login if said.user else "",
        head_ref=said.head.ref,
        head_commit=said.head.sha,
        head_slug=head_slug,
        base_ref=said.base.ref,
        base_commit=said.base.sha,
        merge_commit=said.merge_commit_sha,
        fork=not slug or head_slug.casefold() != slug.casefold(),
        draft=bool(said.draft),
        labels=tuple(label.name for label in said.labels),
        updated_at=said.updated_at.timestamp(),
    )
