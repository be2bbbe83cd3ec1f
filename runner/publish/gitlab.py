"""Commit statuses and open merge requests at GitLab, gitlab.com and self-managed alike.

A status there is a job of a pipeline: it can only go on, so what waits or runs already and is said again is no error.
All statuses of a commit go to the pipeline that took the first one.

https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
https://docs.gitlab.com/api/merge_requests/
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import Field, ValidationError

from formicary.runner.core.errors import Undeliverable, WorldError
from formicary.runner.core.records import PullRequest, Repository
from formicary.runner.publish import MOST_PULLS, Credential, rest
from formicary.runner.publish.answers import explained
from formicary.runner.publish.github_shapes import Commit, Said, Text
from formicary.runner.publish.rest import Answered
from formicary.runner.publish.status import ERROR, FAILURE, PENDING, SUCCEEDED, Status

API: Final = "/api/v4"
RUNNING: Final = "running"
_STATES: Final[Mapping[str, str]] = {PENDING: "pending", SUCCEEDED: "success", FAILURE: "failed", ERROR: "failed"}
REMEMBERED: Final = 4096
"""Commits whose pipeline is known."""
A_PAGE: Final = 100
_SAID_ALREADY: Final = "Cannot transition status via"


class GitLab:
    """The forge `gitlab`. `credential` gives a repository's token."""

    def __init__(self, credential: Credential, clock: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._clock = clock
        self._pipelines: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def lane(self, repository: Repository) -> str:
        """The host, and the group there: limits are a token's, and tokens are mostly a group's."""
        return f"{rest.host_of(_api(repository))}/{repository.slug.partition('/')[0]}"

    async def post_status(self, repository: Repository, status: Status) -> None:
        """POST /projects/:id/statuses/:sha. Raises ToldToWait, Undeliverable, WorldError."""
        place = (_api(repository), repository.slug, status.commit)
        pipeline = self._pipelines.get(place)
        answer = await self._post(repository, status, pipeline)
        if pipeline is not None and answer.code == 404 and "pipeline" in answer.message.lower():
            del self._pipelines[place]  # it was deleted, or archived
            answer = await self._post(repository, status, None)
        if answer.code == 400 and status.state == PENDING and _SAID_ALREADY in answer.message:
            return
        if not answer.good:
            raise self._error(repository, answer, lambda code, said: _remedy(code, said, repository, status))
        self._remember(place, answer.data)

    async def open_pulls(self, repository: Repository) -> list[PullRequest]:
        """GET /projects/:id/merge_requests: those that are open, the newest `MOST_PULLS` of them. Raises ToldToWait,
        Undeliverable, WorldError."""
        found: list[PullRequest] = []
        while len(found) < MOST_PULLS:
            asked = {"state": "opened", "order_by": "updated_at", "per_page": str(A_PAGE)}
            query = {**asked, "page": str(len(found) // A_PAGE + 1)}
            answer = await self._call("GET", repository, "/merge_requests", query=query)
            if not answer.good:
                raise self._error(repository, answer, lambda _code, _said: _NO_PULLS)
            page = _pulls(repository, answer.data)
            found += page
            if len(page) < A_PAGE:
                break
        return found

    def close(self) -> None:
        """Nothing is kept open."""

    async def _post(self, repository: Repository, status: Status, pipeline: int | None) -> Answered:
        body: dict[str, object] = {
            "state": RUNNING if _runs(status) else _STATES[status.state],
            "name": status.context,
            "description": status.description,
        }
        if status.target_url:
            body["target_url"] = status.target_url
        if pipeline is not None:
            body["pipeline_id"] = pipeline
        return await self._call("POST", repository, f"/statuses/{status.commit}", body)

    async def _call(
        self,
        method: str,
        repository: Repository,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Answered:
        token = await rest.token_of(self._credential, repository)
        url = f"{_api(repository)}/projects/{quote(repository.slug, safe='')}{path}"
        return await rest.call(method, url, {"private-token": token}, body, query)

    def _error(
        self, repository: Repository, answer: Answered, remedy: Callable[[int, str], str]
    ) -> Undeliverable | WorldError:
        if 300 <= answer.code < 400:
            return Undeliverable(rest.moved(repository, answer))
        return explained("GitLab", answer.code, answer.headers, answer.message, remedy, self._clock())

    def _remember(self, place: tuple[str, str, str], data: Any) -> None:
        pipeline = data.get("pipeline_id") if isinstance(data, Mapping) else None
        if isinstance(pipeline, int):
            self._pipelines[place] = pipeline
            self._pipelines.move_to_end(place)
            if len(self._pipelines) > REMEMBERED:
                self._pipelines.popitem(last=False)


_NO_PULLS: Final = "its merge requests cannot be listed: its token needs the scope `read_api`, or `api`"


def _api(repository: Repository) -> str:
    return rest.api_of(repository, API)


def _runs(status: Status) -> bool:
    """GitLab tells what runs from what waits."""
    return status.state == PENDING and status.description.startswith(RUNNING)


def _remedy(code: int, message: str, repository: Repository, status: Status) -> str:
    name, slug, lower = repository.name, repository.slug, message.lower()
    if code == 401:
        return f"the token of {name} is not valid (any more); give it another one, then resend it"
    if code == 403:
        return (
            f"the token of {name} may not set statuses of {slug}: it needs the scope `api` and the role Developer "
            "(Maintainer where the branch is protected); give it another one, then resend it"
        )
    if code == 404 and ("commit" in lower or "references" in lower):
        return (
            f"{slug} has no commit {status.commit[:10]} on a branch: it was not pushed there, or is gone; push it, "
            "then resend it"
        )
    if code == 404:
        return f"there is no {slug} that the token of {name} may see; correct `slug` or the token, then resend it"
    if code == 422:
        return f"the pipeline of commit {status.commit[:10]} has as many jobs as GitLab allows; run a newer commit"
    return f"GitLab does not take this status of {slug}"


class _Author(Said):
    username: Text = ""


class _Merge(Said):
    """A merge request as the API lists it; `sha` is its head."""

    iid: int = Field(ge=1, lt=2**53)
    state: Text = "opened"
    title: Text = ""
    author: _Author | None = None
    source_branch: Text
    target_branch: Text
    source_project_id: int | None = None
    target_project_id: int | None = None
    sha: Commit = ""
    merge_commit_sha: Commit = ""
    draft: bool | None = False
    labels: tuple[Annotated[str, Field(max_length=2000)], ...] = Field((), max_length=1000)
    updated_at: datetime


def _pulls(repository: Repository, data: Any) -> list[PullRequest]:
    try:
        return [_pull(repository, _Merge.model_validate(one)) for one in data]
    except (ValidationError, TypeError, ValueError) as error:
        host = rest.host_of(_api(repository))
        raise WorldError(f"{host} answered what GitLab does not answer: {type(error).__name__}") from error


def _pull(repository: Repository, said: _Merge) -> PullRequest:
    """A source that is not known to be this project is a fork's (T3)."""
    fork = said.source_project_id is None or said.source_project_id != said.target_project_id
    return PullRequest(
        repository_id=0,
        number=said.iid,
        state="open" if said.state == "opened" else "closed",
        title=said.title,
        author=said.author.username if said.author else "",
        head_ref=said.source_branch,
        head_commit=said.sha,
        head_slug="" if fork else repository.slug,
        base_ref=said.target_branch,
        merge_commit=said.merge_commit_sha,
        fork=fork,
        draft=bool(said.draft),
        labels=said.labels,
        updated_at=said.updated_at.timestamp(),
    )
