"""The site in a bucket and on a branch is the folder, file by file, at every moment without a dead link."""

import io
import re
import subprocess
import time
from posixpath import dirname, join, normpath

import anyio
import pytest
from buckets import ACCESS, SECRET

from formicary.runner.artifacts.address import Keys, address_of
from formicary.runner.artifacts.bucket import Bucket
from formicary.runner.core.definition import JobDefinition, TaskDefinition
from formicary.runner.core.errors import WorldError
from formicary.runner.core.execution import TaskRun
from formicary.runner.core.states import State
from formicary.runner.git.address import parse
from formicary.runner.git.push import Branch
from formicary.runner.git.remote import Credentials
from formicary.site import mirror as mirroring
from formicary.site.branch import ON_BRANCH, BranchTarget
from formicary.site.bucket import BucketTarget
from formicary.site.mirror import KIND, SiteMirror, files_of, in_order, owed_soon
from formicary.site.publish import SitePublisher


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(mirroring, "GATHER", 0.2)


ONE = JobDefinition(job_type="ci", tasks=(TaskDefinition(task_type="test"),))


async def a_run(nest, definition, make_attempt):
    request = await nest.request(definition)
    made = await nest.run(
        request, ONE, lambda n: {"test": TaskRun(name="test", state=State.COMPLETED, attempts=(make_attempt(n, 1),))}
    )
    nest.log(f"{made.id}-1", ("out", "hello\n"))
    return request


def contents(folder):
    return {path: file.read_bytes() for path, file in files_of(folder).items()}


def dead_links(pages):
    """Links of pages (path → bytes) to what is not among them."""
    dead = set()
    for path, data in pages.items():
        for link in re.findall(rb'(?:href|src)="([^"#]+)', data) if path.endswith(".html") else ():
            target = normpath(join(dirname(path), link.decode().partition("?")[0]))
            if b":" not in link and target not in pages:
                dead.add((path, target))
    return dead


class InBucket:
    def __init__(self, s3):
        self.s3, self.name = s3, s3.bucket()
        self.target = self.again()

    def again(self):
        return BucketTarget(Bucket(address_of(self.s3.address(self.name, "www")), Keys(ACCESS, SECRET)))

    def pages(self):
        found = self.s3.contents(self.name)
        return {key.removeprefix("www/"): data for key, data in found.items() if key.startswith("www/")}


class OnBranch:
    def __init__(self, folder):
        self.bare, self.store = folder / "remote.git", folder / "site.git"
        subprocess.run(["git", "init", "-q", "--bare", self.bare], check=True)
        self.target = self.again()

    def again(self):
        branch = Branch(parse(self.bare.as_uri()), "gh-pages", Credentials(), self.store, ON_BRANCH)
        return BranchTarget(branch)

    def git(self, *words):
        return subprocess.run(["git", "--git-dir", self.bare, *words], capture_output=True, check=True).stdout

    def pages(self):
        names = self.git("ls-tree", "-r", "-z", "--name-only", "gh-pages").decode().split("\0")[:-1]
        found = {name: self.git("show", f"gh-pages:{name}") for name in names}
        assert found.pop(".nojekyll") == b""
        return found


@pytest.fixture(params=["bucket", "branch"])
def place(request, tmp_path):
    return InBucket(request.getfixturevalue("s3")) if request.param == "bucket" else OnBranch(tmp_path)


async def test_it_is_the_folder(nest, make_attempt, place):
    """Made, added to, pruned, private again, and after a restart: the same files, and no dead link."""
    owner = await nest.repository()
    definition = await nest.definition(owner)
    publisher = SitePublisher(nest.store, nest.site, nest.logs)
    mirror = SiteMirror(nest.site, place.target, publisher.busy)

    async def mirrored():
        await mirror.publish("site", {})
        found = place.pages()
        assert found == contents(nest.site) and dead_links(found) == set()
        return found

    first = await a_run(nest, definition, make_attempt)
    await publisher.publish_all()
    before = await mirrored()
    assert f"requests/{first.id}/index.html" in before and any(path.startswith("logs/") for path in before)
    second = await a_run(nest, definition, make_attempt)
    await publisher.publish("x", {"request_id": second.id})
    assert f"requests/{second.id}/index.html" in await mirrored()
    mirror = SiteMirror(nest.site, place.again(), publisher.busy)
    await nest.store.write(lambda tx: tx.put_repository(owner.model_copy(update={"visibility": "private"})))
    await publisher.publish_all()
    assert not any(path.startswith("requests/") for path in await mirrored())


async def test_a_bucket_is_never_seen_with_a_dead_link(nest, make_attempt, s3, monkeypatch):
    """After each single put and delete, from the first page on."""
    place = InBucket(s3)
    definition = await nest.definition(await nest.repository())
    publisher = SitePublisher(nest.store, nest.site, nest.logs)
    mirror, seen, steps = SiteMirror(nest.site, place.target, publisher.busy), {}, []

    def put(self, key, source, size, media="", cache="", **more):
        seen[key.removeprefix("www/")] = source.read()
        steps.append(reachable_and_dead(seen))

    def delete(self, key):
        del seen[key.removeprefix("www/")]
        steps.append(reachable_and_dead(seen))

    monkeypatch.setattr(Bucket, "put", put)
    monkeypatch.setattr(Bucket, "delete", delete)
    for _ in range(3):
        request = await a_run(nest, definition, make_attempt)
        await publisher.publish("x", {"request_id": request.id})
        await mirror.publish("site", {})
    await publisher.prune([request.id])
    await nest.store.write(
        lambda tx: tx.put_repository(nest.store.read().repositories()[0].model_copy(update={"visibility": "private"}))
    )
    await publisher.publish_all()
    await mirror.publish("site", {})
    assert len(steps) > 20 and [dead for dead in steps if dead] == []


def test_new_pages_are_sent_before_those_that_changed(s3, tmp_path, monkeypatch):
    """A log's page that links to a new attempt's, whose name comes after its own."""
    place, steps, real = InBucket(s3), [], Bucket.put

    def put(self, key, *rest, **more):
        real(self, key, *rest, **more)
        steps.append((key, reachable_and_dead(place.pages())))

    def write(**pages):
        for name, links in pages.items():
            path = tmp_path / "site" / {"top": "index.html"}.get(name, f"logs/{name}/index.html")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f'<a href="{link}">' for link in links))

    monkeypatch.setattr(Bucket, "put", put)
    write(top=["logs/a/index.html"], a=[])
    place.target.send(files_of(tmp_path / "site"), lambda: None)
    write(a=["../b/index.html"], b=["../a/index.html"])
    place.target.send(files_of(tmp_path / "site"), lambda: None)
    assert len(steps) == 4 and [step for step in steps if step[1]] == []


def reachable_and_dead(pages):
    """Dead links on what can be reached from the overview; nothing can before that is there."""
    reached, todo, dead = set(), ["index.html"] if "index.html" in pages else [], set()
    while todo:
        path = todo.pop()
        reached.add(path)
        for _, target in dead_links({path: pages[path]}):
            if target not in pages:
                dead.add((path, target))
            elif target not in reached:
                todo.append(target)
    return dead


async def test_only_what_changed_is_sent(nest, make_attempt, s3, monkeypatch):
    """A second look sends nothing, also after a restart; a new run sends its own pages and those that name it."""
    place = InBucket(s3)
    definition = await nest.definition(await nest.repository())
    publisher = SitePublisher(nest.store, nest.site, nest.logs)
    await a_run(nest, definition, make_attempt)
    await publisher.publish_all()
    sent, real = [], Bucket.put

    def put(self, key, *rest, **more):
        sent.append(key)
        real(self, key, *rest, **more)

    monkeypatch.setattr(Bucket, "put", put)
    await SiteMirror(nest.site, place.target, publisher.busy).publish("site", {})
    assert len(sent) == len(contents(nest.site))
    sent.clear()
    for target in (place.target, place.again()):
        await SiteMirror(nest.site, target, publisher.busy).publish("site", {})
    assert sent == []
    request = await a_run(nest, definition, make_attempt)
    await publisher.publish("x", {"request_id": request.id})
    await SiteMirror(nest.site, place.target, publisher.busy).publish("site", {})
    assert sent[-1] == "www/index.html" and not [key for key in sent if key.startswith("www/static/")]


async def test_types_and_cache_headers(nest, s3):
    """Browsers show pages, and ask for them each time."""
    place = InBucket(s3)
    nest.writer.publish_all()
    await SiteMirror(nest.site, place.target, anyio.Lock()).publish("site", {})
    client = s3.client()
    page = client.stat_object(place.name, "www/index.html").metadata
    assert (page["content-type"], page["cache-control"]) == ("text/html; charset=utf-8", "no-cache")
    style = next(path for path in contents(nest.site) if path.endswith(".css"))
    found = client.stat_object(place.name, f"www/{style}").metadata
    assert (found["content-type"], found["cache-control"]) == ("text/css; charset=utf-8", "public, max-age=300")


async def test_others_in_the_bucket_stay(nest, s3):
    """Only the site's own names are touched; what is stale among them goes."""
    place = InBucket(s3)
    bucket = place.target._bucket
    for key in ("www/CNAME", "other", "www/requests/9/index.html", "www/index.html.bak"):
        bucket.put(key, io.BytesIO(b"x"), 1)
    nest.writer.publish_all()
    await SiteMirror(nest.site, place.target, anyio.Lock()).publish("site", {})
    found = s3.contents(place.name)
    assert {"www/CNAME", "other", "www/index.html.bak"} <= found.keys()
    assert "www/requests/9/index.html" not in found


async def test_a_bucket_that_goes_and_comes_back(nest, make_attempt, mortal_s3):
    """WorldError, and later what is missing."""
    place = InBucket(mortal_s3)
    nest.writer.publish_all()
    mirror = SiteMirror(nest.site, place.target, anyio.Lock())
    await mirror.publish("site", {})
    await a_run(nest, await nest.definition(await nest.repository()), make_attempt)
    nest.writer.publish_all()
    mortal_s3.kill()
    with pytest.raises(WorldError):
        await mirror.publish("site", {})
    mortal_s3.start()
    await mirror.publish("site", {})
    assert place.pages() == contents(nest.site)


async def test_changes_are_gathered(nest):
    """One entry of the outbox for a few seconds' changes, whose time the later ones do not put off; and a pause."""
    now = [1000.0]
    owe = owed_soon(nest.store, lambda: now[0])
    for _ in range(4):
        await owe()
        (entry,) = [one for one in nest.store.read().outbox().records if one.kind == KIND]
        assert entry.due_at == 1000.2
        now[0] += 1.0

    class Counts:
        def __init__(self):
            self.times = []

        def send(self, files, check):
            check()
            self.times.append(time.monotonic())

    target = Counts()
    mirror = SiteMirror(nest.site, target, anyio.Lock())
    for _ in range(2):
        await mirror.publish("site", {})
    assert target.times[1] - target.times[0] > 0.15


def test_the_order():
    """What is linked to is sent before what links to it."""
    paths = ["index.html", "repos/a/index.html", "requests/1/index.html", "logs/1-1/index.html", "static/x.css"]
    paths += ["repos/a/jobs/ci/index.html", "logs/1-1/raw.txt", "badges/a/ci.svg", "strange/x"]
    assert in_order(paths) == [
        "static/x.css",
        "badges/a/ci.svg",
        "logs/1-1/raw.txt",
        "logs/1-1/index.html",
        "requests/1/index.html",
        "repos/a/jobs/ci/index.html",
        "repos/a/index.html",
        "index.html",
    ]
