"""The one seam between static files and live pages: where a link leads. An empty answer means: no link."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote

_SAFE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_UNSAFE: Final = re.compile(r"[^a-z0-9._-]+")


class Link(Protocol):
    """Addresses of everything that pages refer to."""

    def overview(self) -> str: ...
    def repository(self, name: str) -> str: ...
    def job(self, repository: str, job_type: str) -> str: ...
    def request(self, request_id: int) -> str: ...
    def log(self, task_execution_id: str) -> str: ...
    def raw(self, task_execution_id: str) -> str: ...
    def artifact(self, artifact_id: int) -> str: ...
    def badge(self, repository: str, job_type: str) -> str: ...
    def static(self, name: str) -> str: ...


def slug(name: str) -> str:
    """`name` as a file name on any disk; another name never gets the same one."""
    if _SAFE.fullmatch(name) and not name.endswith("."):
        return name
    cleaned = _UNSAFE.sub("-", name.lower()).strip("-.")[:60]
    return f"{cleaned}-{hashlib.sha256(name.encode()).hexdigest()[:10]}".lstrip("-")


class Paths:
    """Where each page of the static site lies, relative to its root."""

    @staticmethod
    def overview() -> str:
        return "index.html"

    @staticmethod
    def repository(name: str) -> str:
        return f"repos/{slug(name)}/index.html"

    @staticmethod
    def job(repository: str, job_type: str) -> str:
        return f"repos/{slug(repository)}/jobs/{slug(job_type)}/index.html"

    @staticmethod
    def request(request_id: int) -> str:
        return f"requests/{request_id}/index.html"

    @staticmethod
    def log(task_execution_id: str) -> str:
        return f"logs/{slug(task_execution_id)}/index.html"

    @staticmethod
    def raw(task_execution_id: str) -> str:
        return f"logs/{slug(task_execution_id)}/raw.txt"

    @staticmethod
    def badge(repository: str, job_type: str) -> str:
        return f"badges/{slug(repository)}/{slug(job_type)}.svg"

    @staticmethod
    def static(name: str) -> str:
        return f"static/{name}"


class StaticLink:
    """Relative links of a page at `page`; to what does not exist (pruned, not public) there is none."""

    def __init__(self, page: str, exists: Callable[[str], bool]) -> None:
        self._up = "../" * page.count("/")
        self._exists = exists

    def overview(self) -> str:
        return self._to(Paths.overview())

    def repository(self, name: str) -> str:
        return self._to(Paths.repository(name))

    def job(self, repository: str, job_type: str) -> str:
        return self._to(Paths.job(repository, job_type))

    def request(self, request_id: int) -> str:
        return self._to(Paths.request(request_id))

    def log(self, task_execution_id: str) -> str:
        return self._to(Paths.log(task_execution_id))

    def raw(self, task_execution_id: str) -> str:
        return self._to(Paths.raw(task_execution_id))

    def artifact(self, artifact_id: int) -> str:
        return ""

    def badge(self, repository: str, job_type: str) -> str:
        return self._to(Paths.badge(repository, job_type))

    def static(self, name: str) -> str:
        return self._up + Paths.static(name)

    def _to(self, path: str) -> str:
        return self._up + path if self._exists(path) else ""


class LiveLink:
    """Addresses on the server. `version` makes a changed style or script a new address."""

    def __init__(self, version: str = "") -> None:
        self._query = f"?v={version}" if version else ""

    def overview(self) -> str:
        return "/"

    def repository(self, name: str) -> str:
        return f"/repos/{quote(name)}"

    def job(self, repository: str, job_type: str) -> str:
        return f"/repos/{quote(repository)}/jobs/{quote(job_type)}" if repository else f"/jobs/{quote(job_type)}"

    def request(self, request_id: int) -> str:
        return f"/requests/{request_id}"

    def log(self, task_execution_id: str) -> str:
        return f"/tasks/{quote(task_execution_id)}/log"

    def raw(self, task_execution_id: str) -> str:
        return f"/api/tasks/{quote(task_execution_id)}/log"

    def artifact(self, artifact_id: int) -> str:
        return f"/api/artifacts/{artifact_id}/download"

    def badge(self, repository: str, job_type: str) -> str:
        return f"/badges/{quote(repository)}/{quote(job_type)}.svg"

    def static(self, name: str) -> str:
        return f"/static/{name}{self._query}"
