"""What is in the workspace before the script runs: first the checkout, then artifacts of dependencies and the cache."""

from __future__ import annotations

from functools import partial

from anyio import to_thread

from formicary.ant import artifacts
from formicary.ant.below import Below
from formicary.ant.cache import Caches
from formicary.ant.checkout import checkout, copy_tree
from formicary.ant.contained import folder
from formicary.ant.kit import Kit
from formicary.ant.log import Log
from formicary.ant.persist import patiently
from formicary.ant.refusal import TaskRefused
from formicary.ant.workspace import Place
from formicary.runner.artifacts import ObjectMissing
from formicary.runner.core.errors import ERR_ARTIFACT, SetupError, UserError, WorldError
from formicary.runner.core.messages import TaskOrder


async def sources(kit: Kit, order: TaskOrder, place: Place, log: Log) -> None:
    """The commit or the working tree. Raises TaskRefused, WorldError, OSError."""
    source = order.source
    if source.kind == "commit" and order.task.checkout.enabled:
        source = await checkout(kit, order, place)
        name = source.ref or source.branch
        log.sys(f"Checked out {source.commit}" + (f" ({name})." if name else "."))
    elif source.kind == "tree":
        await copy_tree(kit, source, place)
        log.sys(f"Copied the working tree {source.path}.")


async def inputs(kit: Kit, order: TaskOrder, place: Place, log: Log) -> frozenset[str]:
    """What other tasks left; returns the names of the caches that were found exactly. Raises as `sources`."""
    if order.inputs:
        put = partial(to_thread.run_sync, partial(_inputs, kit, order, place), limiter=kit.threads)
        # Lost before the script's own time is over: waiting for the store is not its fault (D12).
        await patiently(put, min(kit.settings.store_patience, order.task.timeout / 2), log.sys)
        for one in order.inputs:
            where = f"put below {one.folder}" if one.folder else "put in place"
            log.sys(f"Artifact {one.artifact.name} of {one.task_type} {where}.")
    if not order.task.cache:
        return frozenset()
    exact, said = await to_thread.run_sync(partial(_caches, kit, order, place), limiter=kit.threads)
    for text in said:
        log.sys(text)
    return exact


def _inputs(kit: Kit, order: TaskOrder, place: Place) -> None:
    try:
        with Below(place.workspace, place.uid) as below:
            artifacts.put_in_place(order.inputs, below, kit.objects, kit.settings.artifacts, place.root)
    except ObjectMissing as error:
        raise TaskRefused(ERR_ARTIFACT, f"An artifact of a dependency is gone: {error}") from error
    except SetupError:
        raise  # the store's, which is the operator's to mend (D12)
    except UserError as error:
        raise TaskRefused(ERR_ARTIFACT, f"An artifact of a dependency cannot be put in place: {error}") from error


def _caches(kit: Kit, order: TaskOrder, place: Place) -> tuple[frozenset[str], list[str]]:
    said: list[str] = []
    with Below(place.workspace, place.uid) as below:
        caches = caches_of(kit, order, place, below)
        try:
            return caches.restore(said.append), said
        except (UserError, WorldError) as error:
            said.append(f"The cache cannot be used, going on without it: {error}")
            return frozenset(), said


def caches_of(kit: Kit, order: TaskOrder, place: Place, below: Below) -> Caches:
    return Caches(kit.objects, order, below, folder(order.task), kit.settings.artifacts, place.root)
