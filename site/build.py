"""Records in, view models out: the overview, a repository, a job. Every list it asks for has a limit (D14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Definition, JobRequest, Repository
from formicary.runner.core.refs import short
from formicary.runner.core.states import SUCCESS, TERMINAL, State
from formicary.site import stats
from formicary.site.source import PUBLIC, Source, cell
from formicary.site.status import Status, status, sync_status, worst
from formicary.site.views import (
    Branch,
    Cell,
    DefinitionRow,
    JobView,
    Overview,
    RepositoryCard,
    RepositoryView,
    RequestRow,
)

RECENT: Final = 100
HISTORY: Final = 60
STRIP: Final = 20
_LOOK_BACK: Final = 200
_BRANCHES: Final = 30
_NO_ANSWER: Final = "It cannot be read at the moment."
_LIVE: Final = (State.READY, State.STARTED, State.EXECUTING)
_ENDED: Final = tuple(sorted(TERMINAL))
_HELD: Final = (State.PENDING, State.PAUSED, State.MANUAL_APPROVAL_REQUIRED)


def overview(source: Source) -> Overview:
    return Overview(
        repositories=tuple(_card(source, one) for one in source.repositories()),
        running=tuple(source.row(one) for one in source.recent(RECENT, states=_LIVE)),
        waiting=tuple(source.waiting_row(one) for one in source.recent(RECENT, states=_HELD)),
        recent=tuple(source.row(one) for one in source.recent(RECENT, states=_ENDED)),
    )


def repository(source: Source, name: str) -> RepositoryView:
    """Raises NotFound."""
    found = _repository(source, name)
    past = source.reader.requests(repository_id=found.id, page_size=_LOOK_BACK).records
    definitions = source.reader.definitions(repository_id=found.id)
    return RepositoryView(
        id=found.id,
        card=_card_of(found, past, definitions, source.outside),
        url="" if source.outside else found.url,  # where it lies is for those who log in
        tracked_branch=short(found.tracked_branch),
        synced_commit=found.synced_commit[:9],
        synced_at=found.synced_at,
        definitions=tuple(_definition_row(source, one, past) for one in sorted(definitions, key=_sound)),
        branches=_branches(source, found, past),
    )


def job(source: Source, repository_name: str, job_type: str) -> JobView:
    """A job of a repository, or (empty name) of the organization. Raises NotFound."""
    owner = _repository(source, repository_name) if repository_name else None
    if owner is None and not source.sees(None):
        raise NotFound(f"There is no job `{job_type}` here, or it is not yours to see.")
    past = _history(source, owner, job_type)
    definition = _definition(source, owner, job_type)
    if definition is None and not past:
        raise NotFound(f"There is no job `{job_type}` here and none has run.")
    shape = _shape(source, definition, past)
    ended = [one for one in past if one.state in TERMINAL]
    good = [one for one in ended if one.state is State.COMPLETED]
    spent = [_seconds(one) or 0.0 for one in good]
    return JobView(
        repository_id=owner.id if owner else None,
        repository=repository_name,
        job_type=job_type,
        description=shape.description if shape else "",
        url=_web(shape.url) if shape else "",
        definition=_definition_row(source, definition, past) if definition else None,
        latest=source.row(past[0]) if past else None,
        cells=_bars(past),
        runs=len(ended),
        success=stats.success_rate([one.state for one in ended]),
        p50=stats.quantile(spent, 0.5),
        p95=stats.quantile(spent, 0.95),
        last_good=_first(source, ended, SUCCESS),
        last_bad=_first(source, ended, frozenset({State.FAILED})),
        recent=tuple(source.row(one) for one in past),
        params=shape.params if shape else {},
        required=frozenset(shape.required_params) if shape else frozenset(),
        badge=owner is not None and owner.visibility == PUBLIC,
    )


def latest_on_tracked(source: Source, owner: Repository, job_type: str) -> JobRequest | None:
    """What a badge tells: the newest ended run of the job on the tracked branch."""
    ended = [one for one in _history(source, owner, job_type) if one.state in TERMINAL]
    return next((one for one in ended if _tracked(owner, one)), None)


def _repository(source: Source, name: str) -> Repository:
    found = source.named(name)
    if found is None:
        raise NotFound(f"There is no repository `{name}` here, or it is not yours to see.")
    return found


def _web(url: str) -> str:
    """What may be linked to: the definition's author wrote it, and a `javascript:` would be his script on our page."""
    return url if url.startswith(("https://", "http://")) else ""


def _definition(source: Source, owner: Repository | None, job_type: str) -> Definition | None:
    """The definition itself: never another repository's of the same name."""
    found = source.reader.definitions(repository_id=owner.id if owner else None, organization_id=source.organization_id)
    wanted = owner.id if owner else None
    return next((one for one in found if one.job_type == job_type and one.repository_id == wanted), None)


def _history(source: Source, owner: Repository | None, job_type: str) -> Sequence[JobRequest]:
    found = source.reader.requests(
        organization_id=source.organization_id,
        repository_id=owner.id if owner else None,
        job_type=job_type,
        page_size=HISTORY,
    ).records
    return found if owner else [one for one in found if one.repository_id is None and source.shows(one)]


def _first(source: Source, past: Sequence[JobRequest], states: frozenset[State]) -> RequestRow | None:
    return next((source.row(one) for one in past if one.state in states), None)


def _shape(source: Source, definition: Definition | None, past: Sequence[JobRequest]) -> JobDefinition | None:
    """What the definition in force says, if someone here can read it; else what the newest run followed."""
    version = source.reader.version(definition.version_id) if definition and definition.version_id else None
    shape = source.definition_of(version) if version else None
    if shape is not None:
        return shape
    newest = next((one.execution_id for one in past if one.execution_id is not None), None)
    plan = source.reader.plan(newest) if newest is not None else None
    return plan.definition if plan else None


def _card(source: Source, one: Repository) -> RepositoryCard:
    past = source.reader.requests(repository_id=one.id, page_size=STRIP * 2).records
    return _card_of(one, past, source.reader.definitions(repository_id=one.id), source.outside)


def _card_of(
    one: Repository, past: Sequence[JobRequest], definitions: Sequence[Definition], outside: bool
) -> RepositoryCard:
    newest: dict[str, JobRequest] = {}
    for request in past:
        if _tracked(one, request):
            newest.setdefault(request.job_type, request)
    looks = [status(request.state, request.error_code) for request in newest.values()]
    looks += [sync_status(item.state) for item in definitions if item.problems]
    return RepositoryCard(
        name=one.name,
        state=one.state,
        error=_NO_ANSWER if one.error and outside else one.error,
        visibility=one.visibility,
        health=_unavailable() if one.state == "unavailable" else worst(looks),
        summary=_summary(one, definitions),
        last_at=past[0].created_at if past else None,
        cells=_strip(past),
    )


def _unavailable() -> Status:
    return Status("Unavailable", "bad", "failed")


def _summary(one: Repository, definitions: Sequence[Definition]) -> str:
    """What is to be known of it beside its health, and what to do if nothing can run."""
    if one.state == "empty":
        return "No commit yet. Commit .formicary/ci.yml and it will run."
    if not definitions:
        return "No definition yet. Add .formicary/ci.yml and commit it."
    broken = sum(bool(item.problems) for item in definitions)
    text = f"{len(definitions)} {'job' if len(definitions) == 1 else 'jobs'}"
    return text + (f", {broken} with problems" if broken else "")


def _tracked(one: Repository, request: JobRequest) -> bool:
    return not one.tracked_branch or short(request.ref) == short(one.tracked_branch)


def _strip(past: Sequence[JobRequest]) -> tuple[Cell, ...]:
    return tuple(cell(one) for one in reversed(past[:STRIP]))


def _bars(past: Sequence[JobRequest]) -> tuple[Cell, ...]:
    """The history, oldest first, each as high as it was long."""
    ordered = list(reversed(past[:HISTORY]))
    heights = stats.heights([_seconds(one) for one in ordered])
    return tuple(cell(one, height) for one, height in zip(ordered, heights, strict=True))


def _seconds(one: JobRequest) -> float | None:
    return one.ended_at - one.started_at if one.ended_at is not None and one.started_at is not None else None


def _definition_row(source: Source, one: Definition, past: Sequence[JobRequest]) -> DefinitionRow:
    own = [request for request in past if request.job_type == one.job_type]
    return DefinitionRow(
        job_type=one.job_type,
        path=one.path,
        sync=sync_status(one.state),
        problems=one.problems,
        version=one.version,
        commit=one.commit[:9],
        disabled=one.disabled,
        latest=source.row(own[0]) if own else None,
        cells=_strip(own),
    )


def _sound(one: Definition) -> bool:
    """Those with problems come first."""
    return not one.problems


def _branches(source: Source, one: Repository, past: Sequence[JobRequest]) -> tuple[Branch, ...]:
    """Tracked branch first, then by the newest result."""
    found: dict[str, dict[str, JobRequest]] = {}
    for request in past:
        if request.ref:
            found.setdefault(request.ref, {}).setdefault(request.job_type, request)
    tracked = short(one.tracked_branch)
    order = sorted(found, key=lambda ref: short(ref) != tracked)[:_BRANCHES]
    return tuple(
        Branch(short(ref), short(ref) == tracked, tuple(source.row(request) for request in found[ref].values()))
        for ref in order
    )
