"""From a tree to a job: which keys stand where, what a task inherits from its job, and what the graph says about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, Final

from formicary.runner.core.definition import (
    Checkout,
    JobDefinition,
    Param,
    Retry,
    TaskDefinition,
    Value,
)
from formicary.runner.core.graph import WAITS, GraphError, check
from formicary.runner.core.language.joined import SPACE
from formicary.runner.core.language.limits import MAX_TASKS, Fault
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.language.run import Doubt
from formicary.runner.core.loading.approving import fitting
from formicary.runner.core.loading.containers import containing, merged
from formicary.runner.core.loading.forking import suiting
from formicary.runner.core.loading.keys import DEFAULTS, JOB, RETRIES, TASK, params
from formicary.runner.core.loading.plugins import check_whole
from formicary.runner.core.loading.reader import Reader, Unread, When
from formicary.runner.core.loading.requesting import requesting
from formicary.runner.core.loading.shapes import UNKNOWN, variables
from formicary.runner.core.loading.table import Key, Table, read
from formicary.runner.core.loading.words import value_of
from formicary.runner.core.names import secrets_named

_TASKS: Final = Key(lambda reader, node: node, "tasks")
_FULL: Final = {**JOB.keys, **DEFAULTS, "tasks": _TASKS}
_TASK_ONLY: Final = TASK.keys.keys() - _FULL.keys()
FULL: Final = Table("a job", _FULL, elsewhere=frozenset(_TASK_ONLY))
"""A job with `tasks`."""
SHORT: Final = Table("a job", {**TASK.keys, **JOB.keys, "url": TASK.keys["url"]})
"""A job that is its only task."""
_JOB_FIELDS: Final = frozenset(JobDefinition.model_fields)
_TASK_FIELDS: Final = frozenset(TaskDefinition.model_fields)
#: Keys of a job and of a task that in a short job are the job's alone: who is to be told is told once.
_OF_THE_JOB: Final = frozenset({"description", "webhook", "notify", "resources"})
#: A block of the source that holds one of these shapes the graph.
_SHAPES: Final = re.compile(
    r"^[ \t]*(?:-[ \t]+)?(?:"
    + "|".join(name for name, key in TASK.keys.items() if not key.late or name == "container")
    + r")[ \t]*:",
    re.M,
)


class Document:
    """One reading of one rendered document."""

    def __init__(
        self, reader: Reader, source: str, *, own: bool = False, line: Callable[[int], int] = lambda offset: 0
    ) -> None:
        self.own = own
        """Whether this rendering has the variables of the one task that is read from it."""
        self.again: dict[str, frozenset[str]] = {}
        """The names that shape a task, of those that are shaped by variables of their own."""
        self.reader = reader
        self.source = source
        self.line = line
        """The line, in its file, of an offset of the source."""
        self.root = reader.rendered.tree

    # --- what a rendering needs to know before it can be right

    def givens(self) -> tuple[dict[str, Value], dict[str, Value], frozenset[str]]:
        """Defaults of params; job_variables, and which of them are tainted."""
        defaults: dict[str, Value] = {}
        values: dict[str, Value] = {}
        declared: dict[str, Param] = {}
        tainted: frozenset[str] = frozenset()
        node = self._under("params")
        if node is not None:
            found = self.reader.attempt(partial(params, self.reader, node), declared)
            defaults = {name: param.default for name, param in found.items() if param.default is not None}
        node = self._under("job_variables")
        if node is not None:
            values, tainted = self.reader.attempt(partial(variables, self.reader, node), (values, tainted))
        return defaults, values, tainted

    def task_variables(self, task_type: str) -> tuple[dict[str, Value], frozenset[str]]:
        task = self.task_node(task_type)
        node = None if task is None else value_of(task, "variables")
        if node is None:
            return {}, frozenset()
        nothing: tuple[dict[str, Value], frozenset[str]] = ({}, frozenset())
        return self.reader.attempt(partial(variables, self.reader, node), nothing)

    def _under(self, name: str) -> Node | None:
        return value_of(self.root, name) if isinstance(self.root, MappingNode) else None

    # --- the job

    def job(self) -> JobDefinition | None:
        """The job, or None where it has no name; what is wrong is told to the reader."""
        reader = self.reader
        root = reader.mapping(_or_fail(reader, self.root), "A job")
        tasks = value_of(root, "tasks")
        fields = self._fields(root, tasks is not None)
        if "job_type" not in fields:
            if value_of(root, "job_type") is None:
                reader.tell(root, "This job has no `job_type`", "name it: `job_type: build`")
            return None
        self._one_schedule(root, fields)
        made = list(self.tasks(tasks, fields)) if tasks is not None else [self._made(_short_task(fields), root, fields)]
        if tasks is None and not fields.get("script") and made[0].method == "SHELL" and not reader.faults:
            reader.tell(root, "This job does nothing", "write `script:` or `tasks:`")
        check_whole(reader, root, tasks, fields, made)
        return JobDefinition(**_job_fields(fields, tasks is None), tasks=tuple(made))

    def _one_schedule(self, root: MappingNode, fields: dict[str, Any]) -> None:
        """`triggers: {schedule: …}` is another way to write `cron_trigger`."""
        schedule = fields["triggers"].schedule if "triggers" in fields else ""
        if schedule and fields.get("cron_trigger"):
            told = "The job has a `cron_trigger` and a `schedule` among its triggers"
            self.reader.tell(value_of(root, "cron_trigger") or root, told, "keep one of the two")
        if schedule:
            fields["cron_trigger"] = schedule
        if "triggers" in fields and fields["job_type"] in fields["triggers"].completed:
            told = "A job cannot follow itself"
            self.reader.tell(value_of(root, "triggers") or root, told, "take it out of `completed`")

    def _fields(self, root: MappingNode, full: bool) -> dict[str, Any]:
        if full:
            for key, _ in list(root.pairs):
                if key.text in _TASK_ONLY:
                    self.reader.question(
                        key, f"`{key.text}` is a key of a task, not of a job with tasks", "move it to a task"
                    )
        unwanted = _TASK_ONLY if full else frozenset()
        # `.name: &name …` is where people keep what anchors share.
        allowed = [(key, value) for key, value in root.pairs if key.text not in unwanted and key.text[:1] != "."]
        root = MappingNode(root.start, root.end, allowed)
        return (FULL if full else SHORT).read(self.reader, root)

    # --- its tasks

    def task_nodes(self) -> list[MappingNode]:
        tasks = self._under("tasks")
        if tasks is None:
            return [self.root] if isinstance(self.root, MappingNode) else []
        return [item for item in self.reader.flat(tasks) if isinstance(item, MappingNode)]

    def task_node(self, task_type: str) -> MappingNode | None:
        if self._under("tasks") is None:
            return self.root if isinstance(self.root, MappingNode) else None
        return self._nodes_by_name.get(task_type)

    @cached_property
    def _nodes_by_name(self) -> dict[str, MappingNode]:
        found: dict[str, MappingNode] = {}
        for node in self.task_nodes():
            name = value_of(node, "task_type")
            if isinstance(name, Scalar):
                text = name.text if not name.token else self.reader.attempt(partial(self.reader.text, name), "")
                found.setdefault(text.strip(), node)
        return found

    def tasks(self, node: Node, job: Mapping[str, Any]) -> Iterator[TaskDefinition]:
        reader = self.reader
        if not isinstance(node, Sequence):
            reader.tell(
                node, f"A list of tasks was expected here, and this is {reader.kind(node)}", "write `- task_type: a`"
            )
            return
        items = list(reader.flat(node))
        if len(items) > MAX_TASKS:
            reader.tell(items[MAX_TASKS], f"The job has more than {MAX_TASKS} tasks", "split the job")
            return
        if not items:
            reader.tell(node, "This job has no tasks", "write `- task_type: …` with a `script`")
        for item in items:
            task = reader.attempt(partial(self.task, item, job), None)
            if task is not None:
                yield task

    def task(self, node: Node, job: Mapping[str, Any]) -> TaskDefinition | None:
        reader = self.reader
        fields = self._task_fields_of(reader.mapping(node, "A task"))
        if "task_type" not in fields:
            if value_of(node, "task_type") is None:
                reader.tell(node, "This task has no `task_type`", "name it: `task_type: test`")
            return None
        return self._made(_task_fields(fields, job), node, fields)

    def _made(self, fields: dict[str, Any], node: Node, written: Mapping[str, Any]) -> TaskDefinition:
        """The task; in the go dialect its lines have shells of their own, and nothing is checked out unasked."""
        for judge in (containing, fitting, suiting, requesting):
            fields = judge(self.reader, node, fields, written)
        if self.reader.go:
            fields = {"checkout": Checkout(enabled=False), "fresh_shell": True, **fields}
        return TaskDefinition(**fields)

    def _task_fields_of(self, node: MappingNode) -> dict[str, Any]:
        """The fields of a task. One whose shape is made of its own variables is read again, with these (`again`)."""
        reader = self.reader
        before = len(reader.faults)
        reader.used.clear()
        fields = TASK.read(reader, node)
        values, _ = fields.get("variables") or ({}, None)
        matrix = fields.get("matrix")
        own = {*values, *(matrix.names if matrix else ())}
        if reader.when is When.PLAN and not self.own and not reader.used.isdisjoint(own):
            del reader.faults[before:]
            self.again[fields.get("task_type", "")] = frozenset(reader.used)
        return fields

    def one_task(self, task_type: str) -> TaskDefinition | None:
        """Only this task, with what it inherits."""
        reader = self.reader
        root = reader.mapping(_or_fail(reader, self.root), "A job")
        node = self.task_node(task_type)
        if node is None:
            return None
        if node is root:
            fields = SHORT.read(reader, root)
            task = self._made(_short_task(fields), root, fields)
            self._only_its_secrets(task, root)
            return task if task.task_type == task_type else None
        job = {}
        for key, value in root.pairs:
            if key.text in DEFAULTS:
                job[key.text] = reader.attempt(partial(read, reader, DEFAULTS[key.text], value), None)
        found = self.task(node, {name: value for name, value in job.items() if value is not None})
        if found is not None:
            self._only_its_secrets(found, node)
        return found

    def _only_its_secrets(self, task: TaskDefinition, node: MappingNode) -> None:
        """Tell a secret that the text names and `secrets` does not: it would be empty without a word."""
        named = secrets_named(task) & self.reader.configs
        for name in sorted(named - self.reader.secrets):
            told = f"This task names the secret `{name[:60]}`, and this run gets none"
            self.reader.tell(
                node, told, "what outsiders have sent in runs without secrets; skip the task with `except`"
            )
        if task.secrets is None:
            return
        for name in sorted(named & self.reader.secrets - set(task.secrets)):
            place = value_of(node, "secrets") or node
            self.reader.tell(place, f"This task names the secret `{name[:60]}`, which is not among these", "add it")

    # --- what is wrong beyond single values

    def graph(self, job: JobDefinition) -> None:
        """Tell what is wrong with the graph; unknown targets are not known to be so while a task has no name yet."""
        if any(task.task_type == UNKNOWN for task in job.tasks):
            return
        if self._many_unknown(job):
            return
        known = {task.task_type for task in job.tasks}
        for error in check(job):
            node = self._place(error.task, error.key, error.value)
            also = [self.reader.rendered.origin(self._place(*place).start) for place in error.also]
            lines = sorted({self.line(offset) for offset in also})
            what, remedy = _sentence(error)
            more = f"see also line {', '.join(map(str, lines[:20]))}" if lines else ""
            lost = error.key in WAITS and error.value not in known
            tell = self.reader.question if lost else self.reader.tell
            tell(node, what, "; ".join(filter(None, (remedy, more))) or "change one of the two")

    def _many_unknown(self, job: JobDefinition) -> bool:
        """Tell unknown targets without looking for the names nearest to them, where that would take long."""
        known = {task.task_type for task in job.tasks}
        edges = [(task, key, name) for task in job.tasks for key in WAITS for name in getattr(task, key)]
        if len(edges) > MAX_EDGES:
            self.reader.tell(
                _or_fail(self.reader, self.root), f"The tasks have more than {MAX_EDGES:,} needs", "group them"
            )
            return True
        unknown = [(task, key, name) for task, key, name in edges if name not in known]
        if len(unknown) <= 10:
            return False
        for task, key, name in unknown:
            node = self._place(task.task_type, key, name)
            self.reader.question(node, f"`{name[:60]}` under `{key}` is not a task of this job", "check the names")
        return not self.reader.go

    def _place(self, task: str, key: str, value: str) -> Node:
        node = self.task_node(task) or _or_fail(self.reader, self.root)
        found = value_of(node, key)
        if found is None:
            return node
        return next((scalar for scalar in _scalars(found) if self._is(scalar, value)), found)

    def _is(self, scalar: Scalar, value: str) -> bool:
        return self.reader.attempt(partial(self.reader.text, scalar), "").strip() == value

    def doubts(self, only: str = "", within: str = "") -> None:
        """Tell the decisions of control flow that stand on missing names, but for those that are made again later."""
        for doubt in self.reader.rendered.doubts:
            if doubt.missing and self.reader.when is When.LOAD:
                continue
            task, key = self._around(doubt)
            if (only and task is not None and task is not self.task_node(only)) or within not in ("", key):
                continue
            if self.reader.when is When.PLAN and key in TASK.keys and TASK.keys[key].late and not self._shapes(doubt):
                continue
            if doubt.fault is not None:
                self.reader.add(doubt.fault)
            elif not self.reader.go:
                place = doubt.about.place_of(doubt.missing)
                self.reader.attempt(partial(self.reader.missing, doubt.missing, place), None)

    def _around(self, doubt: Doubt) -> tuple[MappingNode | None, str]:
        task = None
        for node in self.task_nodes():
            if node.start > doubt.index:
                break
            task = node
        if task is not None and task.start // SPACE != doubt.index // SPACE:
            task = None  # it stands in another file
        key = ""
        for name, _ in task.pairs if task is not None else ():
            if name.start <= doubt.index:
                key = name.text
        return task, key

    def _shapes(self, doubt: Doubt) -> bool:
        start = doubt.about.offset
        end = next((high for low, high in self.reader.blocks if low == start), start)
        return bool(_SHAPES.search(self.source, start, end))


MAX_EDGES: Final = 5_000


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _scalars(item)
    else:
        for _, value in node.pairs:
            yield from _scalars(value)


def _or_fail(reader: Reader, root: Node | None) -> Node:
    if root is None:
        reader.add(Fault(0, "The document is empty", "write `job_type:` and `script:`"))
        raise Unread
    return root


def _sentence(error: GraphError) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    what, _, remedy = error.message.partition("; ")
    what = what[:1].upper() + what[1:]
    return (what if len(what) <= 600 else what[:600] + "…"), remedy


def _with_retry(fields: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    if not RETRIES.keys().isdisjoint(fields):
        kept["retry"] = Retry(
            attempts=fields.get("retry", 0),
            delay=fields.get("delay_between_retries", 0.0),
            backoff=fields.get("retry_backoff_policy"),
        )
    return kept


def _job_fields(fields: dict[str, Any], short: bool) -> dict[str, Any]:
    kept = {name: value for name, value in fields.items() if name in _JOB_FIELDS and name not in RETRIES}
    kept.pop("tasks", None)
    if "job_variables" in kept:
        kept["job_variables"], tainted = kept["job_variables"]
        kept["tainted_variables"] = tuple(sorted(tainted))
    # The one task of a short job takes `retry` for itself: twice would be times itself.
    return kept if short else _with_retry(fields, kept)


def _task_fields(fields: dict[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: job[name] for name in DEFAULTS if name in job}
    kept.update((name, value) for name, value in fields.items() if name in _TASK_FIELDS and name not in RETRIES)
    if "environment" in fields and "environment" in job:
        kept["environment"] = {**job["environment"], **fields["environment"]}
    if "container" in fields:
        kept["container"] = merged(job.get("container"), fields["container"])
    if "variables" in kept:
        kept["variables"], tainted = kept["variables"]
        kept["tainted_variables"] = tuple(sorted(tainted))
    return _with_retry(fields, kept)


def _short_task(fields: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in fields.items() if name not in _OF_THE_JOB}
    own.setdefault("task_type", fields.get("job_type", UNKNOWN))
    return _task_fields(own, {})
