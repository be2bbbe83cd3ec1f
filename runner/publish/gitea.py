"""Commit statuses and open pull requests at Gitea and Forgejo, whose API is nearly GitHub's.

https://docs.gitea.com/api/ (repoCreateStatus, repoListPullRequests)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import ValidationError

from formicary.runner.core.errors import Undeliverable, WorldError
from formicary.runner.core.records import PullRequest, Repository
from formicary.runner.publish import MOST_PULLS, Credential, rest
from formicary.runner.publish.answers import explained
from formicary.runner.publish.github_shapes import Pull, pull_request
from formicary.runner.publish.rest import Answered
from formicary.runner.publish.status import Status

API: Final = "/api/v1"
A_PAGE: Final = 50
"""As many as Gitea gives by itself (`MAX_RESPONSE_ITEMS`)."""


class Gitea:
    """The forge `gitea`, Forgejo too. `credential` gives a repository's token."""

    def __init__(self, credential: Credential, clock: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._clock = clock

    def lane(self, repository: Repository) -> str:
        return f"{rest.host_of(_api(repository))}/{repository.slug.partition('/')[0]}"

    async def post_status(self, repository: Repository, status: Status) -> None:
        """POST /repos/{owner}/{repo}/statuses/{sha}. Raises ToldToWait, Undeliverable, WorldError."""
        body = {"state": status.state, "context": status.context, "description": status.description}
        if status.target_url:
            body["target_url"] = status.target_url
        answer = await self._call("POST", repository, f"/statuses/{status.commit}", body)
        if not answer.good:
            raise self._error(repository, answer, lambda code, said: _remedy(code, said, repository, status))

    async def open_pulls(self, repository: Repository) -> list[PullRequest]:
        """GET /repos/{owner}/{repo}/pulls: those that are open, the newest `MOST_PULLS` of them. Raises ToldToWait,
        Undeliverable, WorldError."""
        found: list[PullRequest] = []
        page = 0
        while len(found) < MOST_PULLS:
            page += 1
            query = {"state": "open", "sort": "recentupdate", "limit": str(A_PAGE), "page": str(page)}
            answer = await self._call("GET", repository, "/pulls", query=query)
            if not answer.good:
                raise self._error(repository, answer, lambda _code, _said: _NO_PULLS)
            some = _pulls(repository, answer)
            if not some:  # its operator may have set fewer for a page
                break
            found += some
        return found

    def close(self) -> None:
        """Nothing is kept open."""

    async def _call(
        self,
        method: str,
        repository: Repository,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Answered:
        token = await rest.token_of(self._credential, repository)
        url = f"{_api(repository)}/repos/{repository.slug}{path}"
        return await rest.call(method, url, {"authorization": f"token {token}"}, body, query)

    def _error(
        self, repository: Repository, answer: Answered, remedy: Callable[[int, str], str]
    ) -> Undeliverable | WorldError:
        if 300 <= answer.code < 400:
            return Undeliverable(rest.moved(repository, answer))
        return explained("Gitea", answer.code, answer.headers, answer.message, remedy, self._clock())


_NO_PULLS: Final = "its pull requests cannot be listed: its token needs the permission to read the repository"


def _api(repository: Repository) -> str:
    return rest.api_of(repository, API)


def _pulls(repository: Repository, answer: Answered) -> list[PullRequest]:
    try:
        return [pull_request(Pull.model_validate(one), repository.slug) for one in answer.data]
    except (ValidationError, TypeError) as error:
        host = rest.host_of(_api(repository))
        raise WorldError(f"{host} answered what Gitea does not answer: {type(error).__name__}") from error


def _remedy(code: int, message: str, repository: Repository, status: Status) -> str:
    name, slug, lower = repository.name, repository.slug, message.lower()
    if code == 401:
        return f"the token of {name} is not valid (any more); give it another one, then resend it"
    if code == 403:
        return (
            f"the token of {name} may not set statuses of {slug}: it needs `repository: read and write`, and its user "
            "the right to write there; give it another one, then resend it"
        )
    if code in (404, 422, 400) and ("sha" in lower or "commit" in lower or "object does not exist" in lower):
        return (
            f"{slug} has no commit {status.commit[:10]}: it was not pushed there, or is gone; push it, then resend it"
        )
    if code == 404:
        return f"there is no {slug} that the token of {name} may see; correct `slug` or the token, then resend it"
    return f"Gitea does not take this status of {slug}"
