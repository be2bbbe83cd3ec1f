"""Where the container engine is, as the operator says."""

from __future__ import annotations

from formicary.cli.settings import Settings
from formicary.executors.docker_settings import DockerSettings


def docker_settings(settings: Settings) -> DockerSettings:
    return DockerSettings(
        settings.docker,
        str(settings.docker_config or ""),
        settings.docker_workspace,
        str(settings.work_folder),
        settings.hands,
    )
