"""What a look finds different: refs against those last seen, definitions against those registered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from formicary.runner.core.load import Loaded
from formicary.runner.core.records import Definition, Repository, SeenRef, SyncState
from formicary.runner.queen.arriving.sources import CommitDefinitions


@dataclass(frozen=True, slots=True)
class Move:
    """A ref that is at another commit than when it was last seen. `before` "" = new, `after` "" = deleted."""

    ref: str
    before: str
    after: str
    generation: int

    def seen(self, repository_id: int) -> SeenRef:
        return SeenRef(
            repository_id=repository_id,
            ref=self.ref,
            commit=self.after or self.before,
            generation=self.generation,
            gone=not self.after,
        )


def moves(seen: Mapping[str, SeenRef], refs: Mapping[str, str]) -> list[Move]:
    """Every ref that moved, came or went, in the order of their names. A ref that was gone and is back has moved."""
    found: list[Move] = []
    for ref, commit in refs.items():
        known = seen.get(ref)
        if known is None:
            found.append(Move(ref, "", commit, 1))
        elif known.gone or known.commit != commit:
            found.append(Move(ref, "" if known.gone else known.commit, commit, known.generation + 1))
    for ref, known in seen.items():
        if ref not in refs and not known.gone:
            found.append(Move(ref, known.commit, "", known.generation))
    return sorted(found, key=lambda move: move.ref)


@dataclass(frozen=True, slots=True)
class SyncChange:
    """A registered definition as it should be. `loaded` is the text to register (None: only the row changes)."""

    definition: Definition
    loaded: Loaded | None = None
    gone: bool = False
    """The row stood for a file that nobody could read, and is not needed any more."""


def sync_changes(
    registered: Iterable[Definition], found: CommitDefinitions, repository: Repository, commit: str
) -> list[SyncChange]:
    """What must change so that the registered definitions are those of the tracked branch's head.

    An invalid one keeps its last good version in force; one that is gone is Orphaned and starts nothing any more, but
    a file that is wrong takes nothing out of force. One that does not even tell its job_type makes what it defined
    before Invalid, or stands for itself by its path.
    """
    known = {one.job_type: one for one in registered}
    by_path: dict[str, list[Definition]] = {}
    for one in known.values():
        if one.state is not SyncState.ORPHANED:
            by_path.setdefault(one.path, []).append(one)
    changes: dict[str, SyncChange] = {}
    for loaded in found.loaded:
        if loaded.job_type is not None:
            base = known.get(loaded.job_type) or _new(repository, loaded.job_type, loaded.path)
            changes[loaded.job_type] = _change(base, loaded, commit)
    for path, problems in _unnamed(found).items():
        for base in [one for one in by_path.get(path, []) if one.job_type not in changes] or [
            known.get(path) or _new(repository, path, path)
        ]:
            changes[base.job_type] = SyncChange(_invalid(base, path, problems, commit))
    wrong = _wrong(found)
    for job_type, definition in known.items():
        if job_type not in changes:
            changes[job_type] = _left(definition, commit, wrong.get(definition.path, ()))
    return [
        change
        for change in changes.values()
        if change.gone or change.definition != known.get(change.definition.job_type) or change.loaded is not None
    ]


def _new(repository: Repository, job_type: str, path: str) -> Definition:
    return Definition(
        id=0, organization_id=repository.organization_id, repository_id=repository.id, job_type=job_type, path=path
    )


def _unnamed(found: CommitDefinitions) -> dict[str, tuple[str, ...]]:
    """Path → problems of the files (and documents) whose job_type could not be read."""
    problems: dict[str, list[str]] = {}
    for one in found.broken:
        problems.setdefault(one.path, []).append(str(one))
    for loaded in found.loaded:
        if loaded.job_type is None:
            problems.setdefault(loaded.path, []).extend(str(problem) for problem in loaded.problems)
    return {path: tuple(texts) for path, texts in problems.items()}


def _wrong(found: CommitDefinitions) -> dict[str, tuple[str, ...]]:
    """Path → problems of the files in which some job is not valid."""
    problems: dict[str, list[str]] = {}
    for loaded in found.loaded:
        problems.setdefault(loaded.path, []).extend(str(problem) for problem in loaded.problems)
    return {path: tuple(texts) for path, texts in problems.items() if texts}


def _left(definition: Definition, commit: str, problems: tuple[str, ...]) -> SyncChange:
    if definition.version_id is None:
        return SyncChange(definition, gone=True)
    if problems and definition.state is not SyncState.ORPHANED:
        return SyncChange(_invalid(definition, definition.path, problems, commit))
    orphaned = {"state": SyncState.ORPHANED, "problems": (), "commit": commit}
    return SyncChange(definition.model_copy(update=orphaned))


def _invalid(base: Definition, path: str, problems: tuple[str, ...], commit: str) -> Definition:
    # The commit of the last good version stays the one that scheduled runs use.
    at = commit if base.version_id is None else base.commit
    return base.model_copy(update={"state": SyncState.INVALID, "problems": problems, "path": path, "commit": at})


def _change(base: Definition, one: Loaded, commit: str) -> SyncChange:
    if one.problems:
        return SyncChange(_invalid(base, one.path, tuple(str(problem) for problem in one.problems), commit))
    update = {"state": SyncState.SYNCED, "problems": (), "path": one.path, "commit": commit}
    return SyncChange(base.model_copy(update=update), one)
