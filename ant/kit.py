"""What all tasks of one ant share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from anyio import CapacityLimiter

from formicary.ant.places import Places
from formicary.ant.settings import AntSettings
from formicary.executors.registry import Registry
from formicary.runner.artifacts import ObjectStore
from formicary.runner.bus import Bus
from formicary.runner.core.messages import Source


@dataclass(frozen=True, slots=True)
class Kit:
    """`threads` bounds the blocking work with files: more at once would only make each slower. `ready` has a commit
    there to be copied, with the history that the task wants, or what a `ref` names now; raises WorldError."""

    bus: Bus
    executors: Registry
    objects: ObjectStore
    work: Path
    settings: AntSettings
    threads: CapacityLimiter
    places: Places
    ready: Callable[[Source], Awaitable[None]]
