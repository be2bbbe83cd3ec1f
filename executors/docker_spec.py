"""The top of the DOCKER executor: what a task's containers are, in the words of the engine's API. Pure.

A script's container: the image's own user unless one is set, no way to more privileges, our holder as its command. What
only a cluster has is refused by name; every other key of a container has its place here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from formicary.executors.contract import Limits, Prepared
from formicary.executors.docker_ping import OURS
from formicary.executors.inside import working_dir
from formicary.runner.core.containing import Amounts, Container, Service, Volume
from formicary.runner.core.definition import TaskDefinition

EXECUTION: Final = "formicary.execution"
FENCE: Final = "formicary.fence"
ANT: Final = "formicary.ant"
WORK: Final = OURS
"""Whose a container is: the ant's work folder, which one living ant alone has."""
HOST: Final = "formicary.host"

MOST_PROCESSES: Final = 16384
LEAST_MEMORY: Final = 6 << 20
SERVICE_LOG: Final = "10m"
_ONLY_CLUSTERS: Final = frozenset({"pvc", "config_map", "secret", "projected"})


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is there. `digest` is the registry's, or else its own id."""

    name: str
    id: str
    digest: str
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    checks_health: bool = False
    ports: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any]) -> Image:
        config = said.get("Config") or {}
        digests = said.get("RepoDigests") or []
        own = [one for one in digests if _same_repository(one, name)] or digests
        test = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        return cls(
            name,
            said["Id"],
            own[0].rpartition("@")[2] if own else said["Id"],
            config.get("User") or "",
            tuple(config.get("Entrypoint") or ()),
            tuple(config.get("Cmd") or ()),
            test[0] != "NONE",
            tuple(int(port.partition("/")[0]) for port in config.get("ExposedPorts") or () if port.endswith("/tcp")),
        )


def _same_repository(digest: str, name: str) -> bool:
    repository = digest.partition("@")[0]
    rest = name.removeprefix("docker.io/").removeprefix("library/")
    return rest == repository or rest.startswith((f"{repository}:", f"{repository}@"))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a task's container is put into: labels, the network (empty: the engine's own), the folder of the workspace
    (empty: it is copied), and the names of the volumes made for its empty_dirs."""

    labels: Mapping[str, str]
    network: str = ""
    workspace: str = ""
    mounted_at: str = ""
    volumes: Mapping[str, str] | None = None


def main_container(
    prepared: Prepared, image: Image, environment: Mapping[str, str], around: Surroundings, holder: Sequence[str] = ()
) -> dict[str, Any]:
    """The task's own container; without `holder` it runs what the image, or the definition, says. Raises ValueError."""
    task = prepared.task
    container = task.container or Container()
    config = {
        **_process(image, container, environment, around.labels, holder),
        "WorkingDir": working_dir(task),
        "OpenStdin": bool(holder),
        "StdinOnce": bool(holder),
        "AttachStdin": bool(holder),
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
    }
    mounts = [*_mounts(task.mounts, around), *_bind_dir(container.bind_dir)]
    if around.workspace:
        mounts.insert(0, {"Type": "bind", "Source": around.workspace, "Target": around.mounted_at})
    config["HostConfig"] = {
        **_host(container, prepared.limits),
        "LogConfig": {"Type": "none"},
        "NetworkMode": network_mode(task, around.network),
        "Mounts": mounts,
        "Devices": [_device(one) for one in container.devices],
        "Privileged": task.privileged,
        # What is privileged may have more privileges by itself.
        "SecurityOpt": [] if task.privileged else ["no-new-privileges"],
    }
    return config


def service_container(service: Service, image: Image, limits: Limits, around: Surroundings) -> dict[str, Any]:
    """A container beside it. Raises ValueError."""
    config = {
        **_process(image, service, service.environment, around.labels, ()),
        "HostConfig": {
            **_host(service, limits),
            "LogConfig": {"Type": "json-file", "Config": {"max-size": SERVICE_LOG}},
            "NetworkMode": around.network,
            "Mounts": list(_mounts(service.volumes, around)),
            "SecurityOpt": ["no-new-privileges"],
        },
    }
    names = list(dict.fromkeys(name for name in (service.name, service.alias) if name))
    config["NetworkingConfig"] = {"EndpointsConfig": {around.network: {"Aliases": names}}}
    return config


def network_mode(task: TaskDefinition, network: str) -> str:
    """Raises ValueError where services cannot be reached."""
    wanted = "host" if task.host_network else task.network_mode
    if task.services:
        if wanted not in ("", "bridge", "default"):
            raise ValueError(
                f"not supported: services together with the network `{wanted}`; services have a network of their own."
            )
        return network
    return wanted or "default"


def empty_dirs(task: TaskDefinition) -> list[str]:
    """The names of the task's own volumes that are on disk."""
    volumes = [*task.mounts, *(volume for service in task.services for volume in service.volumes)]
    return list(dict.fromkeys(one.name for one in volumes if one.kind == "empty_dir" and not one.medium))


def unkept(task: TaskDefinition) -> list[str]:
    """A sentence for everything that is asked for and means nothing to this engine."""
    said = []
    if any(one and one.ephemeral_storage_limit for one in (task.container, *task.services)):
        said.append("ephemeral_storage_limit is not kept: this engine has no such limit.")
    if task.helper is not None:
        said.append("`helper` is a cluster's; this engine needs none.")
    return said


def _process(
    image: Image,
    one: Container | Service,
    environment: Mapping[str, str],
    labels: Mapping[str, str],
    own: Sequence[str],
) -> dict[str, Any]:
    """What runs in it. An empty entrypoint, or one of an empty word, passes the image's own by."""
    said: dict[str, Any] = {
        "Image": image.id,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": dict(labels),
    }
    if one.user:
        said["User"] = one.user
    entrypoint = image.entrypoint if one.entrypoint is None else tuple(word for word in one.entrypoint if word)
    if own and not entrypoint:
        return {**said, "Entrypoint": list(own), "Cmd": []}
    command = own or one.command
    if command is None and one.entrypoint is None:
        command = image.command
    if not entrypoint and not command:
        raise ValueError(f"The image {image.name} says no command, and neither does the definition: give a script.")
    return {**said, "Entrypoint": list(entrypoint) or [""], "Cmd": list(command or ())}


def _host(amounts: Amounts, limits: Limits) -> dict[str, Any]:
    """What it may use."""
    found: dict[str, Any] = {"PidsLimit": MOST_PROCESSES, "Ulimits": list(_ulimits(limits))}
    if amounts.cpu_limit:
        found["NanoCpus"] = amounts.cpu_limit.number * 1_000_000
    if amounts.cpu_request:
        found["CpuShares"] = max(amounts.cpu_request.number * 1024 // 1000, 2)
    memory = [one for one in (amounts.memory_limit and amounts.memory_limit.number, limits.memory_bytes) if one]
    if memory:
        if min(memory) < LEAST_MEMORY:
            raise ValueError(f"memory_limit is {min(memory)} bytes; an engine wants {LEAST_MEMORY} (6Mi) at least.")
        found["Memory"] = found["MemorySwap"] = min(memory)
    if amounts.memory_request:
        found["MemoryReservation"] = min([amounts.memory_request.number, *memory])
    return found


def _ulimits(limits: Limits) -> Iterable[dict[str, Any]]:
    for name, value in (("cpu", limits.cpu_seconds), ("fsize", limits.file_size_bytes)):
        if value is not None:
            yield {"Name": name, "Soft": value, "Hard": value}


def _mounts(volumes: Iterable[Volume], around: Surroundings) -> Iterable[dict[str, Any]]:
    for volume in volumes:
        if volume.kind in _ONLY_CLUSTERS:
            raise ValueError(f"not supported: the volume `{volume.name}` ({volume.kind}) without a cluster.")
        if volume.sub_path and volume.kind != "host_path":
            raise ValueError(f"not supported: sub_path of the volume `{volume.name}` ({volume.kind}) in this engine.")
        yield {"Target": volume.mount_path, "ReadOnly": volume.read_only, **_source(volume, around)}


def _source(volume: Volume, around: Surroundings) -> dict[str, Any]:
    if volume.kind == "host_path":
        path = f"{volume.host_path.rstrip('/')}/{volume.sub_path}" if volume.sub_path else volume.host_path
        return {"Type": "bind", "Source": path}
    if volume.kind == "empty_dir" and volume.medium:
        return {"Type": "tmpfs"}
    return {"Type": "volume", "Source": (around.volumes or {}).get(volume.name, volume.name)}


def _bind_dir(text: str) -> Iterable[dict[str, Any]]:
    if not text:
        return
    host, _, rest = text.partition(":")
    inside, _, mode = rest.partition(":")
    yield {"Type": "bind", "Source": host, "Target": inside or host, "ReadOnly": mode == "ro"}


def _device(text: str) -> dict[str, str]:
    host, _, rest = text.partition(":")
    inside, _, rights = rest.partition(":")
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": rights or "rwm"}
