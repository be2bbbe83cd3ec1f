"""What the ends of children are for the task that waited for them: its result, outputs and artifacts. It only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.deciding.course import Course
from formicary.runner.core.definition import HTTP_METHODS, JobDefinition, TaskDefinition, Value
from formicary.runner.core.errors import ERR_FORKED_JOB
from formicary.runner.core.execution import ArtifactRef, Attempt, Execution, Plan, Result
from formicary.runner.core.forked import Child, SubWorkflow
from formicary.runner.core.graph import Graph
from formicary.runner.core.states import SUCCESS, State
from formicary.runner.queen.results import results_of
from formicary.runner.store import Reader, Store

_NO_FOLDER: Final = re.compile(r"[^A-Za-z0-9._=+@,-]+")
_ORDER: Final = {State.FAILED: 0, State.CANCELLED: 1}
"""The lower, the worse."""


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended."""

    child: Child
    job_type: str
    state: State
    exit_code: int | None
    error: str
    outputs: Mapping[str, Value]
    artifacts: tuple[ArtifactRef, ...]
    answered: frozenset[str] = frozenset()
    """Those of `outputs` that a server has named."""

    @property
    def failed(self) -> bool:
        return self.state not in SUCCESS


def gathered(store: Store, definition: JobDefinition, task: TaskDefinition, attempt: Attempt) -> Result:
    """The result of an attempt whose children have all ended. The worst of them decides."""
    reader = store.read()
    children = attempt.children.each if attempt.children else ()
    ends = [_end(reader, child) for child in children]
    renamed = [_renamed(one, _sub_of(definition, task, one.child)) for one in ends]
    outputs = _of_items(task, ends, renamed) if task.fan_out else _of_forks(ends, renamed)
    artifacts = tuple(_artifacts(ends))
    bad = [one for one in ends if one.failed]
    if not bad:
        return Result(exit_code=0, outputs=outputs, artifacts=artifacts)
    worst = min(bad, key=lambda one: _ORDER.get(one.state, 2))
    return Result(
        exit_code=worst.exit_code or None,
        error_code=ERR_FORKED_JOB,
        error_message=_sentence(worst, bad, ends),
        outputs=outputs,
        artifacts=artifacts,
    )


def _sentence(worst: End, bad: Sequence[End], ends: Sequence[End]) -> str:
    word = "was cancelled" if worst.state is State.CANCELLED else "failed"
    what = f"request {worst.child.request_id} (`{worst.job_type}`) {word}" + (f": {worst.error}" if worst.error else "")
    return what if len(ends) == 1 else f"{len(bad)} of {len(ends)} forked jobs did not complete; {what}"


def _end(reader: Reader, child: Child) -> End:
    request = reader.request(child.request_id)
    execution = reader.execution(request.execution_id) if request and request.execution_id else None
    plan = reader.plan(execution.id) if execution else None
    if request is None:
        return End(child, "", State.FAILED, None, "it was deleted", {}, ())
    state = child.state or request.state
    error = "" if state in SUCCESS else request.error_message or request.reason
    if execution is None or plan is None:
        return End(child, request.job_type, state, None, error, {}, ())
    code = None if state in SUCCESS else exit_code_of(execution, plan)
    outputs, answered = _outputs(execution, plan)
    return End(child, request.job_type, state, code, error, outputs, _kept(execution, plan), answered)


def exit_code_of(execution: Execution, plan: Plan) -> int | None:
    """The exit code of the task that failed the job; None where it ended without one."""
    decisive = Course(execution, plan, 0.0, 0).decisive()
    last = decisive.last if decisive else None
    return last.exit_code if last else None


def _outputs(execution: Execution, plan: Plan) -> tuple[dict[str, Value], frozenset[str]]:
    """Of all its tasks together; what was said last counts. And the names that nobody but a server has said."""
    found = results_of(execution, Graph.of(plan.definition)).outputs
    calls = {task.task_type for task in plan.definition.tasks if task.method in HTTP_METHODS}
    said = {name: value for task, each in found.items() if task in calls for name, value in each.items()}
    own = {name: value for task, each in found.items() if task not in calls for name, value in each.items()}
    return {**said, **own}, frozenset(said.keys() - own.keys())


def _kept(execution: Execution, plan: Plan) -> tuple[ArtifactRef, ...]:
    """The artifacts of its tasks, in the order of the definition; of one name, the last."""
    found: dict[tuple[str, str], ArtifactRef] = {}
    order = {task.task_type: number for number, task in enumerate(plan.definition.tasks)}
    for run in sorted(execution.tasks.values(), key=lambda run: order.get(run.matrix_of or run.name, 0)):
        for artifact in run.last.artifacts if run.last else ():
            found[artifact.folder, artifact.name] = artifact
    return tuple(found.values())


def _artifacts(ends: Sequence[End]) -> Iterator[ArtifactRef]:
    """A single child's as they are; those of several in a folder for each, or one would lie upon the other."""
    if len(ends) == 1:
        yield from ends[0].artifacts
        return
    taken = set[str]()
    for number, one in enumerate(ends):
        plain = _NO_FOLDER.sub("_", one.child.label).strip(".") or f"{number}"
        name = plain if plain not in taken else f"{plain}.{number}"
        taken.add(name)
        for artifact in one.artifacts:
            yield artifact.model_copy(update={"folder": "/".join(filter(None, (name, artifact.folder)))})


def _sub_of(definition: JobDefinition, task: TaskDefinition, child: Child) -> SubWorkflow | None:
    """The task's own `sub_workflow`; else that of the task that has forked the child."""
    if task.sub_workflow is not None or not task.await_forked_tasks:
        return task.sub_workflow
    name = next(
        (one for one in task.await_forked_tasks if child.label == one or child.label.startswith(f"{one} (")), ""
    )
    return next((one.sub_workflow for one in definition.tasks if one.task_type == name), None)


def _renamed(end: End, sub: SubWorkflow | None) -> dict[str, Value]:
    """Those that `output_variables` names, as it calls them; without it, all but those whose names a server chose."""
    if sub is None or sub.output_variables is None:
        return {name: value for name, value in end.outputs.items() if name not in end.answered}
    return {here: end.outputs[there] for there, here in sub.output_variables.items() if there in end.outputs}


def _of_forks(ends: Sequence[End], renamed: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """All outputs together, the later child's counting; of several, each one's apart too, by the forking task."""
    outputs: dict[str, Value] = {name: value for one in renamed for name, value in one.items()}
    if len(ends) == 1:
        return {"ForkedJobID": ends[0].child.request_id, "ForkedJobType": ends[0].job_type, **outputs}
    for end, own in zip(ends, renamed, strict=True):
        outputs[end.child.label] = {"ForkedJobID": end.child.request_id, "ForkedJobState": str(end.state), **own}
    return outputs


def _of_items(task: TaskDefinition, ends: Sequence[End], renamed: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Each output as a list, in the order of the items; and, as the Go original has them, `<item_var>_<n>_<name>`."""
    fan = task.fan_out
    item = fan.item_var if fan else ""
    outputs: dict[str, Value] = {
        "FanOutItemCount": len(ends),
        "FanOutMode": "job",
        "ForkedJobIDs": [one.child.request_id for one in ends],
    }
    if fan and isinstance(fan.source, str) and fan.source.isidentifier():
        outputs["FanOutSource"] = fan.source
    for number, (end, own) in enumerate(zip(ends, renamed, strict=True)):
        about: dict[str, Value] = {"status": str(end.state)}
        if end.failed:
            about |= {"exit_code": end.exit_code, "error_message": end.error}
        outputs |= {f"{item}_{number}_{name}": value for name, value in {**about, **own}.items()}
    for name in dict.fromkeys(name for own in renamed for name in own):
        outputs[name] = [own.get(name) for own in renamed]
    return outputs
