"""Which text a FORK_JOB task forks: of the same repository first, then of the organization, then a public plugin.

In the parent's own repository that is the text of the parent's commit, where it is trusted. Elsewhere it is what is
registered there, and of a job with versions the wanted one, or the newest release. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from formicary.runner.core.definition import Dialect, JobDefinition, Value
from formicary.runner.core.errors import DefinitionError, NotFound, RequestRefused
from formicary.runner.core.load import Loaded
from formicary.runner.core.records import Definition, JobRequest, Repository, SyncState
from formicary.runner.core.released import Plugin
from formicary.runner.core.versions import newest, read_version, suits
from formicary.runner.queen.arriving.plugins import digest_of
from formicary.runner.queen.arriving.sources import FOLDER, NO_GIT, Sources, load_all, without_doubles
from formicary.runner.store import Reader


@dataclass(frozen=True, slots=True)
class Found:
    """The job to fork: a stored text (`version_id`), or one that is not stored yet (`loaded`); where it runs."""

    job: JobDefinition
    loaded: Loaded | None
    version_id: int
    repository_id: int | None
    ref: str
    commit: str
    source_path: str
    git: Mapping[str, Value]
    foreign: bool = False
    """Of another organization: what it says is outsiders' code (T3)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`job_of` gives the definition of a stored version, as it was loaded."""

    reader: Reader
    sources: Sources
    job_of: Callable[[int], JobDefinition | None]

    def found(self, request: JobRequest, dialect: Dialect, job_type: str, wanted: str) -> Found:
        """The job of this name; `wanted`: which version, "" for none. Raises UserError, WorldError."""
        known = self.reader.plugins(request.organization_id, job_type)
        ours = [one for one in known if one.organization_id == request.organization_id]
        found = self._here(request, dialect, job_type, wanted) or self._released(request, ours, wanted)
        if found is None and not wanted:
            found = self._of_organization(request, job_type)
        found = found or self._released(request, known, wanted)
        if found is None:
            raise NotFound(self._nowhere(request, job_type, wanted))
        return found

    def _here(self, request: JobRequest, dialect: Dialect, job_type: str, wanted: str) -> Found | None:
        """As the parent's own repository says it now."""
        own = self.reader.repository(request.repository_id) if request.repository_id is not None else None
        loaded: Loaded | None = None
        if own is not None and request.commit and request.trusted:
            loaded = self.sources.definitions(own.path, request.commit, own.dialect).find(job_type)
        elif not request.commit and request.source_path:
            loaded = _in_tree(Path(request.source_path), dialect, job_type)
        if loaded is not None:
            job = loaded.definition
            if not wanted and (job is None or loaded.problems):
                raise DefinitionError(loaded.problems)
            if job is None or not _is(job, wanted) or (wanted and self._is_another(request, loaded, job)):
                return None
            return _same_place(request, job, loaded, 0)
        here = self.reader.definitions(repository_id=own.id) if own else []
        named = next((one for one in here if one.job_type == job_type), None)
        job = self._registered(named)
        if named is None or job is None or named.version_id is None or not _is(job, wanted):
            return None
        return _same_place(request, job, None, named.version_id)

    def _is_another(self, request: JobRequest, loaded: Loaded, job: JobDefinition) -> bool:
        """Whether the version that it says it is was released with another text: then that one is meant."""
        version = read_version(job.sem_version)
        return any(
            one.released and version is not None and one.plain == version.plain and one.digest != digest_of(loaded)
            for one in self.reader.plugins(request.organization_id, job.job_type)
            if one.repository_id == request.repository_id
        )

    def _released(self, request: JobRequest, known: Sequence[Plugin], wanted: str) -> Found | None:
        """The newest version that is wanted, of the same repository or else of any."""
        own = [one for one in known if one.repository_id == request.repository_id]
        for some in (own, known):
            chosen = newest(wanted, [(one.plain, one) for one in some])
            if chosen is not None:
                if some is known:
                    _refuse_several(known)
                return self._plugin(request, chosen)
        return None

    def _plugin(self, request: JobRequest, plugin: Plugin) -> Found:
        job = self.job_of(plugin.version_id)
        repository = self.reader.repository(plugin.repository_id)
        if job is None or repository is None:
            raise NotFound(f"version {plugin.sem_version} of `{plugin.job_type}` cannot be read any more")
        if plugin.organization_id != request.organization_id:
            # Only its text is public: it sees neither the files nor the secrets of the repository that it comes from.
            return Found(job, None, plugin.version_id, None, "", "", "", dict(NO_GIT), foreign=True)
        return self._elsewhere(repository, plugin.commit, job, plugin.version_id)

    def _of_organization(self, request: JobRequest, job_type: str) -> Found | None:
        """What is registered in another repository, without versions."""
        there = [
            (one, job, one.version_id)
            for one in self.reader.definitions(organization_id=request.organization_id)
            if one.job_type == job_type and one.repository_id != request.repository_id
            if (job := self._registered(one)) and not job.sem_version and one.version_id is not None
        ]
        if len(there) > 1:
            raise RequestRefused(f"several repositories of the organization have a job `{job_type}`, this one has none")
        for definition, job, version_id in there:
            at = definition.repository_id
            repository = self.reader.repository(at) if at is not None else None
            if repository is not None:
                return self._elsewhere(repository, definition.commit, job, version_id)
        return None

    def _registered(self, definition: Definition | None) -> JobDefinition | None:
        if definition is None or definition.version_id is None or definition.state is SyncState.ORPHANED:
            return None
        return self.job_of(definition.version_id)

    def _elsewhere(self, repository: Repository, commit: str, job: JobDefinition, version_id: int) -> Found:
        ref = f"refs/heads/{repository.tracked_branch}"
        git = self.sources.known_params(repository, ref, commit)
        git = git if git is not None else self.sources.manual_params(repository, ref, commit)
        return Found(job, None, version_id, repository.id, ref, commit, repository.path, git)

    def _nowhere(self, request: JobRequest, job_type: str, wanted: str) -> str:
        known = self.reader.plugins(request.organization_id, job_type)
        there = ", ".join(dict.fromkeys(one.sem_version for one in known))
        if wanted:
            return f"there is no version `{wanted}` of `{job_type}`" + (f"; there is {there}" if there else "")
        if there:
            return f"`{job_type}` is not released yet; name one of its versions: {there}"
        return f"there is no job `{job_type}` in this repository, nor in another of the organization"


def _is(job: JobDefinition, wanted: str) -> bool:
    version = read_version(job.sem_version)
    return not wanted or (version is not None and suits(wanted, version))


def _refuse_several(known: Sequence[Plugin]) -> None:
    """Jobs that are not public may be called the same in several repositories. Raises RequestRefused."""
    if len({one.repository_id for one in known if not one.public}) > 1:
        told = f"several repositories of the organization have a job `{known[0].job_type}`"
        raise RequestRefused(f"{told}, and this one has not the wanted version")


def _same_place(request: JobRequest, job: JobDefinition, loaded: Loaded | None, version_id: int) -> Found:
    git = {name: value for name, value in request.params.items() if name in NO_GIT}
    return Found(job, loaded, version_id, request.repository_id, request.ref, request.commit, request.source_path, git)


def _in_tree(tree: Path, dialect: Dialect, job_type: str) -> Loaded | None:
    """A definition of a working tree, as `formicary run` takes its own from there."""
    texts = {
        path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((tree / FOLDER).rglob("*"))
        if path.suffix in (".yml", ".yaml") and path.is_file()
    }
    loaded = without_doubles(load_all(texts, [], dialect), [])
    return next((one for one in loaded if one.job_type == job_type), None)
