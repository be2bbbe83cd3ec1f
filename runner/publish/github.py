"""Commit statuses at GitHub, by PyGithub: the only file that knows it. Its calls block, so each runs in a thread; its
own retries and pauses are off, because the outbox's are the ones that count."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from formicary.runner.core.errors import Locked, SetupError, Undeliverable, WorldError
from formicary.runner.core.records import PullRequest, Repository
from formicary.runner.publish import MOST_PULLS, Credential
from formicary.runner.publish.answers import Remedy, explained
from formicary.runner.publish.github_shapes import Pull, pull_request
from formicary.runner.publish.status import Status, one_line

if TYPE_CHECKING:
    from github import Github

API: Final = "https://api.github.com"
TIMEOUT: Final = 15
"""Seconds to connect, and between two pieces of an answer. GitHub ends what takes it more than 10, so what was given up
here does not land later, after something newer (docs.github.com/en/rest/using-the-rest-api/troubleshooting)."""
THREADS: Final = 4
"""Calls at a time to one host."""
REMEMBERED: Final = 16
"""Hosts and tokens whose connections are kept open."""
TOKEN: Final = "token"
A_PAGE: Final = 100
_BY_NUMBER: Final = re.compile(r"/repositories/(\d+)/statuses/")


class GitHub:
    """The forge `github`, github.com and Enterprise alike. `credential` gives a repository's token. A thread in a call
    is waited for, at most some `TIMEOUT`s: left alone, it might post something old after something new."""

    def __init__(self, credential: Credential, clock: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._clock = clock
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self._clients: OrderedDict[tuple[str, str], Github] = OrderedDict()
        self._lock = threading.Lock()

    def lane(self, repository: Repository) -> str:
        """The host, and the owner there: limits are a token's, and tokens are mostly an owner's."""
        return f"{_host(repository)}/{repository.slug.partition('/')[0]}"

    async def post_status(self, repository: Repository, status: Status) -> None:
        """POST /repos/{owner}/{repo}/statuses/{sha} (docs.github.com/en/rest/commits/statuses)."""
        limiter = self._limiters.setdefault(_host(repository), anyio.CapacityLimiter(THREADS))
        await anyio.to_thread.run_sync(self._post, repository, status, limiter=limiter)

    async def open_pulls(self, repository: Repository) -> list[PullRequest]:
        """GET /repos/{owner}/{repo}/pulls (docs.github.com/en/rest/pulls/pulls): those that are open, the newest
        `MOST_PULLS` of them. Raises ToldToWait, Undeliverable, WorldError."""
        limiter = self._limiters.setdefault(_host(repository), anyio.CapacityLimiter(THREADS))
        return await anyio.to_thread.run_sync(self._open_pulls, repository, limiter=limiter)

    def close(self) -> None:
        with self._lock:
            while self._clients:
                self._clients.popitem()[1].close()

    # On a thread

    def _post(self, repository: Repository, status: Status) -> None:
        client = self._client(repository)
        moved = self._create(client, f"/repos/{repository.slug}", repository, status)
        if moved:
            again = self._create(client, moved, repository, status)
            if again:
                raise Undeliverable(_moved(repository, again))

    def _open_pulls(self, repository: Repository) -> list[PullRequest]:
        requester, found = self._client(repository).requester, list[PullRequest]()
        while len(found) < MOST_PULLS:
            asked = {"state": "open", "sort": "updated", "direction": "desc", "per_page": A_PAGE}
            with self._explaining(repository, _remedy_of_pulls):
                _, data = requester.requestJsonAndCheck(
                    "GET", f"/repos/{repository.slug}/pulls", parameters={**asked, "page": len(found) // A_PAGE + 1}
                )
                page = [pull_request(Pull.model_validate(one), repository.slug) for one in data]
            found += page
            if len(page) < A_PAGE:
                break
        return found

    def _client(self, repository: Repository) -> Github:
        key = (api_of(repository), self._token(repository))
        with self._lock:
            client = self._clients.pop(key, None) or _connect(*key)
            self._clients[key] = client
            while len(self._clients) > REMEMBERED:
                self._clients.popitem(last=False)  # closes itself when the last call on it is over
            return client

    def _token(self, repository: Repository) -> str:
        try:
            token = self._credential(repository.id, TOKEN)
        except Locked:
            raise  # its key may be back soon
        except SetupError as error:
            raise Undeliverable(f"{error} Then resend it.") from error
        if not token:
            raise Undeliverable(
                f"there is no token for {repository.name}; give one (formicary secrets set token --credential "
                f"--repo {repository.name}), then resend it"
            )
        return token

    def _create(self, client: Github, path: str, repository: Repository, status: Status) -> str:
        """Post it; where the repository is now if GitHub says that it was renamed, else nothing."""
        from github.Commit import Commit

        def remedy(code: int, message: str) -> str:
            return _remedy(code, message, repository, status)

        attributes = {"url": f"{path}/commits/{status.commit}", "sha": status.commit}
        link = {"target_url": status.target_url} if status.target_url else {}
        with self._explaining(repository, remedy):
            made = Commit(client.requester, {}, attributes).create_status(
                status.state, description=status.description, context=status.context, **link
            )
            return _redirected(repository, made.raw_headers, made.raw_data)

    @contextmanager
    def _explaining(self, repository: Repository, remedy: Remedy) -> Iterator[None]:
        """What PyGithub and the network raise, as what is to be done."""
        from github.GithubException import BadAttributeException, GithubException
        from requests.exceptions import RequestException

        try:
            yield
        except GithubException as error:
            said = _message(error.data)
            raise explained("GitHub", error.status, error.headers or {}, said, remedy, self._clock()) from error
        except RequestException as error:
            raise WorldError(f"{_host(repository)} cannot be reached ({_cause(error)})") from error
        except (ValueError, TypeError, AssertionError, BadAttributeException) as error:
            raise WorldError(
                f"{_host(repository)} answered what GitHub does not answer: {one_line(str(error))}"
            ) from error
        except RuntimeError as error:  # PyGithub follows no redirect to another host or scheme
            raise Undeliverable(
                f"{one_line(str(error))}; correct `api_url` of {repository.name}, then resend it"
            ) from error


def api_of(repository: Repository) -> str:
    """The base of its API: what the operator says, else that of the host that it is cloned from, so that no token goes
    to another one. Enterprise answers at /api/v3."""
    if repository.api_url:
        return repository.api_url.rstrip("/")
    host = urlsplit(repository.url).hostname if "://" in repository.url else None
    return API if host in (None, "github.com", "www.github.com", "ssh.github.com") else f"https://{host}/api/v3"


def _host(repository: Repository) -> str:
    return urlsplit(api_of(repository)).netloc.rpartition("@")[2]


def _quiet() -> None:
    """PyGithub writes on the standard error by itself, and more than is worth reading; the journal is ours."""
    logger = logging.getLogger("github")
    logger.handlers.clear()
    logger.setLevel(logging.WARNING)


def _connect(base_url: str, token: str) -> Github:
    from github import Auth, Github

    _quiet()
    return Github(
        auth=Auth.Token(token),
        base_url=base_url,
        timeout=TIMEOUT,
        user_agent=f"formicary/{version('formicary')}",
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
        lazy=True,
    )


def _redirected(repository: Repository, headers: Mapping[str, Any], data: Any) -> str:
    """PyGithub takes an answer of 302, 307 or 308 for a success, which it is not."""
    location = str(headers.get("location", ""))
    if isinstance(data, Mapping) and "state" in data:
        return ""
    if not location and isinstance(data, Mapping):
        location = str(data.get("url", ""))
    found = _BY_NUMBER.search(location)
    if found and urlsplit(location).netloc in ("", _host(repository)):
        return f"/repositories/{found[1]}"
    if location:
        raise Undeliverable(_moved(repository, location))
    raise WorldError(f"{_host(repository)} did not say that it has taken the status")


def _moved(repository: Repository, location: str) -> str:
    return (
        f"{repository.slug} has moved to {one_line(location)[:200]}; correct `url` or `slug` of {repository.name} in "
        "formicary.toml, then resend it"
    )


def _message(data: Any) -> str:
    """What GitHub says, its list of errors included."""
    if not isinstance(data, Mapping):
        return ""
    errors = data.get("errors")
    said = [one.get("message") or one.get("code") if isinstance(one, Mapping) else one for one in errors or ()]
    text = str(data.get("message") or "")
    return one_line(": ".join([text, ", ".join(str(one) for one in said if one)]) if said else text)[:300]


def _cause(error: Exception) -> str:
    """The innermost reason of a network error, without the address that each layer repeats."""
    inner: BaseException | None = error
    text = ""
    while inner is not None:
        text = one_line(str(inner)).rpartition(": ")[2] or type(inner).__name__
        within = (getattr(inner, "reason", None), *inner.args)
        inner = next((one for one in within if isinstance(one, BaseException)), None)
    return text[:200]


# What is to be done


def _remedy_of_pulls(code: int, message: str) -> str:
    return "its pull requests cannot be listed: its token needs read access to pull requests (`repo` for a classic one)"


def _remedy(code: int, message: str, repository: Repository, status: Status) -> str:
    name, slug = repository.name, repository.slug
    if code == 401:
        return f"the token of {name} is not valid (any more); give it another one, then resend it"
    if code == 403:
        return (
            f"the token of {name} may not set statuses of {slug}: it needs write access to commit statuses "
            "(`repo:status` for a classic token); give it another one, then resend it"
        )
    if code == 404:
        return f"there is no {slug} that the token of {name} may see; correct `slug` or the token, then resend it"
    if code == 422 and "no commit found" in message.lower():
        return (
            f"{slug} has no commit {status.commit[:10]}: it was not pushed there, or is gone; push it, then resend it"
        )
    if code == 422 and "maximum number of statuses" in message.lower():
        return (
            f"commit {status.commit[:10]} has as many statuses `{status.context}` as GitHub keeps; run a newer commit"
        )
    return f"GitHub does not take this status of {slug}"
