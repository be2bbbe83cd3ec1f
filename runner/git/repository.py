"""One repository on this machine, working or bare, read through dulwich; nothing is ever checked out here (T12)."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from dulwich.errors import NotGitRepository
from dulwich.refs import Ref
from dulwich.repo import InvalidWorktreeConfiguration, Repo, UnsupportedExtension, UnsupportedVersion

from formicary.runner.core.errors import FormicaryError, NotFound, NotSupported, RepositoryUnavailable, SetupError
from formicary.runner.git import history
from formicary.runner.git.model import Blob, Commit, decode
from formicary.runner.git.objects import ObjectReader
from formicary.runner.git.refs import RefReader
from formicary.runner.git.trees import Definitions, changed_paths

MAX_TAG_NESTING: Final = 16
WALK_LIMIT: Final = 50_000

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(method: Callable[Concatenate[GitRepository, P], R]) -> Callable[Concatenate[GitRepository, P], R]:
    """One thread at a time, and no traceback for what is damaged or gone.

    Damaged bytes make dulwich raise whatever Python raised inside it (KeyError, AssertionError, zlib.error and many
    more), so everything that is not an error of ours is taken for a repository that cannot be read now.
    """

    @wraps(method)
    def guarded(self: GitRepository, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            try:
                return method(self, *args, **kwargs)
            except FormicaryError:
                raise
            except Exception as error:
                _let_go(error)
                raise unreadable(self.path, error) from error

    return guarded


def _let_go(error: BaseException | None) -> None:
    """Forget the variables of the calls that failed: while they hold a piece of a pack, it cannot be closed."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


class GitRepository:
    """Blocking calls, safe from any thread. Ids are full lower-case hex; what is not there raises NotFound."""

    def __init__(self, path: Path, repo: Repo) -> None:
        """Use `open`."""
        self.path = path
        self.bare: bool = repo.bare
        self._repo = repo
        self._lock = threading.RLock()
        self._reader = ObjectReader(repo.object_store)
        hex_length = self._reader.hex_length
        self._refs = RefReader(Path(repo.controldir()), Path(repo.commondir()), repo.refs, hex_length)
        self._peeled: dict[str, str | None] = {}

    @classmethod
    def open(cls, path: str | Path) -> GitRepository:
        """The repository whose root this is: a working tree, a worktree, or a bare repository."""
        root = Path(path).absolute()
        if root.name == ".git" and root.is_dir():
            root = root.parent
        try:
            list(root.iterdir())
            return cls._opened(root)
        except FormicaryError:
            raise
        except NotGitRepository as error:
            raise _not_a_repository(root) from error
        except NotADirectoryError as error:
            raise SetupError(f"{root} is a file; name the folder of a git repository.") from error
        except (UnsupportedExtension, UnsupportedVersion, InvalidWorktreeConfiguration) as error:
            raise NotSupported(f"Formicary cannot read {root}: {error} is set in its git configuration.") from error
        except Exception as error:  # as in _guarded
            raise unreadable(root, error) from error

    @classmethod
    def _opened(cls, root: Path) -> GitRepository:
        repository = cls(root, Repo(root))
        try:
            repository._must_exist()
        except RepositoryUnavailable:
            repository.close()
            raise
        return repository

    @_guarded
    def refs(self) -> dict[str, str]:
        """Branches and tags (`refs/heads/…`, `refs/tags/…`) with the commit that each names; tags are peeled."""
        self._must_exist()
        ids, peeled_on_disk = self._refs.all()
        peeled: dict[str, str | None] = {}
        found: dict[str, str] = {}
        for name, sha in ids.items():
            target: str | None = sha
            if name.startswith(b"refs/tags/"):
                known = self._peeled[sha] if sha in self._peeled else self._peel(peeled_on_disk.get(name, sha))
                target = peeled[sha] = known
            if target is not None:
                found[decode(name)] = target
        self._peeled = peeled
        return found

    @_guarded
    def head_ref(self) -> str | None:
        """The branch that HEAD names (`refs/heads/main`), even before its first commit; None if HEAD is detached."""
        self._must_exist()
        return self._refs.head()

    @_guarded
    def contains(self, sha: str) -> bool:
        """Whether this commit is here, reachable from a ref or not."""
        header = self._reader.header(sha)
        return header is not None and header.kind == "commit"

    @_guarded
    def commit(self, sha: str) -> Commit:
        self._must_have(sha)
        return self._reader.commit(sha)

    @_guarded
    def definitions(
        self, sha: str, folder: str = ".formicary", *, max_bytes: int = 256 * 1024, max_files: int = 500
    ) -> dict[str, Blob]:
        """The *.yml and *.yaml files below the folder. What cannot be used is there too, with a problem and no text.

        Where a limit cuts the list short, the folder's own path is a key, and its problem says so.
        """
        self._must_have(sha)
        return Definitions(self._reader, max_bytes, max_files).collect(self._reader.commit(sha).tree, folder)

    @_guarded
    def changed_files(self, before: str | None, after: str, *, limit: int = 10_000) -> list[str]:
        """Paths that differ. Without a known `before`: from the first parent, or all files where history begins."""
        self._must_have(after)
        commit = self._reader.commit(after)
        if before is None or not self.contains(before):
            parent = commit.parents[0] if commit.parents else ""
            before = parent if self.contains(parent) else None
        base = self._reader.commit(before).tree if before else None
        return changed_paths(self._reader, base, commit.tree, limit)

    @_guarded
    def is_ancestor(self, ancestor: str, descendant: str, *, limit: int = WALK_LIMIT) -> bool:
        """Whether `descendant` is, or descends from, `ancestor`; False too if that is not seen within the limit."""
        return history.is_ancestor(self._reader, ancestor, descendant, limit)

    @_guarded
    def merge_base(self, one: str, other: str, *, limit: int = WALK_LIMIT) -> str | None:
        """The newest commit that both descend from; None if there is none, or none is seen within the limit."""
        self._must_have(one)
        self._must_have(other)
        return history.merge_base(self._reader, one, other, limit)

    @_guarded
    def commits_between(self, before: str | None, after: str, *, limit: int = 100) -> list[Commit]:
        """What is new in `after`, oldest first, along first parents, the newest `limit` of them.

        Without a known `before` (a new branch, a forgotten commit) nothing says what is new: `after` alone.
        """
        self._must_have(after)
        return history.commits_between(self._reader, before, after, limit, WALK_LIMIT)

    @_guarded
    def reaches_back(self, sha: str, depth: int) -> bool:
        """Whether `depth` generations of this commit's history are here (0 = all): none of them ends early."""
        self._must_have(sha)
        return history.reaches_back(self._reader, sha, depth, WALK_LIMIT)

    @_guarded
    def named(self, ref: str) -> str:
        """The commit that any ref names (`refs/formicary/…` too); tags are peeled."""
        found = self._repo.refs.read_ref(Ref(ref.encode()))
        commit = self._peel(found.decode()) if found else None
        if commit is None:
            raise NotFound(f"`{ref}` names no commit in {self.path}.")
        return commit

    @_guarded
    def fingerprint(self) -> str:
        """Differs whenever a ref may have moved; cheap enough to ask again and again."""
        self._must_exist()
        return self._refs.fingerprint()

    @_guarded
    def close(self) -> None:
        self._reader.close()
        self._repo.close()

    def __enter__(self) -> GitRepository:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _peel(self, sha: str) -> str | None:
        """The commit a tag names in the end; None for a tag of anything else, and for one that leads nowhere (D8)."""
        for _ in range(MAX_TAG_NESTING):
            header = self._reader.header(sha)
            if header is None or header.kind not in ("commit", "tag"):
                return None
            if header.kind == "commit":
                return sha
            sha = self._reader.tag_target(sha)
        return None

    def _must_have(self, sha: str) -> None:
        if not self.contains(sha):
            self._must_exist()
            raise NotFound(f"There is no commit {sha[:64]!r} in {self.path}; give a full commit id that is in it.")

    def _must_exist(self) -> None:
        if not Path(self._repo.controldir(), "HEAD").exists():
            raise RepositoryUnavailable(
                f"The git repository {self.path} is gone; put it back, or forget it here (formicary repos --forget)."
            )


def unreadable(path: Path, error: Exception) -> RepositoryUnavailable:
    """The error for a repository that cannot be read now, with the remedy that fits."""
    if isinstance(error, FileNotFoundError) and not path.exists():
        return RepositoryUnavailable(f"{path} does not exist now; put the repository back, or mount its disk.")
    if isinstance(error, PermissionError):
        return RepositoryUnavailable(f"Formicary may not read {path}; give its user the right to ({error.strerror}).")
    what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return RepositoryUnavailable(f"The git repository {path} cannot be read ({what}); run `git fsck` there.")


def _not_a_repository(root: Path) -> FormicaryError:
    gitfile = root / ".git"
    if gitfile.is_file():
        return RepositoryUnavailable(f"{gitfile} names a git folder that is gone; run `git worktree repair` there.")
    for parent in root.parents:
        if (parent / ".git").exists():
            return SetupError(f"{root} is inside the git repository {parent}; name that folder instead.")
    return SetupError(f"{root} is not a git repository; run `git init` there, or name another folder.")
