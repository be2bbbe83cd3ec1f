"""The static site: pages as files. Only public repositories, only pages that changed, atomically."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from formicary.runner.core.errors import NotFound
from formicary.runner.core.execution import Execution
from formicary.runner.core.logframes import parse
from formicary.runner.core.records import JobRequest, Repository
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.store import Reader
from formicary.site import build, run
from formicary.site.badge import badge
from formicary.site.links import Paths, StaticLink, slug
from formicary.site.render import STATIC_SITE, render, static_files
from formicary.site.source import Source, public
from formicary.site.views import View

#: A longer log is not copied whole; its page says so.
RAW_LIMIT: Final = 16 << 20
_PAGE: Final = 200
_LOG_LINK: Final = re.compile(r'href="\.\./\.\./logs/([a-z0-9][a-z0-9._-]*)/index\.html')


class Readable(Protocol):
    """What the writer needs of the store."""

    def read(self) -> Reader: ...


class SiteWriter:
    """Writes the site into `folder`. Blocking: call it on a thread. `publish` and the others return what they wrote."""

    def __init__(self, store: Readable, folder: Path, logs: Logs, organization_id: str = "default") -> None:
        self._store = store
        self._folder = folder
        self._logs = logs
        self._organization = organization_id

    def publish(self, request_id: int) -> list[Path]:
        """The pages that this request touches: its own, its logs, its job's, its repository's, the overview
        and that of the request which forked it, if it has one."""
        source = self._source()
        request = source.request(request_id)
        if request is None:
            return []
        batch = _Batch(self._folder)
        self._request(batch, source, request)
        self._parent(batch, source, request)
        self._repository(batch, source, source.name_of(request.repository_id), {request.job_type})
        self._top(batch, source)
        return batch.write()

    def publish_all(self) -> list[Path]:
        """Every page of every public repository; what is no longer public, or not there any more, is removed."""
        source = self._source()
        batch = _Batch(self._folder)
        keep: set[int] = set()
        for repository in source.repositories():
            jobs = {one.job_type for one in source.reader.definitions(repository_id=repository.id)}
            for request in _requests(source, repository):
                jobs.add(request.job_type)
                keep.add(request.id)
                self._request(batch, source, request)
            self._repository(batch, source, repository.name, jobs)
        self._top(batch, source)
        logs = {path.split("/")[1] for path in batch.paths.keys() | batch.kept if path.startswith("logs/")}
        self._sweep(source, keep, logs)
        return batch.write()

    def prune(self, request_ids: Iterable[int]) -> None:
        """Remove the pages of requests that retention has deleted, with their logs."""
        for request_id in request_ids:
            page = self._folder / Paths.request(request_id)
            for log in _logs_named_in(page):
                shutil.rmtree(self._folder / "logs" / log, ignore_errors=True)
            shutil.rmtree(page.parent, ignore_errors=True)

    def _source(self) -> Source:
        return Source(self._store.read(), self._logs, public, self._organization, outside=True)

    def _top(self, batch: _Batch, source: Source) -> None:
        for name in STATIC_SITE:
            batch.add(Paths.static(name), lambda name=name: static_files()[name])  # type: ignore[misc]
        batch.page("overview", Paths.overview(), lambda: build.overview(source))

    def _repository(self, batch: _Batch, source: Source, name: str, jobs: set[str]) -> None:
        batch.page("repository", Paths.repository(name), lambda: build.repository(source, name))
        for job in sorted(jobs):
            batch.page("job", Paths.job(name, job), lambda job=job: build.job(source, name, job))  # type: ignore[misc]
            batch.add(Paths.badge(name, job), lambda job=job: _badge(source, name, job))  # type: ignore[misc]

    def _request(self, batch: _Batch, source: Source, request: JobRequest) -> None:
        batch.page("request", Paths.request(request.id), lambda: run.request(source, request.id))
        for execution in source.reader.executions_of(request.id):
            for one, ended in run.attempt_ids(execution):
                self._log(batch, source, execution, one, ended)

    def _parent(self, batch: _Batch, source: Source, request: JobRequest) -> None:
        """Its page lists this one, and may have been written before this one ended."""
        parent = request.parent_id
        if parent is not None and (self._folder / Paths.request(parent)).exists():
            batch.page("request", Paths.request(parent), lambda: run.request(source, parent))

    def _log(self, batch: _Batch, source: Source, execution: Execution, one: str, ended: bool) -> None:
        if not self._logs.path(one).exists():
            if (self._folder / Paths.log(one)).exists():
                batch.kept.add(Paths.log(one))  # archived: its page is as it was
                return
            if not self._logs.find(one).exists():
                return  # not begun, or deleted by retention
        batch.page("log", Paths.log(one), lambda: run.log(source, one))
        if ended and self._logs.size(one) <= RAW_LIMIT:
            batch.add(Paths.raw(one), lambda: self._raw(one))

    def _raw(self, one: str) -> bytes:
        """Of the log where it is now: it may have been archived or deleted since it was listed. Raises NotFound."""
        try:
            return _raw(self._logs.find(one))
        except FileNotFoundError:
            raise NotFound(f"The log of {one} is not there any more.") from None

    def _sweep(self, source: Source, requests: set[int], logs: set[str]) -> None:
        names = {slug(one.name) for one in source.repositories()}
        for folder, wanted in (
            ("requests", {str(one) for one in requests}),
            ("repos", names),
            ("badges", names),
            ("logs", logs),
        ):
            for entry in _entries(self._folder / folder):
                if entry.name not in wanted:
                    shutil.rmtree(entry, ignore_errors=True)


class _Batch:
    """Pages to come. Links are made when all of them are known, so a page may point to one that is written after it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.paths: dict[str, Callable[[], bytes]] = {}
        self.kept: set[str] = set()
        self._dropped: set[str] = set()

    def add(self, path: str, make: Callable[[], bytes]) -> None:
        self.paths[path] = make

    def page(self, template: str, path: str, view: Callable[[], View]) -> None:
        self.paths[path] = lambda: render(template, view(), StaticLink(path, self._exists)).encode()

    def write(self) -> list[Path]:
        """Make everything and write what differs from the disk."""
        written = []
        for path, make in self.paths.items():
            try:
                data = make()
            except NotFound:
                self._dropped.add(path)  # it was deleted since it was listed
                continue
            if _write(self._folder / path, data):
                written.append(self._folder / path)
        return written

    def _exists(self, path: str) -> bool:
        return path not in self._dropped and (path in self.paths or (self._folder / path).exists())


def _write(path: Path, data: bytes) -> bool:
    """Whether the file was written: not if its bytes are these already. A reader sees the old page or the new one."""
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # noqa: PTH101 - mkstemp makes it private; a web server must read it
        os.replace(temporary, path)  # noqa: PTH105 - a name, not a Path
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def _requests(source: Source, repository: Repository) -> Iterator[JobRequest]:
    page = 0
    while records := source.reader.requests(repository_id=repository.id, page=page, page_size=_PAGE).records:
        yield from records
        if len(records) < _PAGE:
            return
        page += 1


def _badge(source: Source, name: str, job_type: str) -> bytes:
    owner = source.named(name)
    if owner is None:
        raise NotFound(f"There is no repository `{name}` here.")
    latest = build.latest_on_tracked(source, owner, job_type)
    return badge(job_type, latest.state if latest else None).encode()


def _raw(path: Path) -> bytes:
    """What the commands wrote, as far as the log can be read."""
    out = bytearray()
    try:
        for frame in parse(path.read_bytes()):
            if frame.stream == "out":
                out += frame.data
    except ValueError:
        pass  # the log's page says that it is damaged
    return bytes(out)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _logs_named_in(page: Path) -> set[str]:
    """Log folders that a request's page links to; the page is ours, and only our own names are taken from it."""
    if not page.exists():
        return set()
    return set(_LOG_LINK.findall(page.read_text(encoding="utf-8")))
