"""Puts a folder's files onto a branch of a remote repository, as one commit on top of what is there. Never by force.

Top-level names that are `owned` become what they are in the folder, others stay as they are (`CNAME`, a README).
Somebody who pushes meanwhile is not overwritten: the commit is made again on top of theirs. History is kept. Blocking;
dulwich speaks to the remote, and no configuration of this machine or of a user counts. The objects lie in a bare
repository of ours, which may be thrown away at any time.
"""

from __future__ import annotations

import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import certifi
import urllib3
from dulwich.client import GitClient, HttpGitClient, HTTPUnauthorized, LocalGitClient, SSHGitClient
from dulwich.config import ConfigDict
from dulwich.errors import (
    ChecksumMismatch,
    FileFormatException,
    GitProtocolError,
    HangupException,
    NotGitRepository,
    SendPackError,
)
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.pack import pack_objects_to_data
from dulwich.refs import Ref
from dulwich.repo import Repo

from formicary.runner.core.errors import RepositoryUnavailable, SetupError
from formicary.runner.git.address import Address
from formicary.runner.git.remote import Credentials, Remote

CONNECT: Final = 15.0
READ: Final = 60.0
TRIES: Final = 5
"""How often somebody may push in between."""
MOST_LOOSE: Final = 20_000
AUTHOR: Final = b"Formicary <formicary@localhost>"
_FILE, _FOLDER = 0o100644, 0o040000
_WHY: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (HTTPUnauthorized, "it does not accept the token"),
    (NotGitRepository, "there is no repository, or the token or key may not see it"),
)


_REMOTE: Final = (
    *(SendPackError, GitProtocolError, HangupException, NotGitRepository, HTTPUnauthorized),
    urllib3.exceptions.HTTPError,
)
#: What a repository of ours that is damaged raises, or a disk.
_HERE: Final = (OSError, EOFError, KeyError, ValueError, zlib.error, FileFormatException, ChecksumMismatch)
#: What a server says where somebody was faster.
_FASTER: Final = (
    "lock",
    "non-fast-forward",
    "fetch first",
    "unable to set",
    "reference already",
    "failed to update ref",
)


class _Moved(Exception):
    """The branch is elsewhere than it was."""


@dataclass(slots=True)
class Branch:
    """A branch of a remote, and the bare repository `store` in which its commits are made. One call at a time."""

    address: Address
    name: str
    credentials: Credentials
    store: Path
    owned: frozenset[str]
    clock: Callable[[], float] = time.time
    _known: dict[Path, tuple[tuple[int, int], ObjectID]] = field(default_factory=dict)

    def put(self, files: Mapping[str, Path | bytes], message: str, check: Callable[[], None] = lambda: None) -> bool:
        """Make the branch hold these (path below the root → file, or its bytes); whether a commit was needed.
        `check` is called in between and ends it by raising. Raises RepositoryUnavailable, SetupError."""
        try:
            return self._try(files, message, check)
        except _HERE:
            # What is here may be half of something, of a process that was killed.
            self._forget()
        try:
            return self._try(files, message, check)
        except _HERE as error:
            self._forget()
            raise self._unavailable(error) from error

    def _try(self, files: Mapping[str, Path | bytes], message: str, check: Callable[[], None]) -> bool:
        try:
            with self._opened() as repo:
                return self._put(repo, files, message.encode(), check)
        except _REMOTE as error:
            raise self._unavailable(error) from error

    def _forget(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        self._known.clear()

    def _put(self, repo: Repo, files: Mapping[str, Path | bytes], message: bytes, check: Callable[[], None]) -> bool:
        client, path = self._client()
        blobs = {name: self._blob(repo, file) for name, file in _checked(files, check)}
        for _ in range(TRIES):
            parent = client.get_refs(path.encode()).refs.get(self._ref)
            check()
            if parent is not None and parent not in repo.object_store:
                client.fetch(path, repo, partial(_only, parent), depth=self._depth)
            commit = _commit(repo, parent, _root(repo, blobs, self.owned, _tree_of(repo, parent)), int(self.clock()))
            if commit is None:
                return False
            commit.message = message + b"\n"
            repo.object_store.add_object(commit)
            try:
                self._send(client, path, repo, parent, commit)
                return True
            except _Moved:
                continue
        raise RepositoryUnavailable(f"Others push to {self.name} of {self.address.url} all the time.")

    def _send(self, client: GitClient, path: str, repo: Repo, parent: ObjectID | None, commit: Commit) -> None:
        def update(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
            if refs.get(self._ref) != parent:
                raise _Moved
            return {self._ref: commit.id}

        def data(have: Any, want: Any, **_: Any) -> Any:
            return pack_objects_to_data([(one, None) for one in _new_objects(repo, parent, commit)])

        result = client.send_pack(path.encode(), update, data)
        refused = (result.ref_status or {}).get(self._ref)
        if refused:
            if any(word in refused for word in _FASTER):
                raise _Moved
            raise SetupError(f"{self.address.url} does not take commits on {self.name}: {refused}.")

    @property
    def _ref(self) -> Ref:
        return Ref(f"refs/heads/{self.name}".encode())

    @property
    def _depth(self) -> int | None:
        return None if self.address.scheme == "file" else 1

    def _opened(self) -> Repo:
        if (self.store / "objects").is_dir() and _loose(self.store) < MOST_LOOSE:
            return Repo(str(self.store))
        self._forget()
        self.store.mkdir(mode=0o700, parents=True)
        return Repo.init_bare(str(self.store))

    def _blob(self, repo: Repo, file: Path | bytes) -> ObjectID:
        if isinstance(file, bytes):
            return _stored(repo, file)
        found = file.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._known.get(file)
        if known and known[0] == stamp and known[1] in repo.object_store:
            return known[1]
        blob = _stored(repo, file.read_bytes())
        self._known[file] = (stamp, blob)
        return blob

    def _client(self) -> tuple[GitClient, str]:
        """The transport, and the path that it wants."""
        address, credentials = self.address, self.credentials
        parts = urlsplit(address.url)
        if address.scheme == "file":
            return LocalGitClient(config=ConfigDict()), unquote(parts.path)
        if address.scheme == "ssh":
            ssh = Remote(address, credentials, self.store).ssh_command
            user = parts.username or address.url.partition("@")[0] if "@" in address.url else None
            client = SSHGitClient(address.host, address.port, user, config=ConfigDict(), ssh_command=ssh)
            return client, unquote(address.path)
        user, token = (credentials.username, credentials.token) if credentials.token else (None, None)
        base = f"{parts.scheme}://{parts.netloc}/"
        return HttpGitClient(base, pool_manager=_pool(), config=ConfigDict(), username=user, password=token), parts.path

    def _unavailable(self, error: BaseException) -> RepositoryUnavailable:
        why = next((said for kind, said in _WHY if isinstance(error, kind)), "")
        if not why:
            why = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        for secret in self.credentials.secrets:
            why = why.replace(secret, "***")
        return RepositoryUnavailable(f"{self.name} of {self.address.url} cannot be written: {why.rstrip('.')}.")


def _checked(files: Mapping[str, Path | bytes], check: Callable[[], None]) -> Iterator[tuple[str, Path | bytes]]:
    for one in files.items():
        check()
        yield one


def _stored(repo: Repo, data: bytes) -> ObjectID:
    blob = Blob.from_string(data)
    if blob.id not in repo.object_store:
        repo.object_store.add_object(blob)
    return blob.id


def _only(tip: ObjectID, _refs: Any, depth: int | None = None) -> list[ObjectID]:
    return [tip]


def _commit(repo: Repo, parent: ObjectID | None, tree: Tree, now: int) -> Commit | None:
    """A commit of this tree on top of `parent`; None where that has this tree already."""
    above = _tree_of(repo, parent)
    if above is not None and tree.id == above.id:
        return None
    commit = Commit()
    commit.tree = tree.id
    commit.parents = [parent] if parent else []
    commit.author = commit.committer = AUTHOR
    commit.author_time = commit.commit_time = now
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    return commit


def _tree_of(repo: Repo, commit_id: ObjectID | None) -> Tree | None:
    if commit_id is None:
        return None
    commit = repo.object_store[commit_id]
    tree = repo.object_store[commit.tree] if isinstance(commit, Commit) else None
    return tree if isinstance(tree, Tree) else None


def _root(repo: Repo, blobs: Mapping[str, ObjectID], owned: frozenset[str], above: Tree | None) -> Tree:
    """The files, and what there was above beside them."""
    nested: dict[str, Any] = {}
    for path, blob in blobs.items():
        *folders, name = path.split("/")
        here = nested
        for folder in folders:
            here = here.setdefault(folder, {})
        here[name] = blob
    root = _tree(repo, nested)
    for entry in above.items() if above is not None else ():
        if os.fsdecode(entry.path) not in owned and entry.path not in root:
            root.add(entry.path, entry.mode, entry.sha)
    repo.object_store.add_object(root)
    return root


def _tree(repo: Repo, nested: Mapping[str, Any]) -> Tree:
    tree = Tree()
    for name, below in nested.items():
        if isinstance(below, dict):
            tree.add(os.fsencode(name), _FOLDER, _tree(repo, below).id)
        else:
            tree.add(os.fsencode(name), _FILE, below)
    repo.object_store.add_object(tree)
    return tree


def _new_objects(repo: Repo, parent: ObjectID | None, commit: Commit) -> list[ShaFile]:
    """What the remote does not have: of the commit's tree all that its parent's has not."""
    above = _tree_of(repo, parent)
    known = set(_ids(repo, above.id)) if above is not None else set()
    wanted = dict.fromkeys(one for one in _ids(repo, commit.tree, known) if one not in known)
    return [commit, *(repo.object_store[one] for one in wanted)]


def _ids(repo: Repo, tree_id: ObjectID, without: Iterable[ObjectID] = ()) -> Iterator[ObjectID]:
    """A tree's id and those of all below it; not of what is below a tree in `without`."""
    yield tree_id
    if tree_id in without:
        return
    tree = repo.object_store[tree_id]
    assert isinstance(tree, Tree)
    for entry in tree.items():
        if entry.mode == _FOLDER:
            yield from _ids(repo, entry.sha, without)
        elif entry.mode != 0o160000:
            yield entry.sha


def _loose(store: Path) -> int:
    return sum(len(os.listdir(folder)) for folder in store.glob("objects/[0-9a-f][0-9a-f]"))  # noqa: PTH208


def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT, read=READ),
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=False,
    )
