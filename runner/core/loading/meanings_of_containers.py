"""What the keys about containers mean, in words, as rows of `meanings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_AMOUNTS: Final = """
cpu_limit | [an amount](#amounts) of processors | it gets no more | "1.5"
cpu_request | an amount of processors | so much is kept for it | "500m"
memory_limit | an amount of memory | with more it is ended | "2Gi"
memory_request | an amount of memory | so much is kept for it | "512Mi"
ephemeral_storage_limit | an amount of disk | with more it is ended, where the engine can | "4Gi"
ephemeral_storage_request | an amount of disk | so much is kept for it | "1Gi"
"""
TASK: Final = """
container | [a container](#containers) | in what the task runs | {"image": "python:3.12"}
helper | a container | what Kubernetes runs beside it to move files, where the ant's own image will not do
    | {"image": "registry.example/helper:1.0"}
services | list of [services](#services) | run beside it, and are ready before the script begins
    | [{"name": "db", "image": "postgres:16", "ports": [5432]}]
volumes | [volumes](#volumes) | mounted in its container, with those of `container` | {"empty_dir":
    [{"name": "scratch", "mount_path": "/scratch"}]}
privileged | `true` or `false` | as root of the host could; [risky](#what-reaches-beyond-a-task) | true
host_network | `true` or `false` | in the network of the host; risky | true
network_mode | text | Docker's network: `none`, or another one, which is risky | "none"
node_selector | label → value | Kubernetes runs it only on nodes with these labels | {"disk": "ssd"}
node_tolerations | `key` or `key=value` → effect | taints of nodes that do not keep it away | {"gpu=true": "NoSchedule"}
affinity | [a mapping](#where-a-pod-runs) | which nodes Kubernetes must take, or takes rather
    | {"preferred_during_scheduling_ignored_during_execution": [{"weight": 10, "preference":
    {"match_expressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}
pod_labels | label → value | labels of its pod | {"team": "web"}
pod_annotations | name → text | annotations of its pod | {"example.org/owner": "web"}
service_account | text | the pod's account in the cluster; risky | "deployer"
messaging_request_queue | text | where a task of the method MESSAGING sends its request | "encode.requests"
messaging_reply_queue | text | where the answer is awaited | "encode.replies"
"""

#: By the names of the tables.
TEXTS: Final[Mapping[str, str]] = {
    "CONTAINER": """
image | text | what it is made of | "python:3.12"
entrypoint | list | takes the place of the image's; empty: none | ["/usr/bin/env"]
command | list | without a `script`: what runs, in place of the image's own | ["make", "test"]
pull_policy | `always`, `if-not-present`, `never` | when the image is fetched | "always"
user | text | a name or number, and perhaps `:group`; else the image's | "1000:1000"
volumes | [volumes](#volumes) | what is mounted in it | {"empty_dir": [{"name": "tmp", "mount_path": "/scratch"}]}
devices | list | devices of the host, as `/dev/kvm` or `/dev/a:/dev/b:rw`; risky | ["/dev/kvm"]
bind_dir | text | a folder of the host, as `/of/the/host:/inside`; risky | "/srv/data:/data:ro"
"""
    + _AMOUNTS.lstrip(),
    "SERVICE": """
image | text | what it is made of | "postgres:16"
name | text | under which host name the task reaches it; else that of its image: `postgres` | "db"
alias | text | another host name of it | "database"
entrypoint | list | takes the place of the image's | ["docker-entrypoint.sh"]
command | list | takes the place of the image's | ["postgres", "-c", "fsync=off"]
pull_policy | `always`, `if-not-present`, `never` | when the image is fetched | "always"
user | text | a name or number, and perhaps `:group`; else the image's | "postgres"
environment | name → text | its environment; it has nothing of the task's | {"POSTGRES_PASSWORD": "test"}
ports | list of numbers, or of `{number, protocol, name}` | what it listens at; it is ready when all of TCP take
    connections | [5432]
health | [a mapping](#ready) | how it is seen that it is ready | {"command": "pg_isready"}
volumes | [volumes](#volumes) | what is mounted in it | {"empty_dir": [{"name": "db", "mount_path": "/var/lib/db"}]}
limits | a mapping | the amounts below, in a mapping of their own | {"memory_limit": "1Gi"}
"""
    + _AMOUNTS.lstrip(),
    "LIMITS": _AMOUNTS,
    "HEALTH": """
command | list, or text for `sh -c` | ready when this ends with 0 within the service | "pg_isready -U postgres"
port | a number | ready when this port takes connections | 5432
interval | duration | how often it is looked | "1s"
timeout | duration | how long one look may take | "5s"
retries | a number | after so many looks the task fails | 60
""",
    "PORT": """
number | a number | the port | 5432
protocol | `TCP`, `UDP`, `SCTP` | of what it is a port | "UDP"
name | text | for readers | "sql"
""",
    "VOLUME": """
name | text | the volume; for `pvc`, `config_map` and `secret` the thing of that name in the cluster | "scratch"
mount_path | absolute path | where it is mounted | "/scratch"
sub_path | path | what of it | "cache"
read_only | `true` or `false` | whether it is only read | true
host_path | absolute path | `host_path`: which folder of the host; else that of `mount_path` | "/srv/data"
medium | `Memory` | `empty_dir`: in memory | "Memory"
items | key → path | `config_map`, `secret`: which keys as which files; else all | {"tls.crt": "cert.pem"}
sources | list | `projected`: secrets, config maps and tokens, in one folder
    | [{"service_account_token": {"path": "token", "audience": "registry.example"}}]
""",
    "ITEM": """
key | text | a key of the config map, or of the secret | "tls.crt"
path | path | the file that it becomes | "cert.pem"
""",
    "SOURCES": """
secret | `{name, items}` | a secret of the cluster | {"name": "certs"}
config_map | `{name, items}` | a config map of the cluster | {"name": "settings"}
service_account_token | `{path, audience, expiration_seconds}` | a token of the pod's account | {"path": "token"}
""",
    "PROJECTED": """
name | text | the thing of that name in the cluster | "certs"
items | key → path | which keys as which files; else all | {"tls.crt": "cert.pem"}
""",
    "TOKEN": """
path | path | the file that it becomes | "token"
audience | text | for whom it is | "registry.example"
expiration_seconds | a number | how long it holds | 3600
""",
    "AFFINITY": """
required_during_scheduling_ignored_during_execution | `{node_selector_terms}` | a node must meet one of the terms
    | {"node_selector_terms": [{"match_expressions": [{"key": "gpu", "operator": "Exists"}]}]}
preferred_during_scheduling_ignored_during_execution | list of `{weight, preference}` | the node whose terms weigh most
    | [{"weight": 10, "preference": {"match_expressions": [{"key": "gpu", "operator": "Exists"}]}}]
""",
    "REQUIRED": """
node_selector_terms | list of terms | one of them must be met
    | [{"match_expressions": [{"key": "gpu", "operator": "Exists"}]}]
""",
    "PREFERRED": """
weight | a number from 1 to 100 | what a node that meets it gains | 10
preference | a term | what is met | {"match_expressions": [{"key": "gpu", "operator": "Exists"}]}
""",
    "TERM": """
match_expressions | list of `{key, operator, values}` | about labels of the node; all must be met
    | [{"key": "disk", "operator": "In", "values": ["ssd"]}]
match_fields | list of `{key, operator, values}` | about its fields
    | [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]
""",
    "REQUIREMENT": """
key | text | a label | "disk"
operator | `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt` | how it is compared | "In"
values | list | with what | ["ssd"]
""",
}
