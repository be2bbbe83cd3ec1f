"""What of a task reaches beyond its containers (T21), and that its definition travels."""

from __future__ import annotations

import pytest

from formicary.runner.core.containing import Amount, Container, Service, Volume, risks
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.names import secret_token, secrets_named


def volume(kind: str, name: str = "data") -> Volume:
    return Volume(kind=kind, name=name, mount_path="/data")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"privileged": True}, "`privileged`"),
        ({"host_network": True}, "`host_network`"),
        ({"network_mode": "host"}, "`network_mode: host`"),
        ({"network_mode": "container:other"}, "`network_mode: container:other`"),
        ({"service_account": "deployer"}, "`service_account`"),
        ({"container": Container(devices=("/dev/kvm",))}, "`devices` of the container"),
        ({"container": Container(bind_dir="/srv:/srv")}, "`bind_dir` of the container"),
        ({"helper": Container(bind_dir="/srv:/srv")}, "`bind_dir` of the helper"),
        ({"container": Container(volumes=(volume("host_path"),))}, "the volume `data` (host_path)"),
        ({"volumes": (volume("named"),)}, "the volume `data` (named)"),
        ({"helper": Container(volumes=(volume("secret"),))}, "the volume `data` (secret)"),
        ({"services": (Service(name="db", image="db", volumes=(volume("pvc"),)),)}, "the volume `data` (pvc)"),
    ],
)
def test_what_reaches_beyond_the_task_is_told(said: dict[str, object], told: str) -> None:
    """T21: whoever may not allow these must see all of them."""
    assert risks(TaskDefinition(task_type="a", **said)) == [told]


@pytest.mark.parametrize("mode", ["", "none", "bridge", "default"])
def test_a_task_of_its_own_containers_has_no_risk(mode: str) -> None:
    box = Container(
        image="alpine", user="root", volumes=(volume("empty_dir"),), memory_limit=Amount(written="1Gi", number=2**30)
    )
    services = (Service(name="db", image="db", environment={"A": "1"}),)
    assert risks(TaskDefinition(task_type="a", container=box, services=services, network_mode=mode)) == []


def test_a_task_with_containers_travels_as_json() -> None:
    box = Container(image="alpine", entrypoint=(), command=("a",), volumes=(volume("config_map"),))
    task = TaskDefinition(task_type="a", container=box, services=(Service(name="db", image="db"),))
    assert TaskDefinition.model_validate_json(task.model_dump_json()) == task
    assert task.image == "alpine" and [one.kind for one in task.mounts] == ["config_map"]


def test_a_secret_in_a_container_is_one_that_the_task_names() -> None:
    """Without `secrets` a task sees those that its text names, wherever in it they stand."""
    service = Service(name="db", image="db", environment={"PASSWORD": secret_token("DbPassword")})
    box = Container(image=f"registry.example/{secret_token('Team')}/app")
    assert secrets_named(TaskDefinition(task_type="a", container=box, services=(service,))) == {"DbPassword", "Team"}
