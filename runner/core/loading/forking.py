"""What a definition says about forked jobs, and which of a task's other keys make no sense there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from formicary.runner.core.definition import EXPIRE, MANUAL, MAX_NAME
from formicary.runner.core.forked import AWAIT, FORK, FORKS, MOST_CHILDREN, FanOut, SubWorkflow
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Sequence
from formicary.runner.core.loading.plugins import wanted_version
from formicary.runner.core.loading.reader import Reader
from formicary.runner.core.loading.shapes import fits, variables
from formicary.runner.core.loading.table import Key, Table, read

#: Keys of a task that say what an ant does; the queen needs none for these.
_OF_ANTS: Final = (
    *("script", "before_script", "after_script", "artifacts", "artifact_ids", "reports", "report_stdout"),
    *("resources", "cache"),
)
_OF_FORKS: Final = ("fork_job_type", "fork_job_version", "sub_workflow")
_NO_JOB: Final = "name it: `fork_job_type: encode`"


def sub_workflow(reader: Reader, node: Node) -> SubWorkflow:
    fields = SUB_WORKFLOW.read(reader, node)
    if "input_params" in fields:
        fields["input_params"], tainted = fields["input_params"]
        fields["tainted"] = tuple(sorted(tainted))
    return SubWorkflow(**fields)


def _outputs(reader: Reader, node: Node) -> dict[str, str]:
    """Names of the child's to names here: a mapping, a list of {name, value}, or a list of names that stay."""
    if isinstance(node, Sequence) and not any(isinstance(item, MappingNode) for item in node.items):
        return {name: name for name in reader.strings(node)}
    found, _ = variables(reader, node)
    return {name: str(value) for name, value in found.items()}


def fan_out(reader: Reader, node: Node) -> FanOut:
    before = len(reader.faults)
    fields = FAN_OUT.read(reader, node)
    if "source" in fields:
        fields["source"], fields["tainted"] = fields["source"]
    for key, remedy in (("source", "the list, or its name: `source: regions`"), ("item_var", "`item_var: region`")):
        if key not in fields and not _has(node, key) and len(reader.faults) == before:
            reader.tell(node, f"`fan_out` needs `{key}`", f"write {remedy}")
    return FanOut(**fields)


def fan_out_in(reader: Reader, task: Node | None) -> FanOut | None:
    """The `fan_out` of a task whose other keys are not read."""
    pairs = reader.pairs(task) if isinstance(task, MappingNode) else ()
    return next((read(reader, KEYS["fan_out"], value) for name, _, value in pairs if name == "fan_out"), None)


def _source(reader: Reader, node: Node) -> tuple[Any, bool]:
    before, reader.tainted = reader.tainted, False
    try:
        return reader.value(node), reader.tainted
    finally:
        reader.tainted = reader.tainted or before


def _name(reader: Reader, node: Node) -> str:
    text = reader.known(reader.scalar(node)).strip()
    if not text or len(text) > MAX_NAME or reader.empty(node):
        reader.fail(node, "A name is missing here", f"write a name of at most {MAX_NAME} characters")
    return text


_JOB: Final = Key(_name, "text", code=True)
_VERSION: Final = Key(wanted_version, "wanted_version", code=True)
SUB_WORKFLOW: Final = Table(
    "sub_workflow",
    {
        "input_params": Key(variables, "variables"),
        "output_variables": Key(_outputs, "output_variables"),
        "wait_for_completion": Key(Reader.boolean, "flag"),
    },
)
FAN_OUT: Final = Table(
    "fan_out",
    {
        "source": Key(_source, "value"),
        "item_var": Key(_name, "text"),
        "max_parallel": Key(fits(0, MOST_CHILDREN), "count"),
        "fail_fast": Key(Reader.boolean, "flag"),
        "fork_job_type": _JOB,
        "fork_job_version": _VERSION,
    },
)
#: The keys of a task that are about forked jobs.
KEYS: Final[Mapping[str, Key]] = {
    "fork_job_type": Key(_name, "text", late=True, code=True),
    "fork_job_version": Key(wanted_version, "wanted_version", late=True, code=True),
    "sub_workflow": Key(sub_workflow, "sub_workflow", late=True),
    "fan_out": Key(fan_out, "fan_out", late=True),
}


def suiting(reader: Reader, node: Node, fields: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a task, with what of them and forked jobs does not go together told. `written`: its own keys."""
    method = fields.get("method")
    told = (_of_fork(fields, node) if method == FORK else _of_await(fields)) if method in FORKS else _of_others(fields)
    for key, what, remedy in told:
        reader.tell(_place(node, key), what, remedy)
    if method == EXPIRE and (kept := fields.get("artifacts")) and kept.paths:
        what = f"An {EXPIRE} task keeps no artifacts: of `artifacts` it takes `expires_after` alone"
        reader.question(_place(node, "artifacts"), what, "remove `paths`")
    if method in FORKS and fields.get("always_run"):
        place = _place(node, "always_run")
        reader.tell(place, f"not supported: {method} with always_run", "the end of a job forks nothing; remove it")
    if method in FORKS or method == EXPIRE:
        for key in (key for key in _OF_ANTS if key in written and (key != "artifacts" or method in FORKS)):
            what = f"`{key}` means nothing here: no ant runs a task of the method {method}"
            reader.question(_place(node, key), what, "move it to another task")
    return fields


_Told = Iterator[tuple[str, str, str]]
"""(key, what is wrong, remedy)."""


def _of_others(fields: Mapping[str, Any]) -> _Told:
    fan: FanOut | None = fields.get("fan_out")
    if fan and fan.fork_job_type:
        yield "fan_out", "Only FORK_JOB forks a job", "write `method: FORK_JOB`"
    elif fan and fan.fork_job_version:
        yield "fan_out", "A version without a job says nothing", "name the job too: `fork_job_type`"
    elif fan and fields.get("method") == MANUAL:
        yield "fan_out", "A MANUAL task asks people, once: it cannot have a `fan_out`", "remove it"
    elif fan and fields.get("matrix"):
        yield "fan_out", "A task has a `matrix` or a `fan_out`", "keep one of the two"
    for key in _OF_FORKS:
        if key in fields:
            yield key, f"`{key}` is for tasks of the method FORK_JOB", "write `method: FORK_JOB`"
    if "await_forked_tasks" in fields:
        yield "await_forked_tasks", "Only AWAIT_FORKED_JOB waits for forked jobs", f"write `method: {AWAIT}`"


def _of_fork(fields: Mapping[str, Any], node: Node) -> _Told:
    fan: FanOut | None = fields.get("fan_out")
    if not _has(node, "fork_job_type") and not (fan and _has(_value(node, "fan_out"), "fork_job_type")):
        yield "method", "This does not say which job is forked", _NO_JOB
    elif "fork_job_type" in fields and fan and fan.fork_job_type not in ("", fields["fork_job_type"]):
        yield "fan_out", "Two jobs are named here, one of them in `fan_out`", "keep one of the two"
    sub: SubWorkflow | None = fields.get("sub_workflow")
    if fan and sub and sub.wait_for_completion is False:
        yield "sub_workflow", "A `fan_out` waits for its jobs", "remove `wait_for_completion: false`"
    if "await_forked_tasks" in fields:
        yield "await_forked_tasks", "Only AWAIT_FORKED_JOB waits for other tasks' jobs", f"write `method: {AWAIT}`"


def _of_await(fields: Mapping[str, Any]) -> _Told:
    if not fields.get("await_forked_tasks"):
        yield "method", "This does not say which forked jobs it waits for", "name tasks: `await_forked_tasks: [encode]`"
    for key in ("fork_job_type", "fork_job_version", "fan_out", "matrix"):
        if key in fields:
            yield key, f"`{key}` is nothing for AWAIT_FORKED_JOB", "fork in a task before this one"
    sub: SubWorkflow | None = fields.get("sub_workflow")
    if sub and (sub.input_params is not None or sub.wait_for_completion is False):
        yield "sub_workflow", "Of `sub_workflow`, AWAIT_FORKED_JOB takes `output_variables` alone", "remove the rest"


def _has(node: Node, key: str) -> bool:
    return isinstance(node, MappingNode) and any(name.text == key for name, _ in node.pairs)


def _value(node: Node, key: str) -> Node:
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return next((value for name, value in pairs if name.text == key), node)


def _place(node: Node, key: str) -> Node:
    pairs = node.pairs if isinstance(node, MappingNode) else ()
    return next((name for name, _ in pairs if name.text == key), node)
