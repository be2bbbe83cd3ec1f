"""From what was asked to a job request: which definition, at which commit, with which parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio.to_thread

from formicary.runner.core.definition import JobDefinition, Param, Value
from formicary.runner.core.errors import Conflict, DefinitionError, NotFound, RequestRefused
from formicary.runner.core.load import Loaded
from formicary.runner.core.records import Definition, JobRequest, NewRequest, Repository, SyncState, Version
from formicary.runner.core.states import TERMINAL
from formicary.runner.git.repository import GitRepository
from formicary.runner.queen.arriving.sources import Sources, tainted_names
from formicary.runner.queen.ask import Ask
from formicary.runner.queen.keeping.retention import keep
from formicary.runner.queen.told import Told
from formicary.runner.store import Reader, Store, Tx


@dataclass(frozen=True, slots=True)
class Found:
    """What an ask came down to: a text that is stored already (`version_id`), or one that is not yet (`loaded`)."""

    job: JobDefinition
    loaded: Loaded | None
    repository: Repository
    ref: str
    commit: str
    params: Mapping[str, Value]
    version_id: int = 0


class Requests:
    """`job_of` gives the definition of a stored version, as it was loaded."""

    def __init__(
        self, store: Store, sources: Sources, job_of: Callable[[int], JobDefinition | None], told: Told
    ) -> None:
        self._store = store
        self._sources = sources
        self._job_of = job_of
        self._told = told

    async def submit(self, ask: Ask) -> tuple[JobRequest, bool]:
        """Store the request, or find the one with the same live user_key (False).

        Raises NotFound, RequestRefused, DefinitionError, RepositoryUnavailable.
        """
        if ask.job_version is not None:
            raise RequestRefused("older versions cannot be asked for yet; name a commit", field="job_version")
        found = self._registered(ask, known=True)
        if found is None:
            found = await anyio.to_thread.run_sync(self._find, ask)
        new = new_request(found, ask)
        return await self._store.write(lambda tx: self._create(tx, found, new))

    def _create(self, tx: Tx, found: Found, new: NewRequest) -> tuple[JobRequest, bool]:
        if found.loaded is None:
            request, fresh = tx.create_request(new)
        else:
            request, fresh = store_request(tx, found.loaded, found.commit, new)
        if fresh:
            self._told.created(tx, request, found.job)
        return request, fresh

    def _find(self, ask: Ask) -> Found:
        return self._registered(ask, known=False) or self._at_commit(ask)

    def _registered(self, ask: Ask, *, known: bool) -> Found | None:
        """The registered definition at the tracked head, where the ask names no other commit.

        With `known` nothing is read of git: None where that would be needed.
        """
        if ask.ref or ask.commit or ask.params.keys() & {"GitBranch", "GitCommitID"}:
            return None
        reader = self._store.read()
        repository, definition = self._definition(ask, reader)
        if definition is None or definition.version_id is None or definition.state is SyncState.ORPHANED:
            return None
        _enabled(definition)
        job = self._job_of(definition.version_id)
        ref, commit = f"refs/heads/{repository.tracked_branch}", definition.commit
        params = self._sources.known_params(repository, ref, commit)
        if params is None and not known:
            params = self._sources.manual_params(repository, ref, commit)
        if params is None or job is None:
            return None
        return Found(job, None, repository, ref, commit, params, definition.version_id)

    def _at_commit(self, ask: Ask) -> Found:
        repository, definition = self._definition(ask, self._store.read())
        _enabled(definition)
        git = self._sources.git(repository.path)
        branch = repository.tracked_branch or (git.head_ref() or "").removeprefix("refs/heads/")
        refs = git.refs()
        ref = full_ref(ask.ref or str(ask.params.get("GitBranch") or "") or branch, refs)
        commit = ask.commit or str(ask.params.get("GitCommitID") or "") or refs.get(ref, "")
        if not commit:
            raise NotFound(
                f"{repository.name} has no `{ref.removeprefix('refs/heads/')}`, so there is no commit to run"
            )
        if repository.url and not git.contains(commit):
            # Nothing is fetched by its id: a forge gives out a fork's commits too, which nobody here has let in (T3).
            raise NotFound(
                f"no branch or tag of {repository.name} that was seen leads to {commit[:40]!r}; "
                "if it was pushed a moment ago: formicary repos --sync"
            )
        if not _is_on(git, commit, ref, refs):
            ref = ""  # nobody gets what is for a branch (a secret) by saying that a commit is of it
        loaded = self._at(repository, commit, ask.job_type)
        job = loaded.definition
        if loaded.problems or job is None:
            raise DefinitionError(loaded.problems)
        return Found(job, loaded, repository, ref, commit, self._sources.manual_params(repository, ref, commit))

    def _definition(self, ask: Ask, reader: Reader) -> tuple[Repository, Definition | None]:
        if ask.repository:
            repository = reader.repository_named(ask.repository, ask.organization_id)
            if repository is None:
                raise NotFound(f"no repository called `{ask.repository}` is watched")
            return repository, reader.definition_named(ask.job_type, repository_id=repository.id)
        definition = reader.definition_named(ask.job_type, organization_id=ask.organization_id)
        if definition is not None and definition.repository_id is not None:
            found = reader.repository(definition.repository_id)
            if found is not None:
                return found, definition
        there = [one for one in reader.definitions() if one.state is not SyncState.ORPHANED]
        same = [one for one in there if one.job_type == ask.job_type]
        if len(same) > 1:
            raise RequestRefused(f"several repositories have a job `{ask.job_type}`; say which", field="repository")
        known = sorted({one.job_type for one in there if one.version_id is not None})
        raise NotFound(f"there is no job `{ask.job_type}`; there is {', '.join(known) or 'none yet'}")

    def _at(self, repository: Repository, commit: str, job_type: str) -> Loaded:
        definitions = self._sources.definitions(repository.path, commit, repository.dialect)
        loaded = definitions.find(job_type)
        if loaded is None:
            if definitions.problems:
                raise DefinitionError(definitions.problems)
            raise NotFound(f"commit {commit[:12]} of {repository.name} defines no job `{job_type}`")
        return loaded


def _enabled(definition: Definition | None) -> None:
    """Raises Conflict where it is disabled."""
    if definition is not None and definition.disabled:
        raise Conflict(f"`{definition.job_type}` is disabled, and starts nothing until somebody enables it")


def _is_on(git: GitRepository, commit: str, ref: str, refs: Mapping[str, str]) -> bool:
    """Whether the ref holds the commit; what is no branch is not looked at."""
    head = refs.get(ref, "")
    return not ref.startswith("refs/heads/") or commit == head or bool(head and git.is_ancestor(commit, head))


def full_ref(name: str, refs: Mapping[str, str]) -> str:
    """`main`, `v1`, `refs/heads/main` as the full name of a branch or tag."""
    if name.startswith("refs/"):
        return name
    for candidate in (f"refs/heads/{name}", f"refs/tags/{name}"):
        if candidate in refs:
            return candidate
    return f"refs/heads/{name}"


def new_request(found: Found, ask: Ask) -> NewRequest:
    """Raises RequestRefused where parameters are missing or not what the definition allows."""
    params, secrets = checked_params(found.job, ask.params)
    git = dict(found.params)
    return NewRequest(
        organization_id=ask.organization_id,
        repository_id=found.repository.id,
        version_id=found.version_id,
        job_type=found.job.job_type,
        event="manual",
        ref=found.ref,
        commit=found.commit,
        source_path=found.repository.path,
        user_key=ask.user_key,
        params={**git, **{name: value for name, value in params.items() if name not in git}},
        secret_params=secrets,
        tainted=tainted_names(git),
        priority=found.job.priority if ask.priority is None else ask.priority,
        max_concurrency=found.job.max_concurrency,
        scheduled_at=ask.scheduled_at,
        description=ask.description,
        created_by=ask.created_by,
    )


def checked_params(job: JobDefinition, given: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, str]]:
    """Defaults filled in, enum and pattern checked; the values of `secret: true` parameters apart.

    Raises RequestRefused naming all that are missing.
    """
    params = {name: param.default for name, param in job.params.items() if param.default is not None} | dict(given)
    missing = [name for name in job.required_params if params.get(name) in (None, "")]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise RequestRefused(f"`{job.job_type}` needs {names}: give --param {missing[0]}=…", field="params")
    for name, param in job.params.items():
        if name in params:
            _check_param(name, param, params[name])
    secrets = {name: str(params.pop(name)) for name, param in job.params.items() if param.secret and name in params}
    return params, secrets


def _check_param(name: str, param: Param, value: Value) -> None:
    text = "" if value is None else str(value)
    shown = "its value" if param.secret else f"`{text}`"
    if param.enum and text not in param.enum:
        raise RequestRefused(
            f"`{name}` may be {', '.join(param.enum)}; {shown} is none of them", field=f"params.{name}"
        )
    if param.pattern and not re.fullmatch(param.pattern, text):
        raise RequestRefused(f"`{name}`: {shown} does not match `{param.pattern}`", field=f"params.{name}")


def store_request(tx: Tx, loaded: Loaded, commit: str, new: NewRequest) -> tuple[JobRequest, bool]:
    """Within a change: keep the definition's text, then the request."""
    version = tx.put_version(version_of(loaded, new.organization_id, new.repository_id, commit, tx.now))
    request, fresh = tx.create_request(new.model_copy(update={"version_id": version.id}))
    if fresh and request.state in TERMINAL:
        keep(tx, request.id, loaded.definition, request.state)
    return request, fresh


def version_of(loaded: Loaded, organization_id: str, repository_id: int | None, commit: str, now: float) -> Version:
    """The text of a valid definition as a row still to be stored."""
    assert loaded.job_type is not None, "a valid definition has a job_type"
    return Version(
        id=0,
        organization_id=organization_id,
        repository_id=repository_id,
        job_type=loaded.job_type,
        version=0,
        digest=loaded.digest,
        dialect=loaded.dialect,
        path=loaded.path,
        index=loaded.index,
        text=loaded.text,
        commit=commit,
        created_at=now,
    )
