"""GitLab's hooks: who proves what, and what its bodies say, as a Fact. Pure.

A secret that begins with `whsec_` is a signing token: the header `webhook-signature` must be its HMAC over id, time and
raw body. Any other is sent as it is in `X-Gitlab-Token`, the one exception that T9 names; it never stands in for the
other.

https://docs.gitlab.com/user/project/integrations/webhook_events/
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field

from formicary.runner.core.records import Fact, PullRequest
from formicary.runner.publish.github_shapes import Commit, Said, Text

K = TypeVar("K")

FORGE: Final = "gitlab"
TOKEN: Final = "x-gitlab-token"
SIGNATURE: Final = "webhook-signature"
SIGNING: Final = "whsec_"
"""How a signing token begins; base64 of the key follows."""
PATIENCE: Final = 3600.0
"""Seconds that the clocks here and there may differ. A signed id counts once, so nothing more hangs on it."""
_KEYS: Final = ("webhook-id", "idempotency-key", "x-gitlab-event-uuid")
_ACTIONS: Final = {"open": "opened", "reopen": "reopened", "close": "closed", "merge": "closed"}
_PUSHES: Final = frozenset({"push", "tag_push"})


def signers(secrets: Mapping[K, bytes], body: bytes, headers: Mapping[str, str], now: float) -> list[K]:
    """Who of these is meant: whose token was sent, or whose key signed these bytes. Every secret is tried."""
    sent = headers.get(TOKEN, "").encode("latin-1", "replace")
    signed = _Signed(headers, body, now)
    found = [
        (who, signed.by(secret) if secret.startswith(SIGNING.encode()) else hmac.compare_digest(secret, sent))
        for who, secret in secrets.items()
        if secret
    ]
    return [who for who, fits in found if fits]


class _Signed:
    """What was signed, and the signatures; several while a key is being replaced."""

    def __init__(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        at = headers.get("webhook-timestamp", "")
        self.in_time = at.isascii() and at.isdecimal() and len(at) < 12 and abs(now - int(at)) <= PATIENCE
        self.content = f"{headers.get('webhook-id', '')}.{at}.".encode("latin-1", "replace") + body
        said = headers.get(SIGNATURE, "").split()[:10]
        self.signatures = [one.removeprefix("v1,").encode("latin-1", "replace") for one in said if one[:3] == "v1,"]

    def by(self, secret: bytes) -> bool:
        try:
            key = base64.b64decode(secret.removeprefix(SIGNING.encode()), validate=True)
        except binascii.Error:
            return False
        mine = base64.b64encode(hmac.new(key, self.content, hashlib.sha256).digest())
        fitting = [hmac.compare_digest(mine, one) for one in self.signatures]
        return bool(key) and self.in_time and any(fitting)


def key_of(headers: Mapping[str, str], body: bytes) -> str:
    """What GitLab calls this delivery: the same when it is sent again. Versions that say nothing of it are known by
    what they send."""
    said = next((headers[name] for name in _KEYS if headers.get(name)), "")
    return said or f"body-{hashlib.sha256(body).hexdigest()}"


def fact_of(text: str) -> Fact:
    """What this delivery says. Raises ValueError for what GitLab does not send."""
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError("The body is no JSON object.")
    kind = said.get("object_kind") or said.get("event_name")
    if kind in _PUSHES:
        push = _Push.model_validate(said)
        return Fact(event="push", slug=_slug(push.project), sender=push.user_username, refs=(push.ref,))
    if kind == "merge_request":
        return _merge_request(_MergeHook.model_validate(said))
    hook = _Hook.model_validate(said)
    return Fact(event="other", action=str(kind or "")[:100], slug=_slug(hook.project), sender=_name(hook.user))


def _moment(value: Any) -> Any:
    """Both ways in which GitLab writes a time."""
    return value.replace(" UTC", "+00:00") if isinstance(value, str) else value


class _Project(Said):
    path_with_namespace: Text = ""


class _User(Said):
    id: int | None = None
    username: Text = ""


class _Hook(Said):
    project: _Project | None = None
    user: _User | None = None


class _Push(_Hook):
    ref: str = Field(pattern=r"^refs/", max_length=1000)
    user_username: Text = ""


class _Label(Said):
    id: int | None = None
    title: Text = ""


class _LastCommit(Said):
    id: Commit = ""


class _Merge(Said):
    """`source` is null where the fork was deleted."""

    iid: int = Field(ge=1, lt=2**53)
    state: Text = "opened"
    action: Text = ""
    oldrev: Commit = ""
    title: Text = ""
    author_id: int | None = None
    source_branch: Text
    target_branch: Text
    source_project_id: int | None = None
    target_project_id: int | None = None
    source: _Project | None = None
    last_commit: _LastCommit | None = None
    merge_commit_sha: Commit = ""
    draft: bool | None = False
    work_in_progress: bool | None = False
    labels: tuple[_Label, ...] = Field((), max_length=1000)
    updated_at: Annotated[datetime, BeforeValidator(_moment)]


class _Flag(Said):
    previous: bool | None = None
    current: bool | None = None


class _Labels(Said):
    previous: tuple[_Label, ...] = Field((), max_length=1000)
    current: tuple[_Label, ...] = Field((), max_length=1000)


class _Changes(Said):
    draft: _Flag | None = None
    labels: _Labels | None = None


class _MergeHook(_Hook):
    object_attributes: _Merge
    changes: _Changes | None = None


def _slug(project: _Project | None) -> str:
    return project.path_with_namespace if project else ""


def _name(user: _User | None) -> str:
    return user.username if user else ""


def _merge_request(hook: _MergeHook) -> Fact:
    said, slug = hook.object_attributes, _slug(hook.project)
    author = hook.user if hook.user and said.author_id is not None and hook.user.id == said.author_id else None
    pull = PullRequest(
        repository_id=0,
        number=said.iid,
        state="open" if said.state == "opened" else "closed",
        title=said.title,
        author=_name(author),
        head_ref=said.source_branch,
        head_commit=said.last_commit.id if said.last_commit else "",
        head_slug=_slug(said.source),
        base_ref=said.target_branch,
        merge_commit=said.merge_commit_sha,
        fork=_is_fork(said, slug),
        draft=bool(said.draft or said.work_in_progress),
        labels=tuple(label.title for label in said.labels),
        updated_at=said.updated_at.timestamp(),
    )
    action = _action(said, hook.changes)
    return Fact(event="pull_request", action=action, slug=slug, sender=_name(hook.user), pull_request=pull)


def _is_fork(said: _Merge, slug: str) -> bool:
    """A source that is not known to be this very project is a fork's (T3)."""
    same = said.source_project_id is not None and said.source_project_id == said.target_project_id
    return not (same and slug and _slug(said.source).casefold() == slug.casefold())


def _action(said: _Merge, changes: _Changes | None) -> str:
    """As GitHub calls it. `update` is everything else that can happen to a merge request."""
    if said.action != "update":
        return _ACTIONS.get(said.action, said.action)
    if said.oldrev:
        return "synchronize"
    if changes and changes.draft and changes.draft.previous and changes.draft.current is False:
        return "ready_for_review"
    if changes and changes.labels:
        gone = {one.id for one in changes.labels.previous} - {one.id for one in changes.labels.current}
        come = {one.id for one in changes.labels.current} - {one.id for one in changes.labels.previous}
        return "unlabeled" if gone and not come else "labeled"
    return "edited"
