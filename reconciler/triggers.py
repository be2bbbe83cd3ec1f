"""Whether a ref's move starts a job, and why not. Pure.

Globs are those of .gitignore. An event that a trigger names but its filter excludes is a Verdict that does not run, so
that a required check is not left waiting (D11); an event that no trigger names is no verdict at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.definition import JobDefinition, RefFilter
from formicary.runner.queen.arriving.globs import globs_of

SKIP_MARKS: Final = re.compile(r"\[(skip ci|ci skip)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A ref's move, as triggers see it. `files` is asked for only where a filter names paths. `remote`: pushed to
    another host, where no hook of a local repository ever runs."""

    ref: str
    message: str
    files: tuple[str, ...] = ()
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is empty where the job runs."""

    event: str
    reason: str = ""
    every_commit: bool = False

    @property
    def runs(self) -> bool:
        return not self.reason


def filter_of(job: JobDefinition, *, remote: bool) -> tuple[str, RefFilter] | None:
    """The trigger that a ref's move goes by. A local repository's is a `commit`, and `push` there means the same; a
    remote one's is a `push` only."""
    if job.triggers.commit is not None and not remote:
        return "commit", job.triggers.commit
    if job.triggers.push is not None:
        return "push", job.triggers.push
    return None


def wants_files(jobs: Iterable[JobDefinition], *, remote: bool) -> bool:
    """Whether any of their filters looks at changed files."""
    found = [filter_of(job, remote=remote) for job in jobs]
    return any(one and (one[1].paths or one[1].paths_ignore) for one in found)


def judge(job: JobDefinition, pushed: Pushed) -> Verdict | None:
    """None: nothing of this job is triggered by such a move."""
    found = filter_of(job, remote=pushed.remote)
    if found is None:
        return None
    event, wanted = found
    reason = (
        _ref_reason(wanted, pushed.ref)
        or _mark_reason(pushed.message)
        or path_reason(wanted.paths, wanted.paths_ignore, pushed.files)
    )
    return Verdict(event, reason, wanted.every_commit)


def matches(globs: Sequence[str], name: str) -> bool:
    return globs_of(tuple(globs)).match(name)


def _ref_reason(wanted: RefFilter, ref: str) -> str:
    kind, _, name = ref.removeprefix("refs/").partition("/")
    if kind == "tags":
        if wanted.tags:
            return "" if matches(wanted.tags, name) else f"tag `{name}` is not among {listed(wanted.tags)}"
        return f"its trigger names branches only, and `{name}` is a tag" if wanted.branches else ""
    if wanted.branches:
        return "" if matches(wanted.branches, name) else f"branch `{name}` is not among {listed(wanted.branches)}"
    return f"its trigger names tags only, and `{name}` is a branch" if wanted.tags else ""


def _mark_reason(message: str) -> str:
    found = SKIP_MARKS.search(message)
    return f"the commit message says {found.group(0)}" if found else ""


def path_reason(paths: Sequence[str], ignored: Sequence[str], files: Sequence[str]) -> str:
    """Why a filter of paths excludes these changed files; empty if it does not."""
    if paths and not any(matches(paths, file) for file in files):
        return f"no changed file is among {listed(paths)}"
    if ignored and files and all(matches(ignored, file) for file in files):
        return f"all changed files are among {listed(ignored)} (paths_ignore)"
    return ""


def listed(globs: Sequence[str]) -> str:
    return ", ".join(f"`{glob}`" for glob in globs)
