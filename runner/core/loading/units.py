"""A file as it is kept while it is used: its documents, compiled with what they include, and where their places are.

What was compiled is remembered by its text and dialect; the longest unused goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from formicary.runner.core.definition import Dialect, JobDefinition, TaskDefinition, Value
from formicary.runner.core.errors import Problem
from formicary.runner.core.language import fragments as included
from formicary.runner.core.language import source
from formicary.runner.core.language.deferred import unmasked
from formicary.runner.core.language.dialect import dialect_of
from formicary.runner.core.language.joined import Joined, join
from formicary.runner.core.language.limits import MAX_FAULTS, Fault
from formicary.runner.core.language.render import Compiled, compile_document

_CACHED_CHARACTERS: Final = 2 * 1024 * 1024
_CACHED_FILES: Final = 256
_MAX_SOURCE_LINE: Final = 400


@dataclass(frozen=True)
class Planned:
    """A definition as one execution follows it; `tainted` are the job_variables that outsiders had a hand in."""

    definition: JobDefinition
    tainted: frozenset[str] = frozenset()


@dataclass
class Unit:
    """One document of a file, compiled."""

    lines: source.Lines
    offset: int
    compiled: Compiled
    constant: Planned | None = None
    tasks: dict[str, TaskDefinition] = field(default_factory=dict)
    defaults: dict[str, Value] = field(default_factory=dict)
    """Those of its params, once they are known: they are static, so a rendering may begin with them."""

    @property
    def text(self) -> str:
        return self.compiled.text

    def problems(self, faults: Iterable[Fault], path: str, severity: str = "error") -> tuple[Problem, ...]:
        found = {(fault.offset, fault.message): fault for fault in faults}
        ordered = sorted(found.values(), key=lambda fault: fault.offset)[:MAX_FAULTS]
        return tuple(self._problem(fault, path, severity) for fault in ordered)

    def _problem(self, fault: Fault, path: str, severity: str) -> Problem:
        lines, offset, fragment = self._part(fault.offset)
        return problem(lines, offset, fault, included.place(path, fragment) if fragment else path, severity)

    def _part(self, offset: int) -> tuple[source.Lines, int, str]:
        """The lines that hold an offset, what to add to it there, and the fragment's path, if it is one."""
        if isinstance(self.compiled, Joined) and (part := self.compiled.part_of(offset)).path:
            return source.Lines(unmasked(part.compiled.text)), -part.base, part.path
        return self.lines, self.offset, ""

    def line(self, offset: int) -> int:
        lines, more, _ = self._part(offset)
        return lines.place(offset + more)[0]

    def keep(self, planned: Planned) -> None:
        if self.compiled.template is None:
            self.constant = planned
            self.tasks = {task.task_type: task for task in planned.definition.tasks}


@dataclass
class File:
    text: str
    fault: Fault | None = None
    units: list[Unit] = field(default_factory=list)

    @cached_property
    def lines(self) -> source.Lines:
        return source.Lines(self.text)


def problem(lines: source.Lines, offset: int, fault: Fault, path: str, severity: str = "error") -> Problem:
    if fault.offset < 0:
        return Problem(path, 0, 0, fault.message, fault.expected, "", severity)
    line, column = lines.place(offset + fault.offset)
    written = lines.source(line)
    shown = written[:_MAX_SOURCE_LINE] if column <= _MAX_SOURCE_LINE else ""
    return Problem(path, line, column, fault.message, fault.expected, shown, severity)


class Files:
    """Compiled files by their text and dialect; the longest unused go first."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, Dialect], File] = {}
        self.characters = 0

    def get(self, text: str, dialect: Dialect) -> File:
        found = self.entries.pop((text, dialect), None)
        if found is None:
            found = _compile(text, dialect)
            self.characters += len(text)
        self.entries[text, dialect] = found
        while len(self.entries) > _CACHED_FILES or (self.characters > _CACHED_CHARACTERS and len(self.entries) > 1):
            self._forget_oldest()
        return found

    def _forget_oldest(self) -> None:
        try:
            oldest = next(iter(self.entries))
            del self.entries[oldest]
        except (KeyError, RuntimeError, StopIteration):
            return  # another thread was faster
        self.characters -= len(oldest[0])


FILES: Final = Files()


def _compile(text: str, dialect: Dialect) -> File:
    text, fragments = included.unpacked(text)
    text = source.normal(text)
    file = File(text)
    try:
        source.check(text)
        documents = source.documents(text)
        if not documents:
            raise Fault(-1, "The file holds no job", "write `job_type: …` and `script: …`")
    except Fault as fault:
        file.fault = fault
        return file
    known: dict[tuple[str, Dialect], Compiled] = {}
    for one in documents:
        compiled = compile_document(one.text, dialect_of(one.text, dialect))
        file.units.append(Unit(file.lines, one.offset, _with_fragments(compiled, fragments, known)))
    return file


def _with_fragments(own: Compiled, texts: Mapping[str, str], known: dict[tuple[str, Dialect], Compiled]) -> Compiled:
    """The document with what it includes; `known` are fragments that were compiled for others of its file."""
    try:
        wanted = included.wanted(own.text)
    except Fault as fault:
        return replace(own, template=None, faults=[*own.faults, fault])
    if not wanted:
        return own
    if (tag := own.region(wanted[0].offset, wanted[0].offset + 1)) is not None:
        told = Fault(tag, "`include` may not hold a template", "it is read before anything is rendered")
        return replace(own, template=None, faults=[*own.faults, told])
    lost = [one for one in wanted if one.path not in texts]
    if lost:
        faults = [Fault(one.offset, f"There is no fragment `{one.path}`", _not_there(texts)) for one in lost]
        return replace(own, template=None, faults=[*own.faults, *faults])
    for one in wanted:
        if (one.path, own.dialect) not in known:
            known[one.path, own.dialect] = _fragment(texts[one.path], own.dialect)
    return join(own, [(one.path, known[one.path, own.dialect]) for one in wanted])


def _not_there(texts: Mapping[str, str]) -> str:
    return f"commit it below .formicary{', or take ' + ', '.join(sorted(texts)[:5]) if texts else ''}"


def _fragment(text: str, dialect: Dialect) -> Compiled:
    try:
        source.check(text)
        documents = source.documents(text)
        if len(documents) > 1:
            raise Fault(documents[1].offset, "A fragment is one document", "put this into a fragment of its own")
    except Fault as fault:
        return Compiled(text, dialect, None, [fault])
    return compile_document(text, dialect)
