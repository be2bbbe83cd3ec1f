"""A job's graph, with its tasks' states where it has run: as text for Graphviz and for Mermaid, and as an SVG file that
stands alone. Names are data: they are escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from formicary.runner.core.definition import JobDefinition
from formicary.runner.core.errors import NotSupported
from formicary.runner.core.execution import Execution
from formicary.runner.core.graph import Graph, transitions
from formicary.runner.core.states import State
from formicary.site import graph

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
_LONGEST: Final = 20
_STYLE: Final = """<style>
text { font: 13px system-ui, sans-serif; text-anchor: middle; fill: #1b1f24 }
text.state { font-size: 11px; fill: #57606a } text.why { font-size: 11px; fill: #8c959f }
rect { stroke: #8c959f } path { fill: none; stroke: #8c959f; stroke-width: 1.5 } path.fail { stroke-dasharray: 5 4 }
</style>"""


def dot_of(definition: JobDefinition, execution: Execution | None = None) -> str:
    lines = [f"digraph {_dot(definition.job_type)} {{", "  rankdir=LR;", '  node [shape=box, style="filled"];']
    for name, state in _nodes(definition, execution):
        label = _dot(f"{name}\n{state}" if state else name)
        lines.append(f'  {_dot(name)} [label={label}, fillcolor="{_fill(state)}"];')
    lines += [f"  {_dot(a)} -> {_dot(b)} [label={_dot(label)}];" for a, b, label in _edges(definition)]
    return "\n".join([*lines, "}", ""])


def mermaid_of(definition: JobDefinition, execution: Execution | None = None) -> str:
    ids: dict[str, str] = {}
    lines = ["flowchart LR"]
    for name, state in _nodes(definition, execution):
        ids[name] = f"t{len(ids)}"
        label = f"{_mermaid(name)}<br>{state}" if state else _mermaid(name)
        lines.append(f'  {ids[name]}["{label}"]')
        lines.append(f"  style {ids[name]} fill:{_fill(state)},color:#1b1f24")
    lines += [f"  {ids[a]} -->|{label}| {ids[b]}" for a, b, label in _edges(definition)]
    return "\n".join([*lines, ""])


def svg_of(definition: JobDefinition, execution: Execution | None = None) -> str:
    """As the pages draw it, with its own colours, light and dark. Raises NotSupported for what has too many tasks."""
    names = [task.task_type for task in definition.tasks]
    if len(names) > graph.MAX_NODES:
        raise NotSupported(f"not supported: a picture of {len(names)} tasks; up to {graph.MAX_NODES} can be drawn")
    last = frozenset(task.task_type for task in definition.tasks if task.always_run)
    plan = graph.layout(names, graph.edges_of(definition), last)
    states = dict(_nodes(definition, execution))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plan.width} {plan.height}" width="{plan.width}" '
    lines = [f'{head}height="{plan.height}" role="img" aria-label={quoteattr(definition.job_type)}>', _STYLE]
    for trail in plan.trails:
        lines.append(f'<path class="{trail.edge.kind}" d="{trail.path}"/>')
        if trail.edge.label:
            lines.append(f'<text class="why" x="{trail.x:g}" y="{trail.y:g}">{escape(trail.edge.label)}</text>')
    for name, (x, y) in plan.places.items():
        lines += _svg_box(name, states[name], x, y)
    return "\n".join([*lines, "</svg>", ""])


def _svg_box(name: str, state: State | None, x: float, y: float) -> list[str]:
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    middle = x + graph.WIDTH / 2
    box = f'<rect x="{x:g}" y="{y:g}" width="{graph.WIDTH}" height="{graph.HEIGHT}" rx="6" fill="{_fill(state)}"/>'
    at = y + (20 if state else 28)
    lines = [f"<g><title>{escape(name)}</title>{box}", f'<text x="{middle:g}" y="{at:g}">{escape(short)}</text>']
    if state:
        lines.append(f'<text class="state" x="{middle:g}" y="{y + 36:g}">{state}</text>')
    return [*lines, "</g>"]


def _fill(state: State | None) -> str:
    return _FILL.get(state, _PLAIN) if state else _PLAIN


def _nodes(definition: JobDefinition, execution: Execution | None) -> Iterator[tuple[str, State | None]]:
    """Without an execution no task has a state."""
    for name in Graph.of(definition).order:
        run = execution.tasks.get(name) if execution else None
        yield name, run.state if run else (State.PENDING if execution else None)


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
