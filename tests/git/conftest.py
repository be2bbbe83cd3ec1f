"""A remote of each kind, and its mirror."""

import subprocess
from pathlib import Path

import pytest
from remotes import TOKEN, FileSite

from formicary.runner.core.records import Repository
from formicary.runner.git import bare, remote
from formicary.runner.git.mirror import Mirrors
from formicary.runner.git.remote import Credentials
from formicary.runner.git.repository import GitRepository


class Far:
    """A remote, its mirrors, and what was given to reach it."""

    def __init__(self, site, source, folder, credentials):
        self.site, self.source = site, source
        self.credentials = credentials
        self.mirrors = Mirrors(folder, lambda _: self.credentials)
        url = site.url(source.path / ".git" if (source.path / ".git").exists() else source.path)
        path = self.mirrors.path_for(url, ())
        self.repository = Repository(id=1, name="far", path=path, url=url, tracked_branch="main")

    async def refresh(self, **fields):
        self.repository = self.repository.model_copy(update=fields)
        return await self.mirrors.refresh(self.repository)

    def source_path(self):
        return Path(self.repository.path)

    def refs(self):
        with GitRepository.open(self.repository.path) as git:
            return git.refs()

    def git(self, *words):
        done = subprocess.run(["git", "-C", self.repository.path, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()


# The last one is the two before it together, and slow.
@pytest.fixture(
    params=["http", "ssh", "file", "http without git", pytest.param("ssh without git", marks=pytest.mark.soak)]
)
def site(request, tmp_path, monkeypatch):
    """A server of each kind, reached with git and, where none is installed, with dulwich."""
    kind, _, without = request.param.partition(" ")
    if without:
        for module in (remote, bare):
            monkeypatch.setattr(module, "git_binary", lambda: None)
    return FileSite(tmp_path) if kind == "file" else request.getfixturevalue(f"{kind}_site")


@pytest.fixture
def make_far(tmp_path):
    def make(site, source):
        credentials = Credentials()
        if site.scheme == "http":
            site.token = TOKEN
            credentials = Credentials(token=TOKEN)
        if site.scheme == "ssh":
            credentials = Credentials(deploy_key=site.key, known_hosts=site.known_hosts())
        return Far(site, source, tmp_path / "mirrors", credentials)

    return make


@pytest.fixture
def far(site, repo, make_far):
    return make_far(site, repo)


@pytest.fixture
def near(http_site, repo, make_far):
    """One over http, where what the server is asked can be counted."""
    return make_far(http_site, repo)
