"""What is kept after the script: artifacts as `when` says, the cache after success, the outputs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial

from anyio import to_thread

from formicary.ant import artifacts as kept
from formicary.ant import outputs as parsed
from formicary.ant.below import Below, Outside
from formicary.ant.contained import folder, root
from formicary.ant.kit import Kit
from formicary.ant.persist import patiently
from formicary.ant.prepare import caches_of
from formicary.ant.refusal import TaskRefused
from formicary.ant.reports import reading
from formicary.ant.workspace import Place
from formicary.executors.contract import Outcome
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import ERR_ARTIFACT, ERR_CANCELLED, SetupError, UserError
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.messages import TaskOrder
from formicary.runner.core.reports import Reports


async def artifacts_and_cache(
    kit: Kit,
    order: TaskOrder,
    place: Place,
    outcome: Outcome,
    exact: frozenset[str],
    say: Callable[[str], None],
    hurried: Callable[[], bool],
) -> tuple[tuple[ArtifactRef, ...], list[str], list[str], TaskRefused | None]:
    """What was kept; warnings; words for the log; and why something that should have been kept was not."""
    wants_artifacts = bool(order.task.artifacts.paths) and _wanted(order.task.artifacts.when, outcome)
    wants_cache = bool(order.task.cache) and outcome.ok
    if not wants_artifacts and not wants_cache:
        return (), [], [], None
    call = partial(_keep, kit, order, place, exact, wants_artifacts, wants_cache)
    keep = partial(to_thread.run_sync, call, limiter=kit.threads)
    return await patiently(keep, kit.settings.store_patience, say, hurried)


def _wanted(when: str, outcome: Outcome) -> bool:
    """A cancelled task has neither succeeded nor failed."""
    if when == "always":
        return True
    return outcome.ok if when == "onSuccess" else not outcome.ok and outcome.error_code != ERR_CANCELLED


def _keep(
    kit: Kit, order: TaskOrder, place: Place, exact: frozenset[str], artifacts: bool, cache: bool
) -> tuple[tuple[ArtifactRef, ...], list[str], list[str], TaskRefused | None]:
    refs: list[ArtifactRef] = []
    warnings: list[str] = []
    said: list[str] = []
    refused = None
    task, limits = order.task, kit.settings.artifacts
    with Below(place.workspace, place.uid) as below:
        if artifacts:
            wanted = task.artifacts
            found = kept.keep(below, folder(task), wanted.paths, wanted.exclude, kit.objects, limits, warnings.append)
            try:
                for ref in found:
                    refs.append(ref)
                    said.append(f"Artifact {ref.name}: kept {ref.size} bytes.")
            except SetupError:
                raise  # the store's, which is the operator's to mend (D12)
            except UserError as error:
                refused = TaskRefused(ERR_ARTIFACT, str(error))
        if cache and refused is None:
            caches_of(kit, order, place, below).save(exact, said.append, warnings.append)
    return tuple(refs), warnings, said, refused


def reports(
    task: TaskDefinition, place: Place, mask: Callable[[str], str], warn: Callable[[str], None]
) -> Reports | None:
    """What the script's reports say, masked. Blocking."""
    try:
        with Below(place.workspace, place.uid) as below:
            return reading.read(below, folder(task), task.reports, root(task, str(place.workspace)), mask, warn)
    except OSError as error:
        warn(f"reports: the workspace cannot be read any more: {error}")
        return None


def outputs(place: Place, said: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """From the output, and over them those from $FORMICARY_OUTPUT; with a warning for each that was not taken."""
    data, warnings = _read(place)
    if not data and not said:
        return {}, warnings
    written, problems = parsed.parse(data)
    taken, more = parsed.limited({**said, **written})
    return taken, [*warnings, *problems, *more]


def _read(place: Place) -> tuple[bytes, list[str]]:
    """Without following links: a task that runs as our own user may have put anything there."""
    try:
        found = os.lstat(place.output)
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            return b"", []  # mostly
        with Below(place.run, place.uid) as below, open(below.read(place.output.name), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return b"", []
            data = file.read(parsed.MAX_OUTPUTS + 1) or b""
    except (OSError, Outside) as error:
        return b"", [f"$FORMICARY_OUTPUT cannot be read any more: {error}"]
    return data, []
