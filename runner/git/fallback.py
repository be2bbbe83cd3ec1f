"""Workspaces where no git is installed: the same copies, made by dulwich."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.index import InvalidPathError, build_index_from_tree, validate_path_element_ntfs
from dulwich.objects import Commit, ObjectID
from dulwich.porcelain import get_untracked_paths
from dulwich.repo import Repo

from formicary.runner.core.errors import FormicaryError, RepositoryUnavailable, SetupError, UserError
from formicary.runner.git.objects import ObjectReader


@contextmanager
def _reading(path: Path) -> Iterator[Repo]:
    """Damaged or missing bytes make dulwich raise almost anything; all of it means that this cannot be read now."""
    try:
        with closing(Repo(path)) as repo:
            yield repo
    except FormicaryError:
        raise
    except InvalidPathError as error:
        raise UserError(f"The commit holds a path that no checkout may write: {error}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise RepositoryUnavailable(f"The git repository {path} cannot be read ({what}).") from error


def fetch(source: Path, sha: str, folder: Path, depth: int) -> None:
    """Copy the objects of a commit and its history into the repository whose `.git` is `folder`."""
    wanted = ObjectID(sha.encode())
    with _reading(source) as origin, closing(Repo(folder.parent)) as target:
        if wanted not in origin.object_store:
            raise RepositoryUnavailable(f"Commit {sha} could not be copied from {source}: it is not there.")
        ends = _where_history_ends(ObjectReader(origin.object_store), sha, depth)
        count, objects = origin.object_store.generate_pack_data([], [wanted], shallow=ends)
        target.object_store.add_pack_data(count, objects)
        target.update_shallow(ends, None)


def _where_history_ends(reader: ObjectReader, sha: str, depth: int) -> set[ObjectID]:
    """The commits whose parents are not copied: `depth` generations back, or where the source itself ends."""
    with closing(reader):
        ends: set[ObjectID] = set()
        generation, seen = [sha], {sha}
        while generation:
            depth -= 1
            older: list[str] = []
            for commit in map(reader.commit, generation):
                if commit.parents and (depth == 0 or any(reader.header(parent) is None for parent in commit.parents)):
                    ends.add(ObjectID(commit.sha.encode()))
                else:
                    older.extend(parent for parent in commit.parents if parent not in seen)
                    seen.update(commit.parents)
            generation = list(dict.fromkeys(older))
        return ends


def checkout(into: Path, sha: str) -> None:
    with _reading(into) as repo:
        commit = repo[ObjectID(sha.encode())]
        if not isinstance(commit, Commit):
            raise UserError(f"{sha} is not a commit; only commits can be checked out.")
        build_index_from_tree(
            repo.path,
            repo.index_path(),
            repo.object_store,
            commit.tree,
            validate_path_element=validate_path_element_ntfs,
            object_format=repo.object_format,
        )


def list_files(tree: Path) -> list[str]:
    """Tracked files, and untracked ones that are not ignored."""
    try:
        repo = Repo(tree)
    except NotGitRepository as error:
        raise SetupError(f"{tree} is no git working tree; run `git init` there.") from error
    with closing(repo):
        index = repo.open_index()
        untracked = get_untracked_paths(tree, tree, index, exclude_ignored=True, repo=repo)
        names = {os.fsdecode(path) for path in index}
        return list(names.union(name for name in untracked if not name.endswith("/")))
