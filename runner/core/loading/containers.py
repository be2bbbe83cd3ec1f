"""What a definition says about the containers of a task and its services; and where these keys mean nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from formicary.runner.core.containing import (
    CONTAINED,
    CONTAINER,
    DOCKER,
    KUBERNETES,
    Container,
    Health,
    Port,
    Service,
    Volume,
)
from formicary.runner.core.definition import Checkout
from formicary.runner.core.language.nodes import Node, Scalar
from formicary.runner.core.loading import amounts, placing
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.shapes import fits, one_of, texts
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.loading.volumes import CLUSTERS, VOLUMES, clashes, mixed
from formicary.runner.core.loading.words import Word, each, has, place, wrong

_INSTEAD: Final = "write it into the file; where outsiders have a hand in it, it may be a plain word only"
_CONTROLS: Final = r"\x00-\x20\x7f-\xa0"
PULL_POLICIES: Final = ("always", "if-not-present", "never")
MOST_SERVICES: Final = 32
"""Of one task."""
PROTOCOLS: Final = ("TCP", "UDP", "SCTP")
image = Word(
    re.compile(rf"(?!-)[^{_CONTROLS}]{{1,512}}"), "an image", "write it as `registry.example/team/app:1.0`", secret=True
)
user = Word(
    re.compile(r"(?!-)[A-Za-z0-9_.-]{1,64}(?::[A-Za-z0-9_.-]{1,64})?|"), "a user", "write `1000`, `1000:1000` or a name"
)
host = Word(
    re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?|"), "the name of a host", "write at most 63 of a-z, 0-9 and `-`"
)
device = Word(
    re.compile(r"/[^:\s]+(?::/[^:\s]+)?(?::[rwm]{1,3})?"), "a device", "write `/dev/kvm`, or `/dev/a:/dev/b:rw`"
)
network = Word(
    re.compile(r"(?:container:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,127}|"), "a network", "write `none`, `bridge` or its name"
)
queue = Word(re.compile(rf"[^{_CONTROLS}]{{1,255}}|"), "the name of a queue", "write it without spaces")
bind = Word(
    re.compile(r"/[^:\x00-\x1f]+:/[^:\x00-\x1f]+(?::r[ow])?|"), "a folder of the host", "write `/of/the/host:/inside`"
)


def arguments(reader: Reader, node: Node) -> tuple[str, ...]:
    """What is executed, without a shell."""
    found = reader.strings(node)
    if isinstance(node, Scalar) and len(found) == 1 and len(words := found[0].split()) > 1:
        told = f"`{found[0][:60]}` would be the name of one program: no shell reads this"
        wrong(reader, node, told, f"write a list: `[{', '.join(words)[:60]}]`")
    return found


def container(reader: Reader, node: Node) -> Container:
    if isinstance(node, Scalar):
        text = reader.text(node)[:60]
        reader.fail(node, "A container is a mapping", f"write `container: {{image: {text or 'alpine'}}}`")
    fields = CONTAINER_KEYS.read(reader, node)
    amounts.compared(reader, node, fields)
    if has(node, "image"):
        fields.setdefault("image", "")  # not known yet
    return Container(**fields)


def ports(reader: Reader, node: Node) -> tuple[Port, ...]:
    return each(reader, node, _port)


def _port(reader: Reader, node: Node) -> Port:
    if isinstance(node, Scalar):
        return Port(number=_NUMBER(reader, node))
    fields = PORT.read(reader, node)
    if not has(node, "number"):
        reader.fail(node, "A port needs `number`", "write `{number: 5432}`")
    if "number" not in fields:
        raise Unread
    return Port(**fields)


def _command(reader: Reader, node: Node) -> tuple[str, ...]:
    """A text is for a shell."""
    found = reader.strings(node)
    return ("sh", "-c", *found) if isinstance(node, Scalar) and found else found


def services(reader: Reader, node: Node) -> tuple[Service, ...]:
    found = each(reader, node, service)
    if len(found) > MOST_SERVICES:
        reader.fail(node, f"There are {len(found)} services here", f"use at most {MOST_SERVICES}")
    seen: set[str] = set()
    for one in found:
        for name in dict.fromkeys(filter(None, (one.name, one.alias))):
            if name in seen:
                reader.tell(node, f"Two services are called `{name}`", "give one of them another `name` or `alias`")
            seen.add(name)
    return found


def service(reader: Reader, node: Node) -> Service:
    """A mapping; or a text, which is its image."""
    if isinstance(node, Scalar):
        fields: dict[str, Any] = {"image": image(reader, node)}
    else:
        fields = SERVICE.read(reader, node)
        if not has(node, "image"):
            reader.fail(node, "A service needs `image`", "write `{name: db, image: postgres:16}`")
        fields |= fields.pop("limits", {})
        amounts.compared(reader, node, fields)
    fields.setdefault("image", "")  # not known yet
    fields["name"] = fields.get("name") or _name_of(fields["image"])
    if not fields["name"]:
        raise Unread
    return Service(**fields)


def _name_of(text: str) -> str:
    """`registry.example/team/Postgres:16` → `postgres`."""
    last = text.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return re.sub(r"[^a-z0-9]+", "-", last.lower())[:63].strip("-")


def _limits(reader: Reader, node: Node) -> dict[str, Any]:
    return LIMITS.read(reader, node)


_NUMBER: Final = fits(1, 65535)
_arguments: Final = Key(arguments, "texts", code=True, instead=_INSTEAD)
_IMAGE: Final = Key(image, "text", code=True, instead=_INSTEAD)
_USER: Final = Key(user, "text", code=True, instead=_INSTEAD)
_PULL: Final = Key(one_of(*PULL_POLICIES), "pull_policy")
CONTAINER_KEYS: Final = Table(
    "a container",
    {
        "image": _IMAGE,
        "entrypoint": _arguments,
        "command": _arguments,
        "pull_policy": _PULL,
        "user": _USER,
        "volumes": VOLUMES,
        "devices": Key(lambda reader, node: each(reader, node, device), "texts", code=True, instead=_INSTEAD),
        "bind_dir": Key(bind, "text", code=True, instead=_INSTEAD),
        **amounts.KEYS,
    },
)
PORT: Final = Table(
    "a port",
    {
        "number": Key(_NUMBER, "count"),
        "protocol": Key(one_of(*PROTOCOLS), "protocol"),
        "name": Key(Reader.string, "text"),
    },
)
HEALTH: Final = Table(
    "health",
    {
        "command": Key(_command, "texts", code=True, instead=_INSTEAD),
        "port": Key(_NUMBER, "count"),
        "interval": Key(Reader.duration, "duration"),
        "timeout": Key(Reader.duration, "duration"),
        "retries": Key(fits(1, 1000), "count"),
    },
)
LIMITS: Final = Table("limits", amounts.KEYS)
SERVICE: Final = Table(
    "a service",
    {
        "name": Key(host, "text"),
        "alias": Key(host, "text"),
        "image": _IMAGE,
        "entrypoint": _arguments,
        "command": _arguments,
        "pull_policy": _PULL,
        "user": _USER,
        "ports": Key(ports, "ports"),
        "environment": Key(texts, "environment"),
        "volumes": VOLUMES,
        "health": Key(lambda reader, node: Health(**HEALTH.read(reader, node)), "health"),
        "limits": Key(_limits, "limits"),
        **amounts.KEYS,
    },
)
#: Keys of a task that may stand on the job too.
DEFAULTS: Final[Mapping[str, Key]] = {
    "container": Key(container, "container", late=True),
    "services": Key(services, "services", late=True),
}
_OF_CONTAINERS: Final[Mapping[str, Key]] = {
    "helper": Key(container, "container", late=True),
    "privileged": Key(Reader.boolean, "flag", late=True, code=True, instead=_INSTEAD),
    "host_network": Key(Reader.boolean, "flag", late=True, code=True, instead=_INSTEAD),
    "network_mode": Key(network, "text", late=True, code=True, instead=_INSTEAD),
    "volumes": Key(VOLUMES.read, "volumes", late=True, code=True, instead=VOLUMES.instead),
    **placing.KEYS,
}
_OF_MESSAGES: Final[Mapping[str, Key]] = {
    name: Key(queue, "text", late=True, code=True, instead=_INSTEAD)
    for name in ("messaging_request_queue", "messaging_reply_queue")
}
#: Keys of a task alone.
KEYS: Final[Mapping[str, Key]] = {**_OF_CONTAINERS, **_OF_MESSAGES}
_ALL: Final = (*DEFAULTS, *_OF_CONTAINERS)
_DOCKERS: Final = ("network_mode",)


def merged(job: Container | None, task: Container) -> Container:
    """A task's container; one that names no image adds to the job's."""
    if job is None or "image" in task.model_fields_set:
        return task
    return job.model_copy(update={name: getattr(task, name) for name in task.model_fields_set})


def containing(reader: Reader, node: Node, fields: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task, with what of them and containers does not go together told, and its method where it names
    none. `written`: its own keys."""
    box: Container | None = fields.get("container")
    if "method" not in fields and box is not None:
        fields = {**fields, "method": KUBERNETES if _needs_cluster(fields) else CONTAINER}
    method = str(fields.get("method", "SHELL"))
    fields = _messaging(reader, node, fields, method, written)
    if method not in CONTAINED:
        _meaningless(reader, node, (key for key in _ALL if key in written), f"{method} runs in no container")
        return {name: value for name, value in fields.items() if name not in _ALL}
    if box is None or ("image" not in box.model_fields_set):
        told = f"A task of the method {method} needs an image" if method != CONTAINER else "This container has no image"
        reader.question(place(node, "container" if box else "method"), told, "write `container: {image: alpine}`")
    helper: Container | None = fields.get("helper")
    if helper is not None and "image" not in helper.model_fields_set:
        reader.question(place(node, "helper"), "This helper has no image", "write `helper: {image: …}`")
    if method == DOCKER:
        _meaningless(reader, node, (key for key in placing.KEYS if key in written), "Docker places no pods")
        if _needs_cluster(fields):
            told = "Volumes of the kinds pvc, config_map, secret and projected are Kubernetes' own"
            reader.question(place(node, "container"), told, "write `method: KUBERNETES`, or use other volumes")
    if method == KUBERNETES:
        _meaningless(reader, node, (key for key in _DOCKERS if key in written), "a pod has a network of its own")
    _mounted(reader, node, fields)
    return fields


def _meaningless(reader: Reader, node: Node, keys: Iterator[str], why: str) -> None:
    for key in keys:
        offset = reader.rendered.origin(place(node, key).start)
        reader.warn(offset, f"`{key}` means nothing here: {why}", "remove it, or write another `method`")


def _messaging(
    reader: Reader, node: Node, fields: dict[str, Any], method: str, written: Mapping[str, Any]
) -> dict[str, Any]:
    if method in ("MESSAGING", "WEBSOCKET"):
        fields = {"checkout": Checkout(enabled=False), **fields}
    if method == "MESSAGING":
        if not has(node, "messaging_request_queue"):
            remedy = "name it: `messaging_request_queue: orders`"
            reader.tell(place(node, "method"), "This task does not say to which queue its request goes", remedy)
        return fields
    for key in (key for key in _OF_MESSAGES if key in written):
        reader.question(place(node, key), f"`{key}` is for tasks of the method MESSAGING", "write `method: MESSAGING`")
    return {name: value for name, value in fields.items() if name not in _OF_MESSAGES}


def _inside(fields: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Volume, ...]]]:
    """(key, volumes) of each container of the task."""
    box, helper = fields.get("container"), fields.get("helper")
    yield "container", (*(box.volumes if box else ()), *fields.get("volumes", ()))
    if helper is not None:
        yield "helper", helper.volumes
    for one in fields.get("services", ()):
        yield "services", one.volumes


def _needs_cluster(fields: Mapping[str, Any]) -> bool:
    return any(one.kind in CLUSTERS for _, found in _inside(fields) for one in found)


def _mounted(reader: Reader, node: Node, fields: Mapping[str, Any]) -> None:
    for key, found in _inside(fields):
        clashes(reader, node, key, found)
    everything = tuple(one for _, found in _inside(fields) for one in found)
    mixed(reader, node, "container", everything)
