"""A folder on a branch: over file, http (git http-backend) and ssh, read back by the git binary."""

import subprocess

import pytest
from remotes import TOKEN

from formicary.runner.core.errors import RepositoryUnavailable, SetupError
from formicary.runner.git import push
from formicary.runner.git.address import parse
from formicary.runner.git.push import Branch
from formicary.runner.git.remote import Credentials

OWNED = frozenset({"index.html", "logs", "requests", ".nojekyll"})
PAGES = {"index.html": b"one", "requests/1/index.html": b"<p>\xff", "logs/1-1/index.html": b"log", ".nojekyll": b""}


def git(path, *words):
    done = subprocess.run(["git", "-c", "safe.directory=*", "--git-dir", path, *words], capture_output=True, check=True)
    return done.stdout


def files_of(path, branch="gh-pages"):
    """path → bytes of all files of a branch's tip."""
    names = git(path, "ls-tree", "-r", "-z", "--name-only", branch).decode().split("\0")[:-1]
    return {name: git(path, "show", f"{branch}:{name}") for name in names}


def commits_of(path, branch="gh-pages"):
    return git(path, "log", "--format=%s", branch).decode().splitlines()


@pytest.fixture
def bare(tmp_path):
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
    git(path, "config", "http.receivepack", "true")
    return path


@pytest.fixture(params=["file", "http", "ssh"])
def place(request, bare):
    """(address, credentials)"""
    if request.param == "file":
        return bare.as_uri(), Credentials()
    site = request.getfixturevalue(f"{request.param}_site")
    if request.param == "http":
        site.token = TOKEN
        return site.url(bare), Credentials(token=TOKEN)
    return site.url(bare), Credentials(deploy_key=site.key, known_hosts=site.known_hosts())


@pytest.fixture
def put(tmp_path, place):
    """Put these files (path → bytes) onto the branch; says whether there was a commit."""
    url, credentials = place
    branch = Branch(parse(url), "gh-pages", credentials, tmp_path / "store.git", OWNED)

    def put(pages, message="pages", **more):
        folder = tmp_path / "folder"
        for name, data in pages.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).exists() or (folder / name).read_bytes() != data:
                (folder / name).write_bytes(data)
        return branch.put({name: folder / name for name in pages}, message, **more)

    put.branch = branch
    return put


def test_the_branch_is_the_folder(put, bare):
    """Made, changed, made smaller: file by file, one commit each, and none where nothing changed."""
    assert put(PAGES, "first")
    assert files_of(bare) == PAGES
    assert not put(PAGES, "again")
    less = {**PAGES, "index.html": b"two", "requests/2/index.html": b"new"}
    del less["logs/1-1/index.html"], less["requests/1/index.html"]
    assert put(less, "second")
    assert files_of(bare) == less
    assert commits_of(bare) == ["second", "first"]
    assert git(bare, "fsck", "--strict") == b""


def test_what_others_put_beside_it_stays(put, bare, repo):
    """A domain's CNAME; what is below our own names is ours."""
    repo.commit({"CNAME": "ci.example.org\n", "requests/9/index.html": "stale", "docs/x": "y"})
    repo.git("push", "-q", str(bare), "HEAD:gh-pages")
    assert put(PAGES)
    assert files_of(bare) == {**PAGES, "CNAME": b"ci.example.org\n", "docs/x": b"y"}
    assert len(commits_of(bare)) == 2


def test_somebody_pushes_meanwhile(put, bare, repo, monkeypatch):
    """Nothing of theirs is lost and nothing is forced: ours comes on top."""
    put(PAGES, "first")
    sent, real = [], Branch._send

    def send(self, client, path, store, parent, commit):
        if not sent:
            repo.git("pull", "-q", str(bare), "gh-pages")
            repo.commit({"CNAME": "theirs"})
            repo.git("push", "-q", str(bare), "HEAD:gh-pages")
        sent.append(parent)
        real(self, client, path, store, parent, commit)

    monkeypatch.setattr(Branch, "_send", send)
    changed = {**PAGES, "index.html": b"two"}
    assert put(changed, "second")
    assert len(sent) == 2
    assert files_of(bare) == {**changed, "CNAME": b"theirs"}
    assert commits_of(bare)[0] == "second" and commits_of(bare)[-1] == "first" and len(commits_of(bare)) == 3


def test_a_store_that_is_gone_or_broken_is_made_anew(put, bare, tmp_path):
    """It is nothing but a copy."""
    put(PAGES, "first")
    for file in (tmp_path / "store.git" / "objects").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"")
    changed = {**PAGES, "index.html": b"two"}
    assert put(changed, "second")
    assert files_of(bare) == changed


def test_a_store_that_grew_large_is_made_anew(put, bare, monkeypatch):
    """Loose objects are not collected, so it begins again with what the branch holds now."""
    put(PAGES, "first")
    monkeypatch.setattr(push, "MOST_LOOSE", 2)
    assert put({**PAGES, "index.html": b"two"}, "second")
    assert commits_of(bare) == ["second", "first"]


def test_a_remote_that_is_away_and_back(http_site, bare, tmp_path):
    """Wait and retry; the token is not in what is said."""
    http_site.token = TOKEN
    (tmp_path / "page").write_bytes(b"x")
    files = {"index.html": tmp_path / "page"}

    def branch(token=TOKEN):
        address = parse(http_site.url(bare))
        return Branch(address, "gh-pages", Credentials(token=token), tmp_path / "store.git", OWNED)

    with pytest.raises(RepositoryUnavailable, match="does not accept the token"):
        branch("wrong").put(files, "x")
    http_site.stop()
    with pytest.raises(RepositoryUnavailable) as away:
        branch().put(files, "x")
    assert TOKEN not in str(away.value)
    http_site.start()
    http_site.status = 503
    with pytest.raises(RepositoryUnavailable):
        branch().put(files, "x")
    http_site.status = 0
    assert branch().put(files, "x")
    assert files_of(bare) == {"index.html": b"x"}


def test_a_server_that_takes_no_commits(http_site, bare, tmp_path):
    """A protected branch is the operator's to open."""
    hook = bare / "hooks" / "update"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / "page").write_bytes(b"x")
    branch = Branch(parse(http_site.url(bare)), "gh-pages", Credentials(), tmp_path / "store.git", OWNED)
    with pytest.raises(SetupError, match="does not take commits on gh-pages"):
        branch.put({"index.html": tmp_path / "page"}, "x")


def test_it_can_be_ended(put, bare):
    """`check` is asked before each file."""

    def check():
        raise TimeoutError

    with pytest.raises((TimeoutError, RepositoryUnavailable)):
        put(PAGES, check=check)
    assert git(bare, "for-each-ref") == b""
