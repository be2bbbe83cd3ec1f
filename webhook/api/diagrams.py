"""A job's graph with its tasks' states, as text for Graphviz and for Mermaid. Names are data: they are escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.execution import Execution
from formicary.runner.core.graph import Graph, transitions
from formicary.runner.core.states import State

_FILL: Final = {
    State.COMPLETED: "#cfe8d5",
    State.FAILED: "#f4c7c3",
    State.SKIPPED: "#e3e3e3",
    State.CANCELLED: "#e3e3e3",
    State.READY: "#fbe8b8",
    State.STARTED: "#fbe8b8",
    State.EXECUTING: "#fbe8b8",
}
_PLAIN: Final = "#ffffff"


def dot_of(definition: JobDefinition, execution: Execution) -> str:
    lines = [f"digraph {_dot(definition.job_type)} {{", "  rankdir=LR;", '  node [shape=box, style="filled"];']
    for name, state in _nodes(definition, execution):
        label = _dot(f"{name}\n{state}")
        lines.append(f'  {_dot(name)} [label={label}, fillcolor="{_FILL.get(state, _PLAIN)}"];')
    lines += [f"  {_dot(a)} -> {_dot(b)} [label={_dot(label)}];" for a, b, label in _edges(definition)]
    return "\n".join([*lines, "}", ""])


def mermaid_of(definition: JobDefinition, execution: Execution) -> str:
    ids: dict[str, str] = {}
    lines = ["flowchart LR"]
    for name, state in _nodes(definition, execution):
        ids[name] = f"t{len(ids)}"
        lines.append(f'  {ids[name]}["{_mermaid(name)}<br>{state}"]')
        lines.append(f"  style {ids[name]} fill:{_FILL.get(state, _PLAIN)},color:#1b1f24")
    lines += [f"  {ids[a]} -->|{label}| {ids[b]}" for a, b, label in _edges(definition)]
    return "\n".join([*lines, ""])


def _nodes(definition: JobDefinition, execution: Execution) -> Iterator[tuple[str, State]]:
    for name in Graph.of(definition).order:
        run = execution.tasks.get(name)
        yield name, run.state if run else State.PENDING


def _edges(definition: JobDefinition) -> Iterator[tuple[str, str, str]]:
    """(from, to, why), each once."""
    known = {task.task_type for task in definition.tasks}
    found: dict[tuple[str, str, str], None] = {}
    for task in definition.tasks:
        name = task.task_type
        found.update({(name, target.name, key): None for key, target in transitions(task) if target.is_task})
        found.update({(need, name, "needs"): None for need in task.needs})
        found.update({(need, name, "dependencies"): None for need in task.dependencies})
    return (edge for edge in found if edge[0] in known and edge[1] in known)


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    """Everything but letters, digits and a few signs as a numeric entity, which Mermaid writes with `#`."""
    return "".join(char if char.isalnum() or char in " _-." else f"#{ord(char)};" for char in text)
