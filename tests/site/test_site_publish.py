"""The static site: links hold, nothing foreign, nothing private, nothing written twice, nothing half."""

import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.core.definition import JobDefinition, Param, TaskDefinition
from formicary.runner.core.execution import ArtifactRef, Attempt, TaskRun
from formicary.runner.core.records import Artifact, SyncState
from formicary.runner.core.states import State
from formicary.runner.queen.keeping.shelf import Shelf
from formicary.runner.queen.told import Moment
from formicary.site import build, run, writer
from formicary.site.badge import badge
from formicary.site.links import Paths, StaticLink, slug
from formicary.site.publish import SitePublisher, site_effect
from formicary.site.render import render
from formicary.site.writer import SiteWriter

ONE = JobDefinition(job_type="ci", tasks=(TaskDefinition(task_type="test"),))
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}\x1b[31m\u202e"


class Page(HTMLParser):
    """What a page refers to, and what could run in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.scripts, self.bad = [], set(), 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src", "action"):
                self.links.append(value)
            if name == "id":
                self.ids.add(value)
            if name.startswith("on") or name == "style":
                self.bad.append((tag, name))
        if tag in ("style", "iframe", "object", "embed", "base") or (tag == "script" and "src" not in dict(attrs)):
            self.bad.append((tag, ""))


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def check_links(folder):
    """Every link is relative and leads to a file or an anchor that is there."""
    pages = {path.resolve(): Page(path.read_text()) for path in folder.rglob("*.html")}
    for path, page in pages.items():
        assert page.bad == [], path
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            assert not parts.scheme and not parts.netloc and not link.startswith("/"), (path, link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)
            if parts.fragment and target in pages:
                assert parts.fragment in pages[target].ids, (path, link)
    return pages


async def simple(nest, definition, make_attempt, **more):
    request = await nest.request(definition, **more)
    made = await nest.run(
        request, ONE, lambda n: {"test": TaskRun(name="test", state=State.COMPLETED, attempts=(make_attempt(n, 1),))}
    )
    nest.log(f"{made.id}-1", ("out", "hello\n"))
    return request


@pytest.mark.parametrize(("needs", "drawn"), [((), False), (("a",), True)])
async def test_a_graph_is_drawn_where_there_is_a_way_to_see(nest, make_attempt, needs, drawn):
    """Boxes alone say no more than the list of tasks below them."""
    job = JobDefinition(
        job_type="ci", tasks=(TaskDefinition(task_type="a"), TaskDefinition(task_type="b", needs=needs))
    )

    def runs(n):
        ended = zip("ab", (make_attempt(n, 1), make_attempt(n, 2)), strict=True)
        return {name: TaskRun(name=name, state=State.COMPLETED, attempts=(one,)) for name, one in ended}

    await nest.run(await nest.request(await nest.definition(await nest.repository())), job, runs)
    nest.writer.publish_all()
    (page,) = nest.site.glob("requests/*/index.html")
    assert ("h-graph" in page.read_text()) is drawn and "h-tasks" in page.read_text()


async def test_every_link_leads_somewhere_and_nowhere_else(nest, populated):
    await populated(nest)
    nest.writer.publish_all()
    pages = check_links(nest.site)
    assert len(pages) > 70
    for path in nest.site.rglob("*"):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            text = path.read_text()
            assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", text), path
            assert path.suffix != ".js" or not re.search(r"\b(?:fetch|XMLHttpRequest|EventSource|import)\b", text), path


async def test_pages_are_small(nest, populated):
    await populated(nest)
    nest.writer.publish_all()
    large = {path: path.stat().st_size for path in nest.site.rglob("*.html") if path.stat().st_size > 60_000}
    assert not large
    assert sum(path.stat().st_size for path in (nest.site / "static").iterdir()) < 30_000


async def test_a_second_publish_writes_nothing(nest, populated):
    made = await populated(nest)
    assert nest.writer.publish_all()
    before = tree(nest.site)
    nest.clock.now += 86_400
    assert nest.writer.publish_all() == [] and nest.writer.publish(made["failing"].id) == []
    assert tree(nest.site) == before


async def test_only_touched_pages_are_written_again(nest, make_attempt):
    repository = await nest.repository()
    ci, nightly = await nest.definition(repository), await nest.definition(repository, "nightly")
    for definition in (ci, nightly):
        await simple(nest, definition, make_attempt)
    nest.writer.publish_all()
    new = await simple(nest, ci, make_attempt)
    written = {path.relative_to(nest.site).as_posix() for path in nest.writer.publish(new.id)}
    assert written == {
        "index.html", "repos/honeydew/index.html", "repos/honeydew/jobs/ci/index.html",
        f"requests/{new.id}/index.html", f"logs/{new.id}-1/index.html", f"logs/{new.id}-1/raw.txt",
    }  # fmt: skip
    check_links(nest.site)


async def test_the_page_of_who_forked_it_is_written_again(nest, make_attempt):
    """A job that nobody waits for ends after the one that forked it, whose page lists it."""
    ci = await nest.definition(await nest.repository())
    parent = await simple(nest, ci, make_attempt)
    child = await nest.request(ci, parent_id=parent.id, description="forked: eu")
    nest.writer.publish(parent.id)
    page = nest.site / f"requests/{parent.id}/index.html"
    assert "forked: eu" in page.read_text() and f"{child.id}/index.html" not in page.read_text()
    assert page in nest.writer.publish(child.id)
    assert f"{child.id}/index.html" in page.read_text()
    check_links(nest.site)


async def test_one_request_published_into_nothing_has_no_broken_links(nest, populated):
    made = await populated(nest)
    nest.writer.publish(made["failing"].id)
    assert len(check_links(nest.site)) < 15


async def test_only_public_repositories_are_published(nest, make_attempt):
    """Nothing is published unless the operator said so, and what was is withdrawn when he takes it back."""
    private = await nest.definition(await nest.repository("burrow-secret", "private"))
    public = await nest.definition(await nest.repository())
    lone = await nest.definition(None, "lone-secret")
    hidden = [await simple(nest, one, make_attempt) for one in (private, lone)]
    shown = await simple(nest, public, make_attempt)
    assert [nest.writer.publish(one.id) for one in hidden] == [[], []]
    nest.writer.publish_all()
    everything = "".join(path.read_text() for path in nest.site.rglob("*") if path.is_file())
    assert (
        "secret" not in "".join(tree(nest.site))
        and "burrow-secret" not in everything
        and "lone-secret" not in everything
    )
    assert (nest.site / f"requests/{shown.id}/index.html").exists()
    owner = nest.store.read().repository(public.repository_id)
    await nest.store.write(lambda tx: tx.put_repository(owner.model_copy(update={"visibility": "private"})))
    nest.writer.publish_all()
    left = set(tree(nest.site))
    assert left == {"index.html", "static/formicary.css", "static/formicary.js"}
    assert "honeydew" not in (nest.site / "index.html").read_text()


async def test_pruned_requests_leave_no_pages_and_no_links(nest, make_attempt):
    definition = await nest.definition(await nest.repository())
    old, new = [await simple(nest, definition, make_attempt) for _ in range(2)]
    nest.writer.publish_all()
    nest.writer.prune([old.id, 999])
    nest.writer.publish(new.id)
    paths = tree(nest.site)
    assert not any(path.startswith((f"requests/{old.id}/", f"logs/{old.id}-")) for path in paths)
    assert f"requests/{new.id}/index.html" in paths
    check_links(nest.site)


async def test_pages_appear_whole_or_not_at_all(nest, make_attempt, monkeypatch):
    definition = await nest.definition(await nest.repository())
    request = await simple(nest, definition, make_attempt)
    nest.writer.publish_all()
    before = {path: path.read_bytes() for path in nest.site.rglob("*") if path.is_file()}
    await simple(nest, definition, make_attempt)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        nest.writer.publish(request.id)
    assert {path: path.read_bytes() for path in nest.site.rglob("*") if path.is_file()} == before


async def test_pages_may_be_read_by_a_web_server(nest, make_attempt):
    await simple(nest, await nest.definition(await nest.repository()), make_attempt)
    nest.writer.publish_all()
    assert {stat.S_IMODE(path.stat().st_mode) for path in nest.site.rglob("*") if path.is_file()} == {0o644}


async def test_the_raw_log_is_what_the_commands_wrote(nest, make_attempt, monkeypatch):
    """D13: to the last byte; a very long one is not copied, and its page has no link to it."""
    definition = await nest.definition(await nest.repository())
    request = await simple(nest, definition, make_attempt)
    nest.log(f"{request.id}-1", ("sys", "not this"), ("out", b"\xff\x00\r\nend"))
    nest.writer.publish_all()
    raw = nest.site / f"logs/{request.id}-1/raw.txt"
    assert raw.read_bytes() == b"hello\n\xff\x00\r\nend"
    raw.unlink()
    monkeypatch.setattr(writer, "RAW_LIMIT", 3)
    nest.writer.publish_all()
    assert not raw.exists() and "raw.txt" not in raw.with_name("index.html").read_text()


async def test_whatever_people_write_stays_text(nest, make_attempt):
    """T15, T6: names, messages, parameters, outputs, reasons, problems, logs."""
    repository = await nest.repository(f"repo{EVIL}", error=EVIL, tracked_branch=f"refs/heads/{EVIL}")
    definition = await nest.definition(repository, f"job{EVIL}", problems=(EVIL,), state=SyncState.INVALID)
    request = await nest.request(
        definition,
        ref=f"refs/heads/{EVIL}",
        description=EVIL,
        created_by=EVIL,
        event="commit",
        params={EVIL: EVIL, "List": [EVIL], "GitCommitMessage": EVIL, "GitCommitAuthor": EVIL},
    )
    job = JobDefinition(
        job_type="x",
        description=EVIL,
        params={f"S{EVIL}": Param(secret=True)},
        tasks=(
            TaskDefinition(task_type=EVIL, description=EVIL, method="SHELL"),
            TaskDefinition(task_type="b", needs=(EVIL,)),
        ),
    )

    def tasks(number):
        one = Attempt(
            id=f"{number}-1", number=1, fence=1, state=State.FAILED, started_at=1.0, ended_at=2.0, ant_id=EVIL,
            error_code=EVIL, error_message=EVIL, outputs={EVIL: EVIL}, warnings=(EVIL,),
            artifacts=(ArtifactRef(name=EVIL, digest="d"),),
        )  # fmt: skip
        return {
            EVIL: TaskRun(name=EVIL, state=State.FAILED, reason=EVIL, attempts=(one,)),
            "b": TaskRun(name="b", state=State.SKIPPED, reason=EVIL),
        }

    made = await nest.run(request, job, tasks, State.FAILED, error_code=EVIL, error_message=EVIL)
    lines = f"{EVIL}\n::group::{EVIL}\n::error file={EVIL}::{EVIL}\n::warning::{EVIL}\nError {EVIL}\n"
    nest.log(f"{made.id}-1", ("cmd", EVIL), ("sys", EVIL), ("out", lines), ("out", b"\xff\xfe" + EVIL.encode()))
    await nest.store.write(
        lambda tx: tx.add_artifact(
            Artifact(request_id=request.id, task_execution_id="1-1", task_type=EVIL, name=EVIL, kind=EVIL, digest=EVIL)
        )
    )
    await nest.request(definition, reason=EVIL)
    nest.writer.publish_all()
    pages = check_links(nest.site)
    assert len(pages) == 6
    for path in [*pages, *nest.site.rglob("*.svg")]:
        text = Path(path).read_text()
        assert "<script>" not in text and "<img src=x" not in text and "\x1b" not in text and "\u202e" not in text, path
        assert ">49<" not in text and " 49" not in text.replace("2026", ""), path
        names = path.resolve().relative_to(nest.site.resolve()).parts
        assert all(re.fullmatch(r"[a-z0-9._-]+", name) for name in names)


def test_file_names_are_safe_and_never_shared():
    names = ["ci", "CI", "Ci", "a/b", "a-b", "a b", "..", ".", "", "ä", "ci.", "x" * 200, "con?", "\0"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", one) and not one.endswith(".") for one in slugs)
    assert slug("ci") == "ci"


def test_badges_are_escaped_and_readable():
    assert 'aria-label="ci: passing"' in badge("ci", State.COMPLETED) and ">passing<" in badge("ci", State.COMPLETED)
    assert "failing" in badge("ci", State.FAILED) and "no runs" in badge("ci", None)
    assert "<script" not in badge("<script>", None) and len(badge("x" * 500, None)) < 1500


async def test_the_outbox_reaches_the_site(nest, make_attempt):
    """What ends in a public repository is owed to the site; publishing it twice is harmless."""
    publisher = SitePublisher(nest.store, nest.site, nest.logs)
    shown = await simple(nest, await nest.definition(await nest.repository()), make_attempt)
    hidden = await simple(nest, await nest.definition(await nest.repository("burrow", "private")), make_attempt)

    def owed(request, state=State.COMPLETED):
        return nest.store.write(lambda tx: list(site_effect(Moment(tx, request, state))))

    assert await owed(hidden) == [] and await owed(shown, State.EXECUTING) == []
    (one,) = await owed(shown)
    assert one.kind == publisher.kind and one.payload == {"request_id": shown.id}
    for _ in range(2):
        await publisher.publish(one.key, one.payload)
    assert (nest.site / f"requests/{shown.id}/index.html").exists()
    await publisher.publish_all()
    await publisher.prune([shown.id])
    assert not (nest.site / f"requests/{shown.id}").exists()


async def test_strangers_learn_no_addresses_and_no_paths(nest, make_attempt):
    """A public page is read by everybody: the operator's disk and people's addresses are not on it."""
    owner = await nest.repository(state="unavailable", error="/home/ann/secret-path is gone")
    definition = await nest.definition(owner)
    params = {"GitRepositoryURL": "/home/ann/secret-path", "GitCommitAuthorEmail": "ann@nest.example", "GitTag": ""}
    await simple(nest, definition, make_attempt, params=params)
    nest.writer.publish_all()
    text = "".join(path.read_text() for path in nest.site.rglob("*.html"))
    assert "secret-path" not in text and "ann@nest" not in text and "GitTag" in text
    assert "It cannot be read at the moment." in text


@pytest.mark.parametrize(
    ("url", "shown"), [("https://example.org/ci?a=1&b=2", True), ("javascript:alert(1)", False), (" https:x", False)]
)
async def test_a_jobs_url_is_a_link_if_it_is_one(nest, url, shown):
    """T15: whoever writes a definition puts no script on a page."""
    repository = await nest.repository()
    await nest.definition(repository, "ci")
    source = nest.source(definition_of=lambda _: JobDefinition(job_type="ci", url=url))
    page = render("job", build.job(source, repository.name, "ci"), StaticLink("job.html", lambda _: True))
    assert ('rel="noopener' in page) is shown
    assert "javascript:" not in page


async def test_archived_logs_keep_their_pages(nest, make_attempt, tmp_path):
    """A page that is there stays as it is; in a new folder it is made from the archive."""
    nest.logs.shelf = Shelf(DirectoryStore(tmp_path / "archive"), nest.logs.folder)
    await simple(nest, await nest.definition(await nest.repository()), make_attempt)
    (path,) = nest.logs.folder.rglob("*.log")
    nest.writer.publish_all()
    page, raw = nest.site / Paths.log(path.stem), nest.site / Paths.raw(path.stem)
    before = page.read_bytes(), raw.read_bytes()
    nest.logs.shelf.put(path)
    nest.writer.publish_all()
    assert (page.read_bytes(), raw.read_bytes()) == before
    assert not (nest.logs.folder / "brought").exists(), "nothing was fetched for it"
    SiteWriter(nest.store, tmp_path / "other", nest.logs).publish_all()
    again = tmp_path / "other" / Paths.log(path.stem), tmp_path / "other" / Paths.raw(path.stem)
    assert tuple(one.read_bytes() for one in again) == before


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_log_that_moves_while_pages_are_written_stops_none(nest, make_attempt, tmp_path, monkeypatch, deleted):
    """D8: archived, it is read from where it is now; deleted, it alone is left out."""
    nest.logs.shelf = Shelf(DirectoryStore(tmp_path / "archive"), nest.logs.folder)
    await simple(nest, await nest.definition(await nest.repository()), make_attempt)
    (path,) = nest.logs.folder.rglob("*.log")
    view = run.log

    def moved(source, one):
        found = view(source, one)
        nest.logs.delete(path.stem) if deleted else nest.logs.shelf.put(path)
        return found

    monkeypatch.setattr(run, "log", moved)
    nest.writer.publish_all()
    assert (nest.site / Paths.log(path.stem)).exists() and (nest.site / Paths.overview()).exists()
    assert (nest.site / Paths.raw(path.stem)).exists() is not deleted
