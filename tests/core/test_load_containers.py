"""What a definition says about containers, services, volumes, places: what is read, what is told, what is tainted."""

import pytest
from loading import bad, good, names, one, refused

from formicary.runner.core.containing import CONTAINER, Amount, Health, Port, risks
from formicary.runner.core.load import attempt, load, plan
from formicary.runner.core.loading.containers import KEYS
from formicary.runner.core.names import secrets_of

SHORT = "job_type: a\nscript: x\n"
BOX = SHORT + "container:\n  image: alpine\n"


def task_of(text):
    return good(text).tasks[0]


def jobs(*lines):
    return "job_type: a\n" + "".join(f"{line}\n" for line in lines)


# --- the method


@pytest.mark.parametrize(
    ("lines", "method"),
    [
        (["script: x"], "SHELL"),
        (["container: {image: alpine}"], CONTAINER),
        (["container: {image: alpine}", "method: DOCKER"], "DOCKER"),
        (["container: {image: alpine}", "method: SHELL", "script: x"], "SHELL"),
        (["container: {image: alpine}", "volumes: {pvc: [{name: a, mount_path: /a}]}"], "KUBERNETES"),
        (["container: {image: '{{ Image }}'}"], CONTAINER),
    ],
)
def test_the_method_follows_from_the_image(lines, method):
    """language.md: default SHELL without an image, else the ant's container engine."""
    assert task_of(jobs(*lines)).method == method


def test_what_shapes_the_method_is_known_when_the_execution_is_planned():
    text = jobs("script: x", "{% if Late %}", "container: {image: alpine}", "{% endif %}")
    (problem,) = refused(lambda: plan(text, 0, names()))
    assert "`Late`" in problem.message


# --- the container


def test_a_container_is_read_whole():
    box = task_of(
        BOX + "  entrypoint: [/bin/env]\n  command: [a, b c]\n  pull_policy: always\n  user: 1000:1000\n"
        "  devices: [/dev/kvm]\n  bind_dir: /srv:/srv:ro\n  cpu_limit: 1.5\n  cpu_request: 500m\n"
        "  memory_limit: 1.5Gi\n  memory_request: 100k\n"
        "  ephemeral_storage_limit: 1e9\n  ephemeral_storage_request: 20\n"
    ).container
    assert (box.entrypoint, box.command, box.pull_policy) == (("/bin/env",), ("a", "b c"), "always")
    assert (box.user, box.devices, box.bind_dir) == ("1000:1000", ("/dev/kvm",), "/srv:/srv:ro")
    assert (box.cpu_limit, box.cpu_request) == (Amount(written="1.5", number=1500), Amount(written="500m", number=500))
    assert (box.memory_limit.number, box.memory_request.number) == (3 * 2**29, 100_000)
    assert (box.ephemeral_storage_limit.number, box.ephemeral_storage_request.number) == (10**9, 20)


def test_the_images_own_is_not_an_empty_one():
    assert task_of(BOX).container.entrypoint is None
    assert task_of(BOX + "  entrypoint: []\n").container.entrypoint == ()


def test_a_container_without_an_image_adds_to_the_jobs():
    text = jobs(
        "container: {image: alpine, memory_limit: 1Gi, user: root}",
        "services: [postgres:16]",
        "tasks:",
        "- {task_type: a, script: x, container: {memory_limit: 2Gi}}",
        "- {task_type: b, script: x, container: {image: busybox}, services: []}",
        "- {task_type: c, script: x, method: SHELL}",
    )
    first, second, third = good(text).tasks
    assert (first.image, first.container.user, first.container.memory_limit.written) == ("alpine", "root", "2Gi")
    assert [one.name for one in first.services] == ["postgres"]
    assert (second.image, second.container.user, second.container.memory_limit, second.services) == (
        "busybox",
        "",
        None,
        (),
    )
    assert third.container is None and third.services == () and one(text).warnings == ()
    assert attempt(text, 0, names(), "a").container == first.container


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("image: ''", "is not an image"),
        ("image: a b", "is not an image"),
        ("image: -v", "is not an image"),
        ("command: sleep 1", "write a list: `[sleep, 1]`"),
        ("pull_policy: sometimes", "is none of `always`"),
        ("user: '$(id)'", "is not a user"),
        ("memory_limit: 512m", "such as `512Mi`"),
        ("memory_limit: 1.5GB", "such as `1.5Gi`"),
        ("memory_limit: -1", "is not an amount"),
        ("cpu_limit: 0", "nothing could run"),
        ("cpu_limit: lots", "such as `500m`"),
        ("cpu_limit: 1e99", "is not an amount"),
        ("devices: [kvm]", "is not a device"),
        ("bind_dir: srv:/srv", "is not a folder of the host"),
        ("imge: x", "did you mean `image`?"),
        ("volumes: [../a:/b]", "neither the name of a volume nor an absolute path"),
        ("volumes: ['a:b']", "is not a volume"),
        ("volumes: ['a:/b:rx']", "is not a volume"),
        ("volumes: {a: b}", "is not an absolute path"),
        ("volumes: {a: /b, c: /b}", "Two volumes are mounted at `/b`"),
        ("volumes: {empty_dir: [{name: a, mount_path: /a}], a: /b}", "is two different ones"),
        ("volumes: {empty_dir: [{name: a}]}", "An empty_dir needs `mount_path`"),
        ("volumes: {empty_dir: [{name: a, mount_path: /a, sub_path: ../b}]}", "is not a path within the volume"),
        ("volumes: {empty_dirs: [{name: a, mount_path: /a}]}", "Text was expected"),
        ("volumes: {projected: [{name: a, mount_path: /a}]}", "A projected volume needs `sources`"),
        ("volumes: {projected: [{name: a, mount_path: /a, sources: [{secret: {}}]}]}", "needs `name`"),
    ],
)
def test_what_is_wrong_with_a_container_is_told_at_its_place(line, words):
    (problem,) = bad(f"{BOX}  {line}\n" if not line.startswith("image") else f"{SHORT}container:\n  {line}\n")
    assert words in f"{problem.message} ({problem.expected})" and problem.line >= 3


def test_a_request_above_its_limit_is_refused():
    (problem,) = bad(BOX + "  cpu_limit: 1\n  cpu_request: 2\n")
    assert "is more than" in problem.message and problem.line == 6


@pytest.mark.parametrize("text", [SHORT + "method: DOCKER\n", SHORT + "container: {memory_limit: 1Gi}\n"])
def test_a_container_needs_an_image(text):
    assert ["image" in problem.message for problem in bad(text)] == [True]


# --- services


def test_services_are_read():
    first, second = task_of(
        BOX + "services:\n- registry.example:5000/team/Post_gres:16@sha256:0\n"
        "- {name: db, alias: database, image: redis, ports: [6379, {number: 53, protocol: UDP, name: dns}],\n"
        "   environment: {A: 1.10}, health: {command: redis-cli ping, interval: 500ms}, limits: {cpu_limit: 1},\n"
        "   memory_limit: 64Mi, command: [redis-server], volumes: {empty_dir: {name: d, mount_path: /d}}}\n"
    ).services
    assert (first.name, first.image) == ("post-gres", "registry.example:5000/team/Post_gres:16@sha256:0")
    assert second.ports == (Port(number=6379), Port(number=53, protocol="UDP", name="dns"))
    assert second.health == Health(command=("sh", "-c", "redis-cli ping"), interval=0.5)
    assert (second.environment, second.cpu_limit.number, second.memory_limit.number) == ({"A": "1.10"}, 1000, 2**26)


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ("[{name: db}]", "A service needs `image`"),
        ("[{image: db, name: D_B}]", "is not the name of a host"),
        ("[db, db]", "Two services are called `db`"),
        ("[{image: a, alias: db}, db]", "Two services are called `db`"),
        ("[{image: a, ports: [70000]}]", "from 1 to 65535"),
        ("[{image: a, ports: [{protocol: TCP}]}]", "A port needs `number`"),
        ("[{image: a, health: {retries: 0}}]", "from 1 to 1000"),
        ("[{image: a, volume: x}]", "did you mean `volumes`?"),
    ],
)
def test_what_is_wrong_with_services_is_told(services, words):
    (problem,) = bad(BOX + f"services: {services}\n")
    assert words in f"{problem.message} ({problem.expected})" and problem.line == 5


# --- volumes and places


def test_volumes_are_read_in_every_form():
    found = task_of(
        BOX + "volumes:\n- {named: /n}\n- /srv:/srv:ro\n- data:/data\n- /scratch\n"
        "- host_path: [{name: h, mount_path: /h}]\n  empty_dir: {name: e, mount_path: /e, medium: Memory}\n"
    ).mounts
    told = [(volume.kind, volume.name, volume.mount_path, volume.host_path) for volume in found]
    assert told == [
        ("named", "named", "/n", ""),
        ("host_path", "srv", "/srv", "/srv"),
        ("named", "data", "/data", ""),
        ("empty_dir", "scratch", "/scratch", ""),
        ("host_path", "h", "/h", "/h"),
        ("empty_dir", "e", "/e", ""),
    ]
    assert found[1].read_only and found[5].medium == "Memory"


def test_what_kubernetes_alone_has_is_read():
    task = task_of(
        BOX + "  volumes:\n    secret: [{name: s, mount_path: /s, items: [{key: a, path: b/c}]}]\n"
        "    projected:\n    - {name: p, mount_path: /p, sources: [{secret: {name: t}},\n"
        "       {service_account_token: {path: x, audience: y, expiration_seconds: 900}}]}\n"
        "method: KUBERNETES\nnode_selector: {disk: ssd}\nnode_tolerations: {gpu=true: NoSchedule, spot: ''}\n"
        "affinity:\n  required_during_scheduling_ignored_during_execution:\n    node_selector_terms:\n"
        "    - match_expressions: [{key: zone, operator: In, values: [a, b]}]\n"
        "  preferred_during_scheduling_ignored_during_execution:\n"
        "  - {weight: 5, preference: {match_fields: [{key: metadata.name, operator: Exists}]}}\n"
        "pod_labels: {team: a}\npod_annotations: {a.example/b: any text}\nservice_account: builder\n"
    )
    first, second = task.mounts
    assert first.items == {"a": "b/c"} and [one.kind for one in second.sources] == ["secret", "service_account_token"]
    assert second.sources[1].expiration_seconds == 900
    assert (task.node_selector, task.node_tolerations) == ({"disk": "ssd"}, {"gpu=true": "NoSchedule", "spot": ""})
    assert task.affinity.required[0].match_expressions[0].values == ("a", "b")
    assert task.affinity.preferred[0].weight == 5 and task.service_account == "builder"
    assert (task.pod_labels, task.pod_annotations) == ({"team": "a"}, {"a.example/b": "any text"})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("node_selector: {a b: c}", "is no name for `node_selector`"),
        ("pod_labels: {a: b c}", "is no value for `pod_labels`"),
        ("node_tolerations: {a: Never}", "is not the effect of a taint"),
        ("affinity: {node_affinity: {}}", "is not a key of affinity"),
        (
            "affinity: {preferred_during_scheduling_ignored_during_execution: [{preference: "
            "{match_expressions: [{key: a, operator: In}]}}]}",
            "`In` needs values",
        ),
        ("volumes: {pvc: [{name: a, mount_path: /a}]}\nmethod: DOCKER", "Kubernetes' own"),
        ("network_mode: a b", "is not a network"),
        ("service_account: A", "is not an account"),
        ("helper: {memory_limit: 1Gi}", "This helper has no image"),
        (f"services: [{', '.join(f's{n}' for n in range(33))}]", "There are 33 services"),
    ],
)
def test_what_is_wrong_with_places_is_told(lines, words):
    (problem,) = bad(f"{BOX}{lines}\n")
    assert words in problem.message


# --- where keys mean nothing


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("host_network: true", "`host_network` means nothing here: SHELL runs in no container"),
        ("method: SHELL\ncontainer: {image: a}", "`container` means nothing here"),
        ("method: HTTP_GET\nservices: [a]", "`services` means nothing here"),
        ("method: DOCKER\ncontainer: {image: a}\nnode_selector: {a: b}", "Docker places no pods"),
        ("method: KUBERNETES\ncontainer: {image: a}\nnetwork_mode: none", "a pod has a network of its own"),
    ],
)
def test_a_key_that_means_nothing_is_a_warning(lines, words):
    """language.md: where they mean nothing (host_network on SHELL): a warning."""
    script = "https://a.example/" if "HTTP" in lines else "x"
    (warning,) = (found := one(f"job_type: a\nscript: {script}\n{lines}\n")).warnings
    assert words in warning.message and found.definition
    if "in no container" in words:
        assert risks(found.definition.tasks[0]) == []


def test_messages_go_to_a_queue():
    task = task_of("job_type: a\nmethod: MESSAGING\nmessaging_request_queue: q\nmessaging_reply_queue: r\n")
    assert (task.messaging_request_queue, task.messaging_reply_queue, task.checkout.enabled) == ("q", "r", False)
    (problem,) = bad("job_type: a\nmethod: MESSAGING\n")
    assert "to which queue" in problem.message
    (problem,) = bad(SHORT + "messaging_request_queue: q\n")
    assert "tasks of the method MESSAGING" in problem.message


# --- taint and secrets

#: How each place whose text is code is written.
CODE = {
    "image": "container: {image: 'a:{{ X }}'}",
    "entrypoint": "container: {image: a, entrypoint: ['{{ X }}']}",
    "command": "container: {image: a, command: [sh, -c, 'x {{ X }}']}",
    "user": "container: {image: a, user: '{{ X }}'}",
    "devices": "container: {image: a, devices: ['/dev/{{ X }}']}",
    "bind_dir": "container: {image: a, bind_dir: '/srv/{{ X }}:/srv'}",
    "helper": "container: {image: a}\nhelper: {image: '{{ X }}'}",
    "volumes": "container: {image: a}\nvolumes: ['/{{ X }}:/a']",
    "volumes of the container": "container: {image: a, volumes: {host_path: [{name: b, mount_path: '/{{ X }}'}]}}",
    "name of a volume": "container: {image: a, volumes: {'{{ X }}': /a}}",
    "services": "container: {image: a}\nservices: [{name: b, image: '{{ X }}'}]",
    "command of a service": "container: {image: a}\nservices: [{image: b, command: ['{{ X }}']}]",
    "health": "container: {image: a}\nservices: [{image: b, health: {command: 'x {{ X }}'}}]",
    "privileged": "container: {image: a}\nprivileged: '{{ X }}'",
    "host_network": "container: {image: a}\nhost_network: '{{ X }}'",
    "network_mode": "container: {image: a}\nnetwork_mode: '{{ X }}'",
    "node_selector": "container: {image: a}\nnode_selector: {a: '{{ X }}'}",
    "node_tolerations": "container: {image: a}\nnode_tolerations: {a: '{{ X }}'}",
    "affinity": "container: {image: a}\naffinity: {required_during_scheduling_ignored_during_execution: "
    "{node_selector_terms: [{match_expressions: [{key: a, operator: In, values: ['{{ X }}']}]}]}}",
    "pod_labels": "container: {image: a}\npod_labels: {a: '{{ X }}'}",
    "service_account": "container: {image: a}\nservice_account: '{{ X }}'",
    "messaging_request_queue": "method: MESSAGING\nmessaging_request_queue: '{{ X }}'",
    "messaging_reply_queue": "method: MESSAGING\nmessaging_request_queue: q\nmessaging_reply_queue: '{{ X }}'",
}


@pytest.mark.parametrize("place", CODE)
def test_what_outsiders_write_becomes_no_code(place):
    """T6."""
    text = jobs("script: x", CODE[place])
    found = refused(lambda: attempt(text, 0, names({"X": "$(evil) x"}, ["X"]), "a"))
    assert any("may not become code" in problem.message for problem in found)


def test_no_key_that_is_code_is_left_out_above():
    assert {name for name, key in KEYS.items() if key.code} <= CODE.keys()


def test_what_outsiders_write_may_be_a_value_of_a_service():
    text = BOX + "services: [{image: b, environment: {A: '{{ X }}'}}]\npod_annotations: {a: '{{ X }}'}\n"
    task = attempt(text, 0, names({"X": "$(evil) x"}, ["X"]), "a")
    assert task.services[0].environment == {"A": "$(evil) x"} and task.pod_annotations == {"a": "$(evil) x"}


def test_secrets_stay_tokens_and_are_the_tasks_own():
    """T8; language.md: without `secrets` a task sees those that its text names."""
    text = jobs(
        "script: x",
        "container: {image: 'registry.example/{{ Team }}/a'}",
        "services: [{image: b, environment: {PASSWORD: '{{ Db }}'}}]",
    )
    task = attempt(text, 0, names(secrets={"Team": "hidden-team", "Db": "hidden-db", "Other": "hidden"}), "a")
    assert "hidden" not in repr(task) and secrets_of(task) == {"Team", "Db"}


# --- when what is known


LATE = """job_type: a
tasks:
- {task_type: a, script: x}
- task_type: b
  needs: [a]
  script: x
  container: {image: "{{ a.i }}", memory_limit: "{{ a.m }}", user: "{{ a.u }}", entrypoint: ["{{ a.e }}"],
    volumes: ["{{ a.v }}:/x", "/b:/x{{ a.v }}", {"{{ a.k }}": "{{ a.v }}"}], pull_policy: "{{ a.p }}"}
  services: [{name: "{{ a.n }}", image: "{{ a.i }}", ports: ["{{ a.port }}"], health: {interval: "{{ a.d }}"}}, x]
  privileged: "{{ a.t }}"
  node_selector: {x: "{{ a.s }}", "{{ a.k }}": b}
  network_mode: "{{ a.net }}"
  affinity: {required_during_scheduling_ignored_during_execution: {node_selector_terms: [
    {match_expressions: [{key: "{{ a.k }}", operator: "{{ a.o }}", values: ["{{ a.s }}"]}]}]}}
"""
TOLD = {"i": "alpine", "m": "1Gi", "u": "root", "e": "/x", "v": "/srv", "p": "always", "n": "db", "port": "5432"} | {
    "d": "2s", "t": True, "s": "ssd", "k": "zone", "net": "none", "o": "In",
}  # fmt: skip


def test_what_another_task_says_is_put_in_by_the_attempt():
    """language.md: each attempt renders its own task's other fields; a wrong one fails the task, and not the job."""
    assert one(LATE).problems == ()
    planned = plan(LATE, 0, names()).definition.tasks[1]
    assert (planned.method, planned.image, planned.container.volumes) == (CONTAINER, "", ())
    task = attempt(LATE, 0, names({"a": TOLD}), "b")
    assert (task.image, task.container.memory_limit.number, task.container.pull_policy) == ("alpine", 2**30, "always")
    assert [volume.mount_path for volume in task.mounts] == ["/x", "/x/srv", "/srv"] and task.privileged
    assert [service.name for service in task.services] == ["db", "x"] and task.services[0].ports[0].number == 5432
    assert task.node_selector == {"x": "ssd", "zone": "b"} and task.affinity.required[0].match_expressions
    found = refused(lambda: attempt(LATE, 0, names({"a": {**TOLD, "m": "lots", "u": "a b", "n": "A_B"}}), "b"))
    assert len(found) == 3 and all(problem.expected for problem in found)


# --- the go dialect


def go(text):
    (found,) = load(text, path="ci.yml", dialect="go")
    return found


def test_the_go_dialect_lets_pass_what_the_original_does():
    found = go(
        "job_type: a\ntasks:\n- task_type: b\n  method: KUBERNETES\n  host_network: true\n  script: [x]\n"
        "  container: {memory_limit: 500m, volumes_from: [x], image: 'a:{{.Missing}}'}\n"
    )
    assert not found.problems and len(found.warnings) == 2
    assert found.definition.tasks[0].container.memory_limit is None and risks(found.definition.tasks[0])
