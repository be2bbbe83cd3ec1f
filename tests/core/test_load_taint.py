"""T6: what an outsider can write reaches code as a plain word or not at all, by any way and in any place.

Ways are made of names (parameters, variables made from them, outputs), filters or functions, and statements. Places are
the keys of a task whose text is run, or says where it runs and who is told.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.runner.core.errors import DefinitionError
from formicary.runner.core.load import attempt, plan
from formicary.runner.core.loading.keys import TASK
from formicary.runner.core.names import names_for

PLAIN = re.compile(r"[A-Za-z0-9._/@:+=,%-]*")
VALUES = st.one_of(
    st.sampled_from(["$(evil)", "a;b", "'", '"', "-rf", "a\nb", "`x`", "\0", "😀", "{{ P }}", "Z", "main", "v1.2", ""]),
    st.lists(st.sampled_from([*"aZ.;-$ \n\"'{}#:", "{{", "\0", "é"]), max_size=6).map("".join),
)
NAMES = ("P", "J", "K", "V", "O", "prev.O", "L[0]", "M.key")
FILTERS = (
    "upper", "lower", "title", "capitalize", "trim", "string", "reverse", "tojson", 'default("x")', "truncate(5)",
    'replace("Z", ";")', 'replace("a", "$(b)")', 'removeprefix("Z")', 'removesuffix("a")', 'split("Z") | join(";")',
    'split(",") | first', "basename", "dirname", "list | join", "list | sort | join", "list | unique | last",
)  # fmt: skip
ROUNDABOUT = (
    "{{ %s }}", "{{ [%s] | first }}", '{{ %s if true else "b" }}', '{{ "b" if not true else %s }}', '{{ "" ~ %s }}',
    "{%% for c in [%s] %%}{{ c }}{%% endfor %%}", '{%% for c in [%s] %%}{{ ";" }}{%% endfor %%}',
    "{%% if true %%}{{ %s }}{%% endif %%}", '{{ ";" if %s else ";;" }}', '{{ {"k": %s}.k }}', '{{ (%s) and ";" }}',
)  # fmt: skip
GO_NAMES = (".P", "$.P", ".J", ".K", ".V", ".O", ".prev.O", "(index .L 0)", ".M.key", "(index . `P`)")
GO_FUNCTIONS = (
    "%s | upper", "%s | lower", "printf `%%s` %s", "printf `%%v;` %s", "default `x` %s", "replace `Z` `;` %s",
    "trimPrefix `Z` %s", "trimSuffix `a` %s", "or %s `b`", "and %s `;`", "Unescape %s",
    "printf `%%s-%%s` %s `x`", "lower (upper %s)",
)  # fmt: skip
GO_ROUNDABOUT = (
    "{{%s}}", "{{with $x := %s}}{{$x}}{{end}}", "{{if true}}{{%s}}{{end}}", "{{if false}}{{else}}{{%s}}{{end}}",
    "{{with Dict `k` (%s)}}{{.k}}{{end}}", "{{range $i := Iterate 1}}{{with $x := %s}}{{$x}}{{end}}{{end}}",
)  # fmt: skip

#: how each is written, and where it is found in the task
PLACES = {
    "script": ("script: ['WAY']", lambda task: task.script),
    "before_script": ("before_script: ['WAY']", lambda task: task.before_script),
    "after_script": ("after_script: ['WAY']", lambda task: task.after_script),
    "shell": ("shell: [sh, 'WAY']", lambda task: task.shell[1:]),
    "working_dir": ("working_dir: 'WAY'", lambda task: [task.working_dir]),
    "tags": ("tags: ['WAY']", lambda task: task.tags),
    "cache.key": ("cache: {key: 'WAY', paths: [a]}", lambda task: [task.cache[0].key]),
    "cache.key_paths": ("cache: {key_paths: ['WAY'], paths: [a]}", lambda task: task.cache[0].key_paths),
    "cache.fallback_keys": ("cache: {key: k, fallback_keys: ['WAY'], paths: [a]}", lambda t: t.cache[0].fallback_keys),
    "fork_job_type": ("method: FORK_JOB\n  fork_job_type: 'WAY'", lambda task: [task.fork_job_type]),
    "container.image": ("container: {image: 'WAY'}", lambda task: [task.container.image]),
    "container.entrypoint": ("container: {image: a, entrypoint: ['WAY']}", lambda task: task.container.entrypoint),
    "container.command": ("container: {image: a, command: ['WAY']}", lambda task: task.container.command),
    "container.user": ("container: {image: a, user: 'WAY'}", lambda task: [task.container.user]),
    "container.volumes": (
        "container: {image: a, volumes: {pvc: [{name: 'WAY', mount_path: /a}]}}",
        lambda task: [one.name for one in task.container.volumes],
    ),
    "services": ("container: {image: a}\n  services: [{name: b, image: 'WAY'}]", lambda t: [t.services[0].image]),
    "service_account": ("container: {image: a}\n  service_account: 'WAY'", lambda task: [task.service_account]),
    "network_mode": ("container: {image: a}\n  network_mode: 'WAY'", lambda task: [task.network_mode]),
    "recipients": (
        "notify: {email: {recipients: ['WAY@b.example']}}",
        lambda t: [r[:-10] for r in t.notify[0].recipients],
    ),
    "approval_policy": (
        "method: MANUAL\n  approval_policy: {escalation_recipients: ['WAY@b.example'], sla_deadline: 1h}",
        lambda task: [one[:-10] for one in task.approval_policy.escalation_recipients],
    ),
}
JOB = """job_type: ci
template: %s
job_variables: {J: '%s', K: '%s'}
tasks:
- task_type: t
  %s
  variables: {V: '%s'}
  %s
"""


def text_of(dialect, way, place):
    written = PLACES[place][0].replace("WAY", way)
    script = "" if place in ("script", "fork_job_type", "approval_policy") else "script: [done]"
    first, second, third = ("{{P}}", "{{J}}", "{{K}}") if dialect == "native" else ("{{.P}}", "{{.J}}", "{{.K}}")
    return JOB % (dialect, first, second, script, third, written)


@st.composite
def ways(draw):
    said = draw(st.sampled_from(NAMES))
    for one in draw(st.lists(st.sampled_from(FILTERS), max_size=3)):
        said += f" | {one}"
    return "native", draw(st.sampled_from(ROUNDABOUT)) % said


@st.composite
def go_ways(draw):
    said = draw(st.sampled_from(GO_NAMES))
    for one in draw(st.lists(st.sampled_from(GO_FUNCTIONS), max_size=2)):
        said = f"({one % said})"
    return "go", draw(st.sampled_from(GO_ROUNDABOUT)) % said


def rendered(text, value):
    """The task as an attempt runs it, with everything that came from outside; raises DefinitionError."""
    params = {"P": value, "L": [value], "M": {"key": value}}
    asked = {"built_in": {}, "params": params, "tainted_params": frozenset(params)}
    job = plan(text, 0, names_for(None, **asked)).definition
    outputs = {"outputs": {"prev": {"O": value}}, "outputs_tainted": True}
    return attempt(text, 0, names_for(job, **asked, **outputs, task=job.tasks[0]), "t")


@settings(max_examples=600, deadline=None)
@given(st.one_of(ways(), go_ways()), st.sampled_from(("", "x")), st.sampled_from(sorted(PLACES)), VALUES)
def test_no_way_leads_into_code(way, before, place, value):
    dialect, said = way
    text = text_of(dialect, before + said, place)
    try:
        task = rendered(text, value)
    except DefinitionError as error:
        assert all(problem.line and problem.expected for problem in error.problems)
        return
    for found in PLACES[place][1](task):
        assert PLAIN.fullmatch(found), f"{found!r} became code: {text}"
        assert not found.removeprefix(before).startswith("-")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dialect", ["native", "go"])
def test_a_plain_word_may_stand_there(dialect, place):
    """Or the test above would prove nothing."""
    task = rendered(text_of(dialect, "{{ P }}" if dialect == "native" else "{{.P}}", place), "v1.2")
    assert list(PLACES[place][1](task)) == ["v1.2"]


#: Those of containers have tests of their own, beside their other rules; a version has to look like one.
OTHERS = frozenset(
    {"privileged", "host_network", "volumes", "node_selector", "node_tolerations", "affinity", "pod_labels"}
    | {"messaging_request_queue", "messaging_reply_queue", "fork_job_version"}
)


def test_all_keys_that_are_code_are_tried():
    places = {place.partition(".")[0] for place in PLACES}
    assert {name for name, key in TASK.keys.items() if key.code} - places <= OTHERS
