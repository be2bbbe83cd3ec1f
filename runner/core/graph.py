"""The graph of a job: which outcome leads to which task, who waits for whom, and what is wrong with it.

An edge runs from the task that comes first to the one that comes later, whoever's key it was written in: `a` with
`on_completed: b` and `b` with `needs: [a]` are both a → b. What a transition names beside tasks (words) is no edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from formicary.runner.core.definition import WORDS, Combination, JobDefinition, Matrix, Target, TaskDefinition
from formicary.runner.core.forked import FORK

WAITS: Final = ("needs", "dependencies", "await_forked_tasks")
"""Keys of a task that name those for which it waits."""


@dataclass(frozen=True, slots=True)
class GraphError:
    """What is wrong, and where it was written: `value` under `key` of `task`. `also` = the other places of a cycle."""

    message: str
    task: str
    key: str
    value: str
    also: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """`before` comes before `after`, because `owner` says so under `key`."""

    before: str
    after: str
    owner: str
    key: str

    @property
    def value(self) -> str:
        return self.before if self.owner == self.after else self.after

    @property
    def place(self) -> tuple[str, str, str]:
        return self.owner, self.key, self.value

    def __str__(self) -> str:
        return f"`{self.owner}` has `{self.key}: {self.value}`"


@dataclass(frozen=True, slots=True)
class Node:
    """A task in the graph. `needs` are those of its needs and dependencies that exist; `choosers` the tasks with a
    transition to it; `followers` whoever may move when it ends. `bit` and `ancestors` are masks (bit = its own).

    A matrix task has `members`, the names of its combinations' runs; each of these is a node too, of `group`, with the
    `combination`, and without edges: whoever names the task means all of them."""

    task: TaskDefinition
    needs: tuple[str, ...]
    choosers: tuple[str, ...]
    followers: tuple[str, ...]
    bit: int
    ancestors: int
    members: tuple[str, ...] = ()
    group: str = ""
    combination: Combination | None = None

    @property
    def always_run(self) -> bool:
        return self.task.always_run


@dataclass(frozen=True, slots=True)
class Graph:
    """A definition's graph, compiled. `order` is topological; `roots` start at once; `always` are the always_run tasks
    in that order. Names that do not exist are left out (`check` has said so). Combinations are among `nodes` alone."""

    nodes: Mapping[str, Node]
    order: tuple[str, ...]
    roots: tuple[str, ...]
    always: tuple[str, ...]

    @staticmethod
    def of(definition: JobDefinition) -> Graph:
        """The graph of this definition; compiled once for each definition object."""
        return _compiled(_Same(definition))


class _Same:
    """A key that is equal only to itself: definitions are frozen, but hold mappings and so have no hash."""

    __slots__ = ("definition",)

    def __init__(self, definition: JobDefinition) -> None:
        self.definition = definition

    def __hash__(self) -> int:
        return id(self.definition)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.definition is self.definition


@lru_cache(maxsize=256)
def _compiled(key: _Same) -> Graph:
    tasks = {task.task_type: task for task in key.definition.tasks}
    edges = [edge for edge in _edges(tasks.values()) if edge.before in tasks and edge.after in tasks]
    order = _order(tasks, edges)
    choosers, followers = _adjacency(tasks, edges)
    needs = {name: tuple(need for need in _needs(task) if need in tasks) for name, task in tasks.items()}
    masks = _ancestors(order, edges)
    nodes = {
        name: Node(tasks[name], needs[name], choosers[name], followers[name], masks[name][0], masks[name][1])
        for name in order
    }
    for name in order:
        if tasks[name].matrix is not None:
            members = {node.task.task_type: node for node in _members(tasks[name])}
            nodes[name] = replace(nodes[name], members=tuple(members))
            nodes |= members
    roots = tuple(name for name in order if not (needs[name] or choosers[name] or tasks[name].always_run))
    return Graph(nodes, order, roots, tuple(name for name in order if tasks[name].always_run))


def task_of(definition: JobDefinition, name: str) -> TaskDefinition:
    """The task that a run of this name follows: one of the definition's, or as a combination of its matrix does.

    Raises KeyError.
    """
    return Graph.of(definition).nodes[name].task


def spreads(task: TaskDefinition) -> bool:
    """Whether the task's own script runs once an item of a list, which is made when the task is about to start."""
    return task.fan_out is not None and task.method != FORK


def with_matrices(definition: JobDefinition, matrices: Mapping[str, Matrix]) -> JobDefinition:
    """The definition in which these tasks have these matrices."""
    if not matrices:
        return definition
    tasks = tuple(
        task.model_copy(update={"matrix": matrices[task.task_type]}) if task.task_type in matrices else task
        for task in definition.tasks
    )
    return definition.model_copy(update={"tasks": tasks})


def run_name(task: TaskDefinition, combination: Combination) -> str:
    return f"{task.task_type} ({combination.label})"


def _members(task: TaskDefinition) -> Iterator[Node]:
    """A node for each combination, with the task as this one runs it."""
    for one in task.matrix.combinations if task.matrix else ():
        shape = task.variants[one.variant] if task.variants else task
        fan_out = None if spreads(task) else task.fan_out
        own = {"task_type": run_name(task, one), "matrix": None, "variants": (), "fan_out": fan_out}
        yield Node(shape.model_copy(update=own), (), (), (), 0, 0, (), task.task_type, one)


def transitions(task: TaskDefinition) -> Iterator[tuple[str, Target]]:
    """(key, target) of every transition of the task."""
    if task.on_completed:
        yield "on_completed", task.on_completed
    if task.on_failed:
        yield "on_failed", task.on_failed
    for target in task.on_exit_code.values():
        yield "on_exit_code", target


def _needs(task: TaskDefinition) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*task.needs, *task.dependencies, *task.await_forked_tasks)))


def _edges(tasks: Iterable[TaskDefinition]) -> Iterator[Edge]:
    for task in tasks:
        name = task.task_type
        for key, target in transitions(task):
            if target.is_task:
                yield Edge(name, target.name, name, key)
        for key in WAITS:
            names: tuple[str, ...] = getattr(task, key)
            for need in names:
                yield Edge(need, name, name, key)


def _adjacency(tasks: Iterable[str], edges: Sequence[Edge]) -> tuple[dict[str, tuple[str, ...]], ...]:
    choosers: dict[str, dict[str, None]] = {name: {} for name in tasks}
    followers: dict[str, dict[str, None]] = {name: {} for name in choosers}
    for edge in edges:
        followers[edge.before][edge.after] = None
        if edge.owner == edge.before:
            choosers[edge.after][edge.before] = None
    return {k: tuple(v) for k, v in choosers.items()}, {k: tuple(v) for k, v in followers.items()}


def _order(tasks: Iterable[str], edges: Sequence[Edge]) -> tuple[str, ...]:
    """Topological, as near to the file's order as that allows; what hangs in a cycle comes last."""
    names = tuple(tasks)
    done = list(_sorted(names, edges))
    rest = set(names).difference(done)
    return (*done, *(name for name in names if name in rest))


def _sorted(names: Sequence[str], edges: Sequence[Edge]) -> Iterator[str]:
    before = dict.fromkeys(names, 0)
    after: dict[str, list[str]] = {name: [] for name in names}
    for edge in edges:
        before[edge.after] += 1
        after[edge.before].append(edge.after)
    ready = deque(name for name in names if not before[name])
    while ready:
        name = ready.popleft()
        yield name
        for then in after[name]:
            before[then] -= 1
            if not before[then]:
                ready.append(then)


def _ancestors(order: Sequence[str], edges: Sequence[Edge]) -> dict[str, tuple[int, int]]:
    """(own bit, mask of all that come before) of each task."""
    bits = {name: 1 << index for index, name in enumerate(order)}
    masks = dict.fromkeys(order, 0)
    before: dict[str, list[str]] = {name: [] for name in order}
    for edge in edges:
        before[edge.after].append(edge.before)
    for name in order:
        for earlier in before[name]:
            masks[name] |= masks[earlier] | bits[earlier]
    return {name: (bits[name], masks[name]) for name in order}


def check(definition: JobDefinition) -> list[GraphError]:
    """Everything that is wrong with the graph: names, unknown targets, words that lead to each other, cycles."""
    names: dict[str, None] = {}
    errors: list[GraphError] = []
    for task in definition.tasks:
        errors += _name_errors(task, names)
        names[task.task_type] = None
    errors += _names_of_runs(definition.tasks, names)
    forks = {task.task_type for task in definition.tasks if task.method == FORK}
    for task in definition.tasks:
        errors += _target_errors(task, names)
        errors += [_no_fork(task, name) for name in task.await_forked_tasks if name in names and name not in forks]
    edges = [edge for edge in _edges(definition.tasks) if edge.before in names and edge.after in names]
    return [*errors, *_cycle_errors(tuple(names), [edge for edge in edges if edge.before != edge.after])]


def _name_errors(task: TaskDefinition, names: Mapping[str, None]) -> Iterator[GraphError]:
    name = task.task_type
    if name in names:
        yield GraphError(f"two tasks are called `{name}`; give each a name of its own", name, "task_type", name)
    if name in WORDS or name.startswith("ERR_"):
        message = f"`{name}` is a word that transitions use and cannot be a task's name; call the task something else"
        yield GraphError(message, name, "task_type", name)


def _names_of_runs(tasks: Iterable[TaskDefinition], names: Mapping[str, None]) -> Iterator[GraphError]:
    for task in tasks:
        for one in task.matrix.combinations if task.matrix else ():
            if (name := run_name(task, one)) in names:
                message = f"a combination of `{task.task_type}` would be called `{name}`, as another task is; rename it"
                yield GraphError(message, name, "task_type", name)


def _target_errors(task: TaskDefinition, names: Mapping[str, None]) -> Iterator[GraphError]:
    name = task.task_type
    for edge in _edges((task,)):
        key, value = edge.key, edge.value
        if value == name:
            yield GraphError(f"`{name}` names itself under `{key}`; a task cannot wait for itself", name, key, value)
        elif value not in names:
            yield GraphError(_unknown(value, key, names), name, key, value)
    if task.on_completed == Target(name="FAILED") and task.on_failed == Target(name="COMPLETED"):
        message = (
            f"`on_completed: FAILED` and `on_failed: COMPLETED` of `{name}` lead to each other; remove one of them"
        )
        yield GraphError(message, name, "on_failed", "COMPLETED", ((name, "on_completed", "FAILED"),))


def _no_fork(task: TaskDefinition, name: str) -> GraphError:
    message = f"`{name}` forks no job, so there is none to wait for; name tasks of the method {FORK}"
    return GraphError(message, task.task_type, "await_forked_tasks", name)


def _unknown(value: str, key: str, names: Mapping[str, None]) -> str:
    words = () if key in WAITS else tuple(WORDS)
    near = get_close_matches(value, (*names, *words), n=1, cutoff=0.5)
    remedy = f"did you mean `{near[0]}`?" if near else "the tasks are " + ", ".join(f"`{name}`" for name in names)
    return f"`{value}` under `{key}` is not a task of this job; {remedy}"


def _cycle_errors(names: Sequence[str], edges: Sequence[Edge]) -> Iterator[GraphError]:
    """One error a cycle, until no cycle is left: each found one is cut before the next is looked for."""
    while True:
        sorted_ = set(_sorted(names, edges))
        names = [name for name in names if name not in sorted_]
        edges = [edge for edge in edges if edge.before not in sorted_ and edge.after not in sorted_]
        cycle = next(filter(None, (_shortest_cycle(name, edges) for name in names)), None)
        if cycle is None:
            return
        yield _cycle_error(cycle)
        cut = {(edge.before, edge.after) for edge in cycle}
        edges = [edge for edge in edges if (edge.before, edge.after) not in cut]


def _shortest_cycle(start: str, edges: Sequence[Edge]) -> list[Edge] | None:
    after: dict[str, list[Edge]] = {}
    for edge in edges:
        after.setdefault(edge.before, []).append(edge)
    came: dict[str, Edge] = {}
    ready = deque([start])
    while ready and start not in came:
        for edge in after.get(ready.popleft(), ()):
            if edge.after not in came:
                came[edge.after] = edge
                ready.append(edge.after)
    return _back(start, came) if start in came else None


def _back(start: str, came: Mapping[str, Edge]) -> list[Edge]:
    path = [came[start]]
    while path[-1].before != start:
        path.append(came[path[-1].before])
    return path[::-1]


def _cycle_error(cycle: Sequence[Edge]) -> GraphError:
    path = " → ".join((cycle[0].before, *(edge.after for edge in cycle)))
    reasons = ", ".join(str(edge) for edge in cycle)
    message = f"the tasks wait for each other in a circle: {path} ({reasons}); remove one of these"
    return GraphError(message, *cycle[0].place, also=tuple(edge.place for edge in cycle[1:]))
