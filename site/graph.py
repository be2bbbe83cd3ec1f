"""Where the boxes and trails of a task graph go: layers from left to right, long trails led around boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from formicary.runner.core.definition import JobDefinition

WIDTH: Final = 174
HEIGHT: Final = 46
GAP_X: Final = 46
GAP_Y: Final = 20
MARGIN: Final = 12
_THIN: Final = 14
MAX_NODES: Final = 60


@dataclass(frozen=True, slots=True)
class Edge:
    """`label` is empty where success leads on; `kind` is need, then (a transition) or fail."""

    source: str
    target: str
    kind: str = "need"
    label: str = ""


@dataclass(frozen=True, slots=True)
class Trail:
    """An edge as an SVG path; its label stands at (x, y)."""

    edge: Edge
    path: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    width: int = 0
    height: int = 0
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    trails: tuple[Trail, ...] = ()


def edges_of(definition: JobDefinition) -> list[Edge]:
    """One edge for each pair of tasks that the definition joins; `needs` before transitions."""
    names = {task.task_type for task in definition.tasks}
    found: dict[tuple[str, str], Edge] = {}
    for task in definition.tasks:
        for need in (*task.needs, *task.dependencies):
            found.setdefault((need, task.task_type), Edge(need, task.task_type))
        targets = [("then", "", task.on_completed), ("fail", "failed", task.on_failed)]
        for code, chosen in task.on_exit_code.items():
            targets.append(("then", code.lower() if code.isalpha() else f"exit {code}", chosen))
        for kind, label, target in targets:
            if target is not None:
                found.setdefault((task.task_type, target.name), Edge(task.task_type, target.name, kind, label))
    return [edge for edge in found.values() if edge.source in names and edge.target in names]


def layout(names: Sequence[str], edges: Sequence[Edge], last: frozenset[str] = frozenset()) -> Layout:
    """Places of all boxes. `last` are tasks that run at the end: without edges, they stand behind all others."""
    if not names or len(names) > MAX_NODES:
        return Layout()
    depth = _depths(names, edges)
    joined = {name for edge in edges for name in (edge.source, edge.target)}
    behind = [name for name in names if name in last and name not in joined]
    if len(behind) < len(names):
        depth |= dict.fromkeys(behind, 1 + max(depth[name] for name in names if name not in behind))
    slots, chains = _slots(names, edges, depth)
    _straighten(slots, chains)
    return _placed(slots, chains)


def _depths(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Longest way from a start, by rounds: a cycle, which the loader refuses, would only stop it early."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        moved = False
        for edge in edges:
            if edge.source != edge.target and depth[edge.target] <= depth[edge.source] < len(names):
                depth[edge.target], moved = depth[edge.source] + 1, True
        if not moved:
            break
    return depth


Chain = tuple[Edge, list[str]]


def _slots(
    names: Sequence[str], edges: Sequence[Edge], depth: Mapping[str, int]
) -> tuple[list[list[str]], list[Chain]]:
    """The layers with their boxes, and a thin slot (a name with a NUL) wherever an edge passes a layer."""
    used = {level: index for index, level in enumerate(sorted(set(depth.values())))}
    slots: list[list[str]] = [[] for _ in used]
    for name in names:
        slots[used[depth[name]]].append(name)
    chains: list[Chain] = []
    for number, edge in enumerate(edges):
        low, high = used[depth[edge.source]], used[depth[edge.target]]
        between = [f"\0{number}.{level}" for level in range(low + 1, high)]
        for level, slot in zip(range(low + 1, high), between, strict=True):
            slots[level].append(slot)
        chains.append((edge, [edge.source, *between, edge.target]))
    return slots, chains


def _straighten(slots: list[list[str]], chains: Sequence[Chain]) -> None:
    """Order each layer by where its neighbours stand: two sweeps there, two back."""
    ahead: dict[str, list[str]] = defaultdict(list)
    behind: dict[str, list[str]] = defaultdict(list)
    for _, chain in chains:
        for one, other in pairwise(chain):
            ahead[other].append(one)
            behind[one].append(other)
    for neighbours, order in ((ahead, slots[1:]), (behind, slots[-2::-1])) * 2:
        for layer in order:
            place = {name: index / max(len(row), 1) for row in slots for index, name in enumerate(row)}
            layer.sort(key=lambda name: _mean([place[other] for other in neighbours[name]], place[name]))


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _placed(slots: Sequence[Sequence[str]], chains: Sequence[Chain]) -> Layout:
    tall = max(sum(_height(name) + GAP_Y for name in layer) - GAP_Y for layer in slots)
    places: dict[str, tuple[float, float]] = {}
    for index, layer in enumerate(slots):
        own = sum(_height(name) + GAP_Y for name in layer) - GAP_Y
        y = MARGIN + (tall - own) / 2
        for name in layer:
            places[name] = (MARGIN + index * (WIDTH + GAP_X), y)
            y += _height(name) + GAP_Y
    return Layout(
        width=2 * MARGIN + len(slots) * (WIDTH + GAP_X) - GAP_X,
        height=int(2 * MARGIN + tall),
        places={name: place for name, place in places.items() if "\0" not in name},
        trails=tuple(_trail(edge, chain, places) for edge, chain in chains),
    )


def _height(name: str) -> int:
    return _THIN if "\0" in name else HEIGHT


def _trail(edge: Edge, chain: Sequence[str], places: Mapping[str, tuple[float, float]]) -> Trail:
    """Curves from right side to left side; straight through the thin slots."""
    x, y = places[chain[0]]
    x, y = x + WIDTH, y + HEIGHT / 2
    path, label = f"M{x:.0f} {y:.0f}", (x + GAP_X / 2, y)
    for index, name in enumerate(chain[1:]):
        to_x, to_y = places[name]
        to_y += _height(name) / 2
        half = (to_x - x) / 2
        path += f"C{x + half:.0f} {y:.0f} {to_x - half:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"
        label = (x + half, (y + to_y) / 2) if index == 0 else label
        x, y = to_x, to_y
        if "\0" in name:
            x += WIDTH
            path += f"H{x:.0f}"
    return Trail(edge, path, *label)
