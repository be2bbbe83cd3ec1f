"""What a look found becomes what the store says: refs, requests, definitions, verdicts and effects, in one change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from formicary.reconciler.diff import sync_changes
from formicary.reconciler.look import Ask, Look
from formicary.reconciler.pulls import PullLook
from formicary.runner.core.records import Definition, JobRequest, NewRequest, Repository
from formicary.runner.core.states import State
from formicary.runner.queen.arriving import plugins
from formicary.runner.queen.arriving.requests import store_request, version_of
from formicary.runner.queen.told import Told
from formicary.runner.store import Tx


def agree(
    tx: Tx,
    repository: Repository,
    found: Look,
    pulls: Sequence[PullLook],
    *,
    heard: int,
    told: Told,
    bundle_id: str = "",
) -> tuple[list[JobRequest], list[Definition]]:
    """The new requests, and the definitions that have changed. `heard`: the newest delivery that this answers."""
    refused = _judge_plugins(tx, repository, found, bundle_id)
    tx.put_refs([move.seen(repository.id) for move in found.moves])
    made = [request for request, new in _store_requests(tx, found.asks, told) if new]
    by_ref: dict[str, list[int]] = {move.ref: [] for move in found.moves}
    for request in made:
        by_ref.setdefault(request.ref, []).append(request.id)
    for one in pulls:
        made.extend(_agree_pull(tx, one, told))
    for commit in dict.fromkeys([*found.judged, *(one.judged for one in pulls if one.judged)]):
        told.judged(tx, repository, commit)
    definitions = _register(tx, repository, found)
    # What was refused as a plugin is looked at again when it is asked for: the operator may have mended it.
    synced = {} if found.definitions is None or refused else {"synced_commit": found.head, "synced_at": tx.now}
    state = {"state": "ok" if found.head or found.moves or repository.synced_commit else "empty"}
    state["error"] = found.troubles[0] if found.troubles else ""
    now = tx.repository(repository.id)
    if now is not None:
        tx.put_repository(
            now.model_copy(update={"tracked_branch": found.tracked, "seen_at": tx.now, **synced, **state})
        )
    tx.settle_deliveries(repository.id, by_ref, heard, found.later)
    return made, definitions


def _judge_plugins(tx: Tx, repository: Repository, found: Look, bundle_id: str) -> bool:
    """Whether there are any that may not be registered as the version that they say they are: these run nothing, and
    their commit is told so."""
    if found.definitions is None:
        return False
    by = plugins.judged(tx, repository, found.definitions, bundle_id)
    refused = plugins.refused(found.definitions, by)
    found.definitions = by
    if refused:
        found.asks = [ask for ask in found.asks if ask.new.commit != found.head or ask.loaded not in refused]
        if repository.forge and found.head not in found.judged:
            found.judged.append(found.head)
    return bool(refused)


def _store_requests(tx: Tx, asks: Iterable[Ask], told: Told) -> list[tuple[JobRequest, bool]]:
    """All that is asked for; False beside one whose cause was known already."""
    stored = []
    for ask in asks:
        request, new = store_request(tx, ask.loaded, ask.new.commit, _unless_disabled(tx, ask.new))
        if new:
            told.created(tx, request, ask.loaded.definition)
        stored.append((request, new))
    return stored


def _unless_disabled(tx: Tx, new: NewRequest) -> NewRequest:
    """A disabled definition starts nothing, and says so where a check waits for it (D11)."""
    if new.state is not State.PENDING:
        return new
    definition = tx.definition_named(new.job_type, repository_id=new.repository_id)
    if definition is None or not definition.disabled:
        return new
    return new.model_copy(update={"state": State.SKIPPED, "reason": f"`{new.job_type}` is disabled"})


def _agree_pull(tx: Tx, found: PullLook, told: Told) -> list[JobRequest]:
    """One delivery about a pull request. Its requests stand in the ledger, also those that an earlier one has made."""
    stored = _store_requests(tx, found.asks, told)
    if found.pull is not None:
        tx.put_pull_request(found.pull)
    if found.seen is not None:
        tx.put_refs([found.seen])
    ids = tuple(dict.fromkeys((*found.delivery.request_ids, *(request.id for request, _ in stored))))
    update = {"verdict": found.verdict, "reason": found.reason, "request_ids": ids}
    tx.save_delivery(found.delivery.model_copy(update=update))
    return [request for request, new in stored if new]


def _register(tx: Tx, repository: Repository, found: Look) -> list[Definition]:
    """Registered definitions are those of the tracked branch's head."""
    if found.definitions is None:
        return []
    changes = sync_changes(tx.definitions(repository_id=repository.id), found.definitions, repository, found.head)
    registered: list[Definition] = []
    for change in changes:
        definition = change.definition.model_copy(update={"updated_at": tx.now})
        if change.gone:
            tx.delete_definition(definition.id)
            continue
        if change.loaded is not None:
            text = version_of(change.loaded, repository.organization_id, repository.id, found.head, tx.now)
            version = tx.put_version(text)
            plugins.release(tx, repository, change.loaded, version, found.head)
            update = {"version_id": version.id, "version": version.version}
            # A limit that somebody has set holds until the text says something new.
            limit = definition.max_concurrency if definition.version_id == version.id else None
            definition = definition.model_copy(update={**update, "max_concurrency": limit})
        registered.append(tx.put_definition(definition))
    return registered
