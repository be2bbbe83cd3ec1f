"""What an ant may be told when it starts. Plain values, with defaults that a laptop can use."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Final

from formicary.executors.contract import Limits

_BREW: Final = "/opt/homebrew/bin:" if platform.system() == "Darwin" else ""
EVERY_REPOSITORY: Final = "*"
DEFAULT_PATH: Final = _BREW + "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """Caps on what a task keeps, and on what is unpacked for it (T11)."""

    max_files: int = 200_000
    max_bytes: int = 8 << 30


@dataclass(frozen=True, slots=True)
class AntSettings:
    """`uid_range` None = tasks run as the ant's own user (see `uids.default_range`); `path` is the tasks' PATH."""

    ant_id: str
    hands: int = 2
    tags: frozenset[str] = frozenset()
    platform: str = f"{platform.system().lower()}/{platform.machine()}"
    embedded: bool = False
    path: str = DEFAULT_PATH
    limits: Limits = field(default_factory=Limits)
    uid_range: tuple[int, int] | None = None
    after_script_timeout: float = 300.0
    drain_timeout: float = 3600.0
    max_log_bytes: int = 1 << 30
    store_patience: float = 300.0
    """How long (s) a task waits for an artifact store that is away, before its attempt is lost."""
    artifacts: ArtifactLimits = field(default_factory=ArtifactLimits)
    allow_networks: tuple[str, ...] = ()
    """Networks within, in CIDR notation, that definitions may call (T14)."""
    risky: tuple[str, ...] = ()
    """Repositories, by name, whose trusted runs may reach beyond their containers: privileged, devices, folders of the
    host (T21). `*`: all of them."""
