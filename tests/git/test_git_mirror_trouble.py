"""What goes wrong with a remote or its mirror: said in one sentence with the remedy, bounded, and mended."""

import random
import subprocess
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from formicary.runner.core.errors import RepositoryUnavailable, SetupError
from formicary.runner.core.messages import Source
from formicary.runner.git import mirror as mirrors_module
from formicary.runner.git import remote as remote_module
from formicary.runner.git.bare import Bare
from formicary.runner.git.mirror import Mirrors
from formicary.runner.git.remote import Credentials


def children():
    """Processes of git and ssh that this test run has started, by their command lines."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "ls-remote" in line or "fetch --quiet" in line]


async def refused(far):
    with pytest.raises(RepositoryUnavailable) as caught:
        await far.refresh()
    return str(caught.value)


@pytest.fixture
def near(http_site, repo, make_far):
    repo.commit({"a": "1"})
    return make_far(http_site, repo)


@pytest.fixture
def by_ssh(ssh_site, repo, make_far):
    repo.commit({"a": "1"})
    return make_far(ssh_site, repo)


async def test_no_token_and_a_wrong_one(near):
    near.credentials = Credentials()
    assert "it wants a token: `token_env` or `token_file`" in await refused(near)
    near.credentials = Credentials(token="wr0ng-one")
    said = await refused(near)
    assert "its token is wrong, has expired, or may not read this repository" in said
    assert "wr0ng" not in said
    assert "wr0ng" not in repr(near.credentials)


async def test_no_such_repository_and_a_server_in_trouble(near, http_site):
    right = near.repository.url
    near.repository = near.repository.model_copy(update={"url": right.replace("/repo/", "/none/")})
    assert "There is no repository at" in await refused(near)
    near.repository = near.repository.model_copy(update={"url": right})
    http_site.status = 503
    assert "has trouble of its own" in await refused(near)
    http_site.status = 0
    http_site.stop()
    assert "does not answer" in await refused(near)
    http_site.start()
    await near.refresh()


async def test_a_name_that_resolves_to_nothing(near):
    near.repository = near.repository.model_copy(update={"url": "http://nobody.invalid/a.git"})
    assert "nobody.invalid cannot be resolved" in await refused(near)


async def test_tls_that_nobody_vouches_for(near, repo, http_site, certificate, monkeypatch):
    """Never without a check; the operator's own authority is taken from the environment, as git does."""
    ours = certificate("127.0.0.1")
    http_site.stop()
    http_site.tls = ours.server
    http_site.start()
    near.repository = near.repository.model_copy(update={"url": http_site.url(repo.path / ".git")})
    assert "The TLS certificate of 127.0.0.1 is not accepted" in await refused(near)
    assert http_site.seen == [], "no token was sent"
    monkeypatch.setenv("GIT_SSL_CAINFO", str(ours.file))
    await near.refresh()
    assert near.refs()["refs/heads/main"] == repo.head()


async def test_an_unknown_host_key_a_changed_one_and_a_strange_key(by_ssh, ssh_site, tmp_path):
    """Strict with the operator's file; else taken at first sight into the data folder, and then it must stay."""
    key = ssh_site.key
    empty = tmp_path / "nobody"
    empty.write_text("")
    by_ssh.credentials = Credentials(deploy_key=key, known_hosts=empty)
    assert f"is not in {empty}" in await refused(by_ssh)
    assert empty.read_text() == ""
    by_ssh.credentials = Credentials(deploy_key=ssh_site.strange_key)
    assert "does not accept the ssh key" in await refused(by_ssh)
    by_ssh.credentials = Credentials(deploy_key=key)
    await by_ssh.refresh()
    assert "ssh-ed25519" in (tmp_path / "mirrors" / "known_hosts").read_text()
    ssh_site.stop()
    ssh_site.start(host_key=ssh_site.strange_key)
    assert "is another one than before" in await refused(by_ssh)


async def test_a_redirect_on_the_same_host_is_followed_and_another_host_gets_no_token(near, http_site):
    """A renamed repository goes on; where it leads to another server, the operator decides."""
    path = near.repository.url.split("/", 3)[3]
    http_site.redirect = ("/old/", f"http://127.0.0.1:{http_site.port}/")
    near.repository = near.repository.model_copy(update={"url": f"http://127.0.0.1:{http_site.port}/old/{path}"})
    await near.refresh()
    assert "refs/heads/main" in near.refs()
    http_site.redirect = ("/old/", f"http://localhost:{http_site.port}/")
    http_site.seen.clear()
    near.mirrors = Mirrors(Path(near.repository.path).parent, lambda _: near.credentials)
    said = await refused(near)
    assert f"moved to http://localhost:{http_site.port}/{path}, which is another server" in said
    assert all(not path.startswith("/repo") for _, path, _ in http_site.seen)


async def test_killed_in_the_middle_of_a_fetch(near, repo, http_site):
    """A connection that breaks leaves nothing half; the next refresh fetches all of it."""
    repo.commit({"large": b"".join(bytes([n * 7 % 251]) * (n % 97 + 1) for n in range(40_000))})
    near.repository = near.repository.model_copy(update={"tracked_branch": "main"})
    http_site.break_after = 3000
    said = await refused(near)
    assert "broke" in said
    assert http_site.broken.is_set()
    http_site.break_after = None
    await near.refresh()
    assert near.refs()["refs/heads/main"] == repo.head()
    assert near.git("fsck", "--strict") == ""
    assert not list(Path(near.repository.path, "objects", "pack").glob("tmp_*"))


async def test_cancel_ends_the_whole_group(near, http_site):
    """A fetch that is cancelled leaves no process (and the mirror's lock free)."""
    http_site.hang.set()
    before = len(children())
    async with anyio.create_task_group() as group:
        group.start_soon(near.refresh)
        await anyio.to_thread.run_sync(http_site.hung.wait, 20)
        assert len(children()) > before
        group.cancel_scope.cancel()
    assert len(children()) == before
    http_site.hang.clear()
    await near.refresh()


async def test_a_remote_that_says_nothing_is_left(near, http_site, monkeypatch):
    monkeypatch.setattr(remote_module, "LIST_TIMEOUT", 0.5)
    http_site.hang.set()
    started = time.monotonic()
    assert "it took longer than" in await refused(near)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("means", ["git", "dulwich"])
async def test_a_mirror_may_not_grow_without_end(near, repo, http_site, means, monkeypatch):
    """T12: a cap on what a remote can make us store."""
    if means == "dulwich":
        monkeypatch.setattr(remote_module, "git_binary", lambda: None)
    repo.commit({f"f{n}": random.Random(n).randbytes(300_000) for n in range(10)})
    folder = Path(near.repository.path).parent
    http_site.pace = 0.1
    near.mirrors = Mirrors(folder, lambda _: near.credentials, most_bytes=100_000)
    assert "raise `limit_mirror`" in await refused(near)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_500_000
    http_site.pace = 0.0
    near.mirrors = Mirrors(folder, lambda _: near.credentials)
    await near.refresh()
    assert near.refs()["refs/heads/main"] == repo.head()
    assert not list((Path(near.repository.path) / "objects" / "pack").glob("tmp_*"))


@pytest.mark.parametrize("damage", ["truncated pack", "no HEAD", "gone", "packed-refs", "config"])
async def test_a_damaged_mirror_is_made_anew(near, repo, damage):
    """Whatever was broken: the mirror holds nothing that the remote does not."""
    repo.commit({"a": "2"})
    await near.refresh()
    path = Path(near.repository.path)
    if damage == "truncated pack":
        for pack in (path / "objects" / "pack").glob("*.pack"):
            pack.chmod(0o600)
            pack.write_bytes(pack.read_bytes()[:40])
    elif damage == "no HEAD":
        (path / "HEAD").unlink()
    elif damage == "gone":
        Bare(path).remove()
    elif damage == "packed-refs":
        (path / "packed-refs").write_bytes(b"\x00\xff nonsense\n")
    else:
        (path / "config").write_bytes(b"[core\n")
    third = repo.commit({"a": "3"})
    await near.refresh()
    if near.refs().get("refs/heads/main") != third:
        pytest.fail(str(near.refs()))
    near.git("cat-file", "-e", f"{third}^{{tree}}")


@pytest.mark.parametrize("few", [200, 3])
async def test_a_ref_that_git_refuses_keeps_no_other_from_being_fetched(near, repo, few, monkeypatch):
    """D8: one malformed object is its own ref's trouble, among few refs and among many."""
    monkeypatch.setattr(mirrors_module, "FEW_REFS", few)
    await near.refresh()
    for number in range(10):
        repo.branch(f"b{number}", repo.commit_tree(repo.git("rev-parse", "HEAD^{tree}"), repo.head()))
    good = repo.commit({"a": "2"})
    bad = repo.raw_tree((b"100644", b".git", repo.blob("x")))
    repo.branch("bad", repo.commit_tree(bad))
    found = await near.refresh()
    assert near.refs()["refs/heads/main"] == good
    assert [("refs/heads/bad" in why, "left out" in why) for why in found.troubles] == [(True, True)]
    repo.git("branch", "-D", "bad")
    assert (await near.refresh()).troubles == ()


async def test_history_replaced_and_the_object_format_too(near, repo, make_repo, http_site, make_far):
    await near.refresh()
    other = make_repo("other", "--object-format=sha256")
    sha = other.commit({"a": "1"})
    await near.refresh(url=http_site.url(other.path / ".git"))
    assert near.refs() == {"refs/heads/main": sha}
    repo.git("checkout", "-q", "--orphan", "fresh")
    first = repo.commit({"z": "1"})
    repo.git("branch", "-f", "main", first)
    await near.refresh(url=http_site.url(repo.path / ".git"))
    assert near.refs() == {"refs/heads/main": first, "refs/heads/fresh": first}


async def test_what_runs_stays_when_branches_move(near, repo, monkeypatch):
    """A forced push takes away no running request's commit; what was given up is fetched again by its id."""
    monkeypatch.setattr("formicary.runner.git.bare.PRUNE_AFTER", "now")
    monkeypatch.setattr(mirrors_module, "MANY_PACKS", 1)
    first = repo.commit({"a": "old"})
    await near.refresh()
    repo.git("reset", "-q", "--hard", "HEAD~1")
    lost = repo.commit({"a": "lost"})
    await near.refresh()
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.commit({"a": "new"})
    await near.refresh()
    assert await near.mirrors.tidy(near.repository, {first, "0" * 40})
    near.git("cat-file", "-e", f"{first}^{{commit}}")
    Bare(Path(near.repository.path)).remove()
    await near.refresh()
    await near.mirrors.ready(Source(kind="commit", path=near.repository.path, commit=lost, depth=50))
    near.git("cat-file", "-e", f"{lost}^{{commit}}")


async def test_refs_beside_branches_are_fetched_where_asked_for(near, repo):
    """Pull requests' heads are many; each is fetched alone."""
    sha = repo.commit_tree(repo.git("rev-parse", "HEAD^{tree}"))
    repo.git("update-ref", "refs/pull/7/head", sha)
    await near.refresh()
    assert list(near.refs()) == ["refs/heads/main"]
    assert await near.mirrors.fetch_ref(near.repository, "refs/pull/7/head") == sha
    with pytest.raises(RepositoryUnavailable, match="not in"):
        await near.mirrors.fetch_ref(near.repository, "refs/pull/8/head")
    with pytest.raises(SetupError):
        await near.mirrors.fetch_ref(near.repository, "--upload-pack=x")


async def test_a_slow_remote_keeps_no_other_waiting(near, repo, make_far, http_site, tmp_path):
    """D15: limits of their own; a hanging listing holds its own repository only."""
    from remotes import FileSite

    other = make_far(FileSite(tmp_path), repo)
    other.mirrors = near.mirrors
    http_site.hang.set()
    async with anyio.create_task_group() as group:
        group.start_soon(near.refresh)
        await anyio.to_thread.run_sync(http_site.hung.wait, 20)
        with anyio.fail_after(10):
            await other.refresh()
        group.cancel_scope.cancel()


async def test_a_server_that_knows_no_shallow_fetch_gives_all(near, repo, tmp_path):
    """Plain files behind any web server ("dumb" HTTP): all of the history, because nothing less can be had."""
    commits = [repo.commit({"a": str(number)}) for number in range(3)]
    path = repo.bare(tmp_path / "plain.git")
    repo.git("update-server-info", cwd=path)

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args, **options):
            super().__init__(*args, directory=str(tmp_path), **options)

        def log_message(self, *_):
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        near.credentials = Credentials()
        await near.refresh(url=f"http://127.0.0.1:{server.server_port}/plain.git")
        server.shutdown()
    assert near.refs()["refs/heads/main"] == commits[-1]
    assert near.git("rev-list", "--count", "main") == "4"
