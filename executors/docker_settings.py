"""What the DOCKER executor is told by whoever wires it; plain values, so that reading them imports nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

DEFAULT_ADDRESS: Final = "unix:///var/run/docker.sock"
OFF: Final = "off"


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """`address` as DOCKER_HOST has it (empty: that variable, else this machine's socket; `off`: there is none).
    `config`: a file with the credentials of registries (empty: this user's). `workspace`: how it gets into a container:
    mount, copy, or auto. `work`: the ant's work folder, by which its containers are known."""

    address: str = ""
    config: str = ""
    workspace: str = "auto"
    work: str = ""
    hands: int = 2

    @property
    def place(self) -> str:
        """The engine's address."""
        return self.address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS


DEFAULTS: Final = DockerSettings()
