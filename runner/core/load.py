"""Joins language, keys and graph: text in; definitions out, or all that is wrong with it, each at its place.

A text is compiled once and rendered often: at load with sample values, for each execution (`plan`), for each attempt
(`attempt`). A document without a template is the same definition each time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from formicary.runner.core.definition import GO, NATIVE, Combination, Dialect, JobDefinition, TaskDefinition
from formicary.runner.core.errors import DefinitionError, Problem
from formicary.runner.core.forked import FanOut
from formicary.runner.core.language import source
from formicary.runner.core.language.fragments import packed
from formicary.runner.core.language.joined import Joined
from formicary.runner.core.language.limits import MAX_NODES, MAX_RENDERED, Budget, Fault
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.render import Rendered, end_of
from formicary.runner.core.loading.document import FULL, Document
from formicary.runner.core.loading.forking import fan_out_in
from formicary.runner.core.loading.reader import Enough, Reader, Unread, When
from formicary.runner.core.loading.samples import SAMPLE_NAMES
from formicary.runner.core.loading.units import FILES, Planned, Unit, problem
from formicary.runner.core.loading.variants import varied
from formicary.runner.core.names import JOB_VARIABLE, MATRIX, PARAM, TASK_VARIABLE, Names

_PASSES: Final = 4
"""A job variable may be made of another; so often the text is rendered until they stay the same."""
_NONE: Final[frozenset[str]] = frozenset()
_JOB_TYPE: Final = re.compile(
    r"""^job_type:[ \t]+(?:"([^"\n]+)"|'([^'\n]+)'|([^\s#'"{\[][^#\n]*?))[ \t]*(?:#.*)?$""", re.M
)


@dataclass(frozen=True)
class Loaded:
    """One YAML document of a file: a definition, or what is wrong with it."""

    path: str
    index: int
    text: str
    dialect: Dialect
    digest: str
    definition: JobDefinition | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    job_type: str | None


def load(
    text: str, *, path: str, dialect: Dialect = NATIVE, fragments: Mapping[str, str] | None = None
) -> tuple[Loaded, ...]:
    """Every document of a file, with all that is wrong with it. Never raises.

    `dialect` is where `template` names none; `fragments` are the texts that it may include, by their paths below
    `.formicary`. Without them the text is one that was loaded before: it carries what it includes.
    """
    if fragments is not None:
        try:
            text = packed(text, fragments)
        except Fault as fault:
            told = (problem(source.Lines(text), 0, fault, path),)
            return (Loaded(path, 0, text, dialect, _Digests(text).of(0, dialect), None, told, (), _guess(text)),)
    digests = _Digests(text)
    file = FILES.get(text, dialect)
    if file.fault is not None:
        told = (problem(file.lines, 0, file.fault, path),)
        return (Loaded(path, 0, text, dialect, digests.of(0, dialect), None, told, (), _guess(file.text)),)
    budget = Budget()
    return tuple(_loaded(unit, text, path, index, budget, digests) for index, unit in enumerate(file.units))


def stray(text: str, path: str) -> Problem | None:
    """What is wrong with a fragment that is a job: below `fragments/` nobody would run it."""
    job_type = _guess(source.normal(text))
    if job_type is None:
        return None
    told = f"The job `{job_type[:60]}` lies where fragments are, and is not run"
    return Problem(path, 0, 0, told, "move it to .formicary, or take its `job_type` out")


class _Digests:
    """Of the documents of one text, which is hashed once: it may be long, and they many."""

    def __init__(self, text: str) -> None:
        self.text = sha256(text.encode(errors="surrogatepass"))

    def of(self, index: int, dialect: Dialect) -> str:
        """What a text says depends on its dialect; that of native ones is as it always was."""
        found = self.text.copy()
        found.update((f"\n{index}" if dialect == NATIVE else f"\n{index}\n{dialect}").encode())
        return found.hexdigest()


def _guess(text: str) -> str | None:
    found = _JOB_TYPE.search(text)
    return next((part.strip() for part in found.groups() if part), None) if found else None


def _loaded(unit: Unit, text: str, path: str, index: int, budget: Budget, digests: _Digests) -> Loaded:
    job, faults, warnings = _read(unit, SAMPLE_NAMES, When.LOAD, budget)
    dialect = unit.compiled.dialect
    digest = digests.of(index, dialect)
    if faults or job is None:
        job_type = _guess(unit.text)
        return Loaded(path, index, text, dialect, digest, None, unit.problems(faults, path), (), job_type)
    unit.keep(Planned(job, frozenset(job.tainted_variables)))
    unit.defaults = {name: param.default for name, param in job.params.items() if param.default is not None}
    told = unit.problems(warnings, path, "warning")
    return Loaded(path, index, text, dialect, digest, job, (), told, job.job_type)


def plan(text: str, index: int, names: Names, *, path: str = "", dialect: Dialect = NATIVE) -> Planned:
    """The definition as one execution follows it. Raises DefinitionError."""
    unit = _unit(text, index, path, dialect)
    if unit.constant is not None:
        return unit.constant
    # Tasks that are shaped by variables of their own are rendered one by one.
    budget = Budget(rendered=8 * MAX_RENDERED, nodes=8 * MAX_NODES)
    job, faults, _ = _read(unit, names, When.PLAN, budget)
    if faults or job is None:
        raise DefinitionError(unit.problems(faults, path))
    planned = Planned(job, frozenset(job.tainted_variables))
    unit.keep(planned)
    return planned


def constant_plan(text: str, index: int, dialect: Dialect = NATIVE) -> Planned | None:
    """The plan of a document that says the same whatever the names are, once `plan` has made it."""
    file = FILES.get(text, dialect)
    return file.units[index].constant if file.fault is None and index < len(file.units) else None


def attempt(
    text: str, index: int, names: Names, task_type: str, *, path: str = "", dialect: Dialect = NATIVE
) -> TaskDefinition:
    """One task, rendered anew for an attempt. Raises DefinitionError."""
    unit = _unit(text, index, path, dialect)
    if unit.constant is None and unit.compiled.template is None:
        plan(text, index, names, path=path, dialect=dialect)
    task, faults = unit.tasks.get(task_type), list[Fault]()
    if unit.constant is None or (task and task.secrets and not names.open_secrets.issuperset(task.secrets)):
        task, faults = _read_task(unit, names, task_type, When.ATTEMPT, Budget())
    if faults or task is None:
        gone = Fault(-1, f"The task `{task_type}` is no longer in the definition", "it depends on values that changed")
        raise DefinitionError(unit.problems(faults or [gone], path))
    return task


def fan_out_of(
    text: str, index: int, names: Names, task_type: str, *, path: str = "", dialect: Dialect = NATIVE
) -> FanOut:
    """What a task says of the items it runs for, rendered while there is no item yet. Raises DefinitionError."""
    unit = _unit(text, index, path, dialect)
    if unit.constant is not None:
        task, faults = unit.tasks.get(task_type), list[Fault]()
        found = task.fan_out if task else None
    else:
        found, faults = _read_part(unit, names, task_type)
    if faults or found is None:
        gone = Fault(-1, f"The task `{task_type}` has no `fan_out` any more", "it depends on values that changed")
        raise DefinitionError(unit.problems(faults or [gone], path))
    return found


def _read_part(unit: Unit, names: Names, task_type: str) -> tuple[FanOut | None, list[Fault]]:
    try:
        rendered, names = _settled(unit, names, Budget(), task_type)
    except Fault as fault:
        return None, [fault]
    reader = _reader(unit, rendered, When.ATTEMPT, names)
    document = Document(reader, unit.text, own=True, line=unit.line)
    try:
        document.doubts(task_type, "fan_out")
        return fan_out_in(reader, document.task_node(task_type)), reader.faults
    except (Enough, Unread):
        return None, reader.faults


def _unit(text: str, index: int, path: str, dialect: Dialect) -> Unit:
    file = FILES.get(text, dialect)
    if file.fault is not None or index >= len(file.units):
        fault = file.fault or Fault(-1, f"The file has no document number {index}", "load it again")
        raise DefinitionError((problem(file.lines, 0, fault, path),))
    return file.units[index]


def _reader(unit: Unit, rendered: Rendered, when: When, names: Names) -> Reader:
    blocks = unit.compiled.template.blocks if unit.compiled.template else ()
    return Reader(
        rendered,
        when,
        names=tuple(names.values),
        secrets=names.open_secrets,
        configs=names.configs,
        blocks=blocks,
        go=unit.compiled.dialect == GO,
        included=isinstance(unit.compiled, Joined),
    )


def _settled(unit: Unit, names: Names, budget: Budget, task_type: str = "") -> tuple[Rendered, Names]:
    """A rendering whose own variables and defaults are among the names that it was made with. Raises Fault."""
    names = names.under(
        {name: value for name, value in unit.defaults.items() if names.rank(name) < PARAM}, _NONE, PARAM
    )
    for _ in range(_PASSES):
        rendered = unit.compiled.render(names.values, names.tainted, budget, names.seed)
        if rendered.run is None:
            break
        document = Document(_reader(unit, rendered, When.LOAD, names), unit.text)
        try:
            more = _with_givens(document, names, task_type)
        except Enough:
            break
        if more is names:
            break
        names = more
    return rendered, names


def _with_givens(document: Document, names: Names, task_type: str) -> Names:
    defaults, values, tainted = document.givens()
    found = names
    layers = [(values, tainted, JOB_VARIABLE)]
    layers.append(({name: value for name, value in defaults.items() if names.rank(name) < PARAM}, frozenset(), PARAM))
    if task_type:
        layers.append((*document.task_variables(task_type), TASK_VARIABLE))
    for layer, dirty, rank in layers:
        if any(_differs(found, name, layer[name], name in dirty, rank) for name in layer):
            found = found.under(layer, dirty, rank)
    return found


def _differs(names: Names, name: str, value: object, tainted: bool, rank: int) -> bool:
    if names.rank(name) > rank:
        return False
    now = names.values.get(name, _differs)
    return type(now) is not type(value) or now != value or (tainted and name not in names.tainted)


def _read(
    unit: Unit, names: Names, when: When, budget: Budget
) -> tuple[JobDefinition | None, list[Fault], list[Fault]]:
    faults = list(unit.compiled.faults)
    if unit.compiled.template is None and unit.compiled.faults:
        return None, faults, []
    try:
        rendered, names = _settled(unit, names, budget)
    except Fault as fault:
        return None, [*faults, fault], []
    reader = _reader(unit, rendered, when, names)
    document = Document(reader, unit.text, line=unit.line)
    job = None
    try:
        if when is When.LOAD:
            _static(unit, reader)
        document.doubts()
        job = document.job()
        if job is not None and document.again:
            job = _own_variables(unit, names, job, document, budget)
        if job is not None and not reader.faults:
            document.graph(job)
    except (Enough, Unread):
        job = None
    return job, faults + reader.faults, reader.warnings


def _own_variables(unit: Unit, names: Names, job: JobDefinition, document: Document, budget: Budget) -> JobDefinition:
    """Tasks whose shape is made of their own variables are read from a rendering that has these."""
    tasks = []
    for task in job.tasks:
        used = document.again.get(task.task_type)
        if used is not None and task.matrix and task.matrix.combinations:
            read = partial(_read_one, unit, names, task, document, budget)
            task = varied(task, task.matrix, used, read, partial(_differs_by, document, task))
        elif used is not None:
            task = _read_one(unit, names, task, document, budget) or task
        tasks.append(task)
    return job.model_copy(update={"tasks": tuple(tasks)})


def _read_one(
    unit: Unit, names: Names, task: TaskDefinition, document: Document, budget: Budget, one: Combination | None = None
) -> TaskDefinition | None:
    """The task as its own variables shape it, and as a combination of its matrix does; what is wrong is told."""
    if one is not None and task.matrix is not None:
        names = names.under(one.values, frozenset(task.matrix.tainted), MATRIX)
    found, faults = _read_task(unit, names, task.task_type, When.PLAN, budget)
    for fault in faults:
        document.reader.add(fault)
    return None if faults else found


def _differs_by(document: Document, task: TaskDefinition, key: str) -> None:
    told = f"`{key}` of a matrix task is the same for all its combinations"
    node = document.task_node(task.task_type)
    document.reader.tell(node or 0, told, "leave its variables out of it, or write several tasks")


def _read_task(
    unit: Unit, names: Names, task_type: str, when: When, budget: Budget
) -> tuple[TaskDefinition | None, list[Fault]]:
    if unit.compiled.template is None and unit.compiled.faults:
        return None, unit.compiled.faults
    try:
        rendered, names = _settled(unit, names, budget, task_type)
    except Fault as fault:
        return None, [fault]
    reader = _reader(unit, rendered, when, names)
    document = Document(reader, unit.text, own=True, line=unit.line)
    try:
        document.doubts(task_type)
        return document.one_task(task_type), reader.faults
    except (Enough, Unread):
        return None, reader.faults


def _static(unit: Unit, reader: Reader) -> None:
    """Tell templates in keys that are read where nothing is rendered."""
    if not isinstance(reader.rendered.tree, MappingNode) or reader.rendered.run is None:
        return
    for key, value in reader.rendered.tree.pairs:
        row = FULL.keys.get(key.text)
        if row is None or not row.static:
            continue
        start, end = reader.rendered.origin(key.start), reader.rendered.origin(end_of(value) - 1) + 1
        place = unit.compiled.region(start, max(end, start))
        if place is not None:
            reader.add(Fault(place, f"`{key.text}` may not hold a template", "it is read before anything is rendered"))
