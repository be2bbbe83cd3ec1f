"""A commit in the workspace: objects are copied by the ant, files are written by the task's own user (T12).

It is the request's, or the one that `ref` names when the attempt starts. What a repository holds is only ever unpacked
inside the task's sandbox, through the same executor that runs SHELL.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from anyio import to_thread

from formicary.ant.kit import Kit
from formicary.ant.refusal import TaskRefused
from formicary.ant.workspace import Place
from formicary.executors.contract import Prepared
from formicary.executors.shell_script import quoted
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import ERR_CHECKOUT, LOST_CODES, LostError, RepositoryUnavailable, UserError
from formicary.runner.core.messages import Source, TaskOrder
from formicary.runner.git import workspace as git
from formicary.runner.git.chosen import chosen
from formicary.runner.git.repository import GitRepository

_LAST_WORDS: Final = 2000
_NO_GIT: Final = (
    f"\nThere is no git here, and the task's user may not run {sys.executable}: install git, or Formicary where all "
    "users can run its Python."
)
_BY_DULWICH: Final = (
    "import pathlib, sys; from formicary.runner.git.workspace import checkout_with_dulwich as checkout; "
    "checkout(pathlib.Path(sys.argv[1]), sys.argv[2])"
)


async def checkout(kit: Kit, order: TaskOrder, place: Place) -> Source:
    """Returns the source with the commit that was checked out. Raises TaskRefused where no attempt could succeed,
    WorldError where another may."""
    source = order.source
    try:
        if source.ref:
            await kit.ready(source)
            source = await to_thread.run_sync(_resolved, source, limiter=kit.threads)
        await kit.ready(source)
        await to_thread.run_sync(_fetch, source, place, limiter=kit.threads)
    except UserError as error:
        raise TaskRefused(ERR_CHECKOUT, str(error)) from error
    words = _Words()
    async with kit.executors.executor("SHELL").open(_prepared(order, place)) as session:
        outcome = await session.run([_command(source, place)], words, name="checkout")
    if outcome.error_code in LOST_CODES:
        raise LostError(outcome.error_message)
    if not outcome.ok:
        remedy = _NO_GIT if git.git_binary() is None and outcome.exit_code in (126, 127) else ""
        raise TaskRefused(ERR_CHECKOUT, f"Commit {source.commit} cannot be checked out: {words.said()}{remedy}")
    return source


async def copy_tree(kit: Kit, source: Source, place: Place) -> None:
    """The working tree as it is now, without what it ignores (T20)."""
    try:
        await to_thread.run_sync(_copy, Path(source.path), place, limiter=kit.threads)
    except UserError as error:
        raise TaskRefused(ERR_CHECKOUT, str(error)) from error


def _resolved(source: Source) -> Source:
    """By what the repository holds now."""
    with GitRepository.open(source.path) as repository:
        commit, branch = chosen(repository, source.ref)
    return source.model_copy(update={"commit": commit, "branch": branch})


def _fetch(source: Source, place: Place) -> None:
    path = Path(source.path)
    try:
        git.fetch_commit(path, source.commit, place.workspace, depth=source.depth)
    except RepositoryUnavailable as error:
        if _is_missing(path, source.commit):
            raise UserError(
                f"Commit {source.commit} is not in {path} (any more): was it replaced by a forced push?"
            ) from error
        raise
    place.give_all(place.workspace)


def _is_missing(path: Path, commit: str) -> bool:
    """Whether the repository can be read and does not have it."""
    try:
        with GitRepository.open(path) as repository:
            return not repository.contains(commit)
    except Exception:
        return False  # it cannot be read now: that is the world's


def _copy(tree: Path, place: Place) -> None:
    git.copy_snapshot(tree, git.snapshot_files(tree), place.workspace)
    place.give_all(place.workspace)


def _command(source: Source, place: Place) -> str:
    words = git.checkout_command(source.commit, source.branch or None)
    if words is None:
        words = [sys.executable, "-c", _BY_DULWICH, str(place.workspace), source.commit]
    return " ".join(map(quoted, words))


def _prepared(order: TaskOrder, place: Place) -> Prepared:
    """The ant's own command gets none of the definition's environment (T7)."""
    return Prepared(
        order.task_execution_id,
        TaskDefinition(task_type="checkout"),
        git.git_environment(place.home),
        place.workspace,
        place.run,
        place.uid,
        place.uid,
    )


class _Words:
    """The sink of a command of ours: the log gets only what it says when it fails."""

    def __init__(self) -> None:
        self._out = b""

    def cmd(self, text: str) -> None:
        """Ours, and long."""

    def out(self, data: bytes) -> None:
        self._out = (self._out + data)[-_LAST_WORDS:]

    def sys(self, text: str) -> None:
        self.out(f"{text}\n".encode())

    def said(self) -> str:
        return self._out.decode("utf-8", "replace").strip() or "git gave no reason"
