"""What finished tasks have left to those that come later: outputs and artifacts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.deciding.spreading import items_of
from formicary.runner.core.definition import TaskDefinition, Value
from formicary.runner.core.execution import Execution, TaskRun
from formicary.runner.core.forked import Child
from formicary.runner.core.graph import Graph, spreads
from formicary.runner.core.messages import Input
from formicary.runner.core.states import SUCCESS, TERMINAL

_NO_FOLDER: Final = re.compile(r"[^A-Za-z0-9._=+@,-]+")
Outputs = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Results:
    """`outputs` by task, in the order in which the tasks ended. A matrix task's are those of which its combinations say
    the same; what each of them says is in `combinations`, by task and by the combination's name."""

    outputs: Mapping[str, Outputs]
    combinations: Mapping[str, Mapping[str, Outputs]]
    tainted: bool = False
    """Whether a forked job was given what outsiders can write: what it tells may be theirs."""


NO_RESULTS: Final = Results({}, {})


def results_of(execution: Execution, graph: Graph) -> Results:
    members: dict[str, list[TaskRun]] = {}
    for run in execution.tasks.values():
        if run.matrix_of:
            members.setdefault(run.matrix_of, []).append(run)
    ended: list[tuple[float, str, Outputs]] = []
    groups: dict[str, Mapping[str, Outputs]] = {}
    for run in execution.tasks.values():
        if run.combinations is not None and run.state in TERMINAL:  # not while one of them may still add to it
            of_each = {label_of(one): found for one in members.get(run.name, ()) if (found := _outputs(one))}
            groups[run.name] = of_each
            at = max((_ended_at(one) for one in members.get(run.name, ())), default=0.0)
            task = graph.nodes[run.name].task
            own = _of_items(execution, task) if spreads(task) else {}
            ended.append((at, run.name, {**_agreed(of_each), **own}))
        elif not run.matrix_of:
            ended.append((_ended_at(run), run.name, _outputs(run)))
    ended.sort(key=lambda one: one[0])
    tainted = any(child.tainted for run in execution.tasks.values() for child in _children(run))
    return Results({name: found for _, name, found in ended if found}, groups, tainted)


def _children(run: TaskRun) -> tuple[Child, ...]:
    children = run.last.children if run.last else None
    return children.each if children else ()


def _ended_at(run: TaskRun) -> float:
    return (run.last.ended_at if run.last else None) or 0.0


def _outputs(run: TaskRun) -> Outputs:
    return run.last.outputs if run.last and run.last.ended_at else {}


def label_of(run: TaskRun) -> str:
    """The combination alone: `python=3.12, os=linux`."""
    return run.name[len(run.matrix_of) + 2 : -1]


def _agreed(found: Mapping[str, Outputs]) -> Outputs:
    """What no two of them say differently."""
    same: dict[str, Value] = {}
    differ = set[str]()
    for outputs in found.values():
        for name, value in outputs.items():
            if same.setdefault(name, value) != value:
                differ.add(name)
    return {name: value for name, value in same.items() if name not in differ}


def _of_items(execution: Execution, task: TaskDefinition) -> Outputs:
    """What the items of `fan_out` say, by their places in the list: `<item_var>_<n>_<name>`, as in the Go original."""
    runs, fan = items_of(execution, task), task.fan_out
    found: dict[str, Value] = {"FanOutItemCount": len(runs), "FanOutMode": "task"}
    if fan and isinstance(fan.source, str) and fan.source.isidentifier():
        found["FanOutSource"] = fan.source
    for number, run in enumerate(runs):
        about: dict[str, Value] = {"status": str(run.state)}
        if run.state not in SUCCESS:
            about |= {"exit_code": run.last.exit_code if run.last else None, "error_message": run.reason}
        found |= {
            f"{fan.item_var if fan else ''}_{number}_{name}": one for name, one in {**about, **_outputs(run)}.items()
        }
    return found


def inputs_of(execution: Execution, graph: Graph, task: TaskDefinition) -> tuple[Input, ...]:
    """The artifacts of its dependencies; those of a matrix in a folder for each combination."""
    found: list[Input] = []
    for name in task.dependencies:
        run, node = execution.tasks.get(name), graph.nodes.get(name)
        if run is not None and run.combinations is None:
            found.extend(_inputs(run, ""))
        folders = set[str]()
        for member in node.members if node else ():
            one = execution.tasks.get(member)
            if one is not None:
                folder = _folder(label_of(one), folders)
                found.extend(_inputs(one, folder))
    return tuple(found)


def _inputs(run: TaskRun, folder: str) -> Iterator[Input]:
    for artifact in run.last.artifacts if run.last else ():
        below = "/".join(filter(None, (folder, artifact.folder)))
        yield Input(task_type=run.name, artifact=artifact, folder=below)


def _folder(label: str, taken: set[str]) -> str:
    """`python=3.12,os=linux`: a name that needs no quotes; a second one that would be the same is numbered."""
    plain = name = _NO_FOLDER.sub("_", label.replace(", ", ",")).strip(".") or "_"
    number = 1
    while name in taken:
        number += 1
        name = f"{plain}.{number}"
    taken.add(name)
    return name
