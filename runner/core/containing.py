"""What a definition says about the containers of a task, as data; and what of it reaches beyond them (T21).

Texts are filled in by each attempt; they may hold tokens of secrets. Amounts are Kubernetes quantities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from pydantic import Field

from formicary.runner.core.shape import Shape

DOCKER: Final = "DOCKER"
KUBERNETES: Final = "KUBERNETES"
CONTAINER: Final = "CONTAINER"
"""The method of a task that has an image and names none: whichever container engine the ant has."""
ENGINES: Final = frozenset({DOCKER, KUBERNETES})
CONTAINED: Final = frozenset({CONTAINER, *ENGINES})
"""Methods whose tasks run in containers."""

PullPolicy = Literal["always", "if-not-present", "never"]
Protocol = Literal["TCP", "UDP", "SCTP"]
VolumeKind = Literal["named", "host_path", "empty_dir", "pvc", "config_map", "secret", "projected"]


class Amount(Shape):
    """A quantity: `written` as in the definition, `number` in thousandths of a processor, or in bytes."""

    written: str
    number: int


class Amounts(Shape):
    """What a container may use, and what is kept for it: processors in thousandths, the others in bytes."""

    cpu_limit: Amount | None = None
    cpu_request: Amount | None = None
    memory_limit: Amount | None = None
    memory_request: Amount | None = None
    ephemeral_storage_limit: Amount | None = None
    ephemeral_storage_request: Amount | None = None


class Projection(Shape):
    """One source of a projected volume. `items`: key → path; none: all. A token lives `expiration_seconds`."""

    kind: Literal["secret", "config_map", "service_account_token"]
    name: str = ""
    items: Mapping[str, str] = Field(default_factory=dict)
    path: str = ""
    audience: str = ""
    expiration_seconds: int = 3600


class Volume(Shape):
    """What is mounted at `mount_path`. Volumes of one name are one volume, in all containers of the task.

    `named`: a volume of the engine, which outlives the task. `host_path`: the host's `host_path`. `empty_dir`: the
    task's own; `medium` "Memory" keeps it in memory. The others are Kubernetes': `items` are key → path, none: all;
    `sources` are those of `projected`.
    """

    kind: VolumeKind
    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False
    host_path: str = ""
    medium: Literal["", "Memory"] = ""
    items: Mapping[str, str] = Field(default_factory=dict)
    sources: tuple[Projection, ...] = ()


class Container(Amounts):
    """The key `container`, and `helper`. `entrypoint` and `command` None: the image's own. `user`: name or number, and
    perhaps `:group`; empty: the image's. `devices`: `host[:inside[:rwm]]`; `bind_dir`: `host:inside[:ro]`."""

    image: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    pull_policy: PullPolicy | None = None
    user: str = ""
    volumes: tuple[Volume, ...] = ()
    devices: tuple[str, ...] = ()
    bind_dir: str = ""


class Port(Shape):
    """What a service listens at."""

    number: int
    protocol: Protocol = "TCP"
    name: str = ""


class Health(Shape):
    """When a service is ready: `command` (as exec takes it) ends with 0 within it, or `port` takes connections; asked
    every `interval` seconds, each time for `timeout` seconds at most, `retries` times. With neither: the image's own
    HEALTHCHECK, else all its TCP `ports`, else that it runs."""

    command: tuple[str, ...] = ()
    port: int | None = None
    interval: float = 1.0
    timeout: float = 5.0
    retries: int = 60


class Service(Amounts):
    """A container beside the task's, which reaches it as `name` and as `alias`. It ends with the task."""

    name: str
    image: str
    alias: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    pull_policy: PullPolicy | None = None
    user: str = ""
    ports: tuple[Port, ...] = ()
    environment: Mapping[str, str] = Field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    health: Health = Health()


class Requirement(Shape):
    """What a label of a node, or a field, must be. `operator`: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()


class Term(Shape):
    """Requirements of a node, all of them. `weight` (1 to 100) is for preferred ones."""

    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()
    weight: int = 1


class Affinity(Shape):
    """The key `affinity`: one of the `required` terms must hold for a node; the heaviest `preferred` wins."""

    required: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()


class Contained(Shape):
    """The keys of a task that say in what containers it runs, and where these. Whoever runs it in none passes them by.

    `node_tolerations`: `key` or `key=value` → effect. `volumes` are the container's too: see `mounts`.
    """

    container: Container | None = None
    helper: Container | None = None
    services: tuple[Service, ...] = ()
    privileged: bool = False
    host_network: bool = False
    network_mode: str = ""
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    node_tolerations: Mapping[str, str] = Field(default_factory=dict)
    affinity: Affinity | None = None
    pod_labels: Mapping[str, str] = Field(default_factory=dict)
    pod_annotations: Mapping[str, str] = Field(default_factory=dict)
    service_account: str = ""
    volumes: tuple[Volume, ...] = ()
    messaging_request_queue: str = ""
    messaging_reply_queue: str = ""

    @property
    def image(self) -> str:
        """The image of its container; empty: it has none."""
        return self.container.image if self.container else ""

    @property
    def mounts(self) -> tuple[Volume, ...]:
        """What is mounted in its own container."""
        return (*(self.container.volumes if self.container else ()), *self.volumes)


_OWN_NETWORK: Final = frozenset({"", "bridge", "default", "none"})


def risks(task: Contained) -> list[str]:
    """What of the task reaches beyond its containers, each as the subject of a sentence: `` `privileged` ``. T21: an
    ant runs such a task only where the operator allows that for its repository, and for trusted requests."""
    return list(dict.fromkeys(_risks(task)))


def _risks(task: Contained) -> Iterator[str]:
    for key in ("privileged", "host_network"):
        if getattr(task, key):
            yield f"`{key}`"
    if task.network_mode not in _OWN_NETWORK:
        yield f"`network_mode: {task.network_mode[:60]}`"
    if task.service_account:
        yield "`service_account`"
    for whose, one in (("container", task.container), ("helper", task.helper)):
        if one is not None:
            yield from (f"`{key}` of the {whose}" for key in ("devices", "bind_dir") if getattr(one, key))
    yield from (f"the volume `{volume.name[:60]}` ({volume.kind})" for volume in _volumes(task) if _reaches_out(volume))


def _volumes(task: Contained) -> Iterator[Volume]:
    yield from task.mounts
    if task.helper is not None:
        yield from task.helper.volumes
    for service in task.services:
        yield from service.volumes


def _reaches_out(volume: Volume) -> bool:
    return volume.kind != "empty_dir"
