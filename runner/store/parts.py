"""How an execution is laid down: small ones whole, in one row; of large ones the tasks in parts, of which a save writes
those that have changed. Three thousand combinations of a matrix are a megabyte, and an event changes two tasks of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import TypeAdapter, ValidationError

from formicary.runner.core.errors import LostError
from formicary.runner.core.execution import Execution, TaskRun

MOST_WHOLE: Final = 64
"""Tasks of an execution that is one row."""
PER_PART: Final = 16
_TASKS: Final = TypeAdapter(dict[str, TaskRun])


def body_of(execution: Execution) -> str:
    """What the execution's own row holds."""
    if len(execution.tasks) <= MOST_WHOLE:
        return execution.model_dump_json(exclude_defaults=True)
    return execution.model_dump_json(exclude_defaults=True, exclude={"tasks"})


def parts_needed(execution: Execution) -> int:
    count = len(execution.tasks)
    return 0 if count <= MOST_WHOLE else -(-count // PER_PART)


def parts_of(execution: Execution, known: Execution | None) -> Iterator[tuple[int, str]]:
    """The parts that are not on disk already, by their numbers; `known` is what is there. A task that has changed
    its place has changed both of them."""
    if len(execution.tasks) <= MOST_WHOLE:
        return
    there = known if known is not None and len(known.tasks) > MOST_WHOLE else None
    names = [*execution.tasks]
    if there is None:
        numbers = [*range(parts_needed(execution))]
    else:
        changed = {run.name for run in execution.changed_since(there)}
        numbers = sorted({place // PER_PART for place, name in enumerate(names) if name in changed})
    for number in numbers:
        runs = {name: execution.tasks[name] for name in names[number * PER_PART : (number + 1) * PER_PART]}
        yield number, _TASKS.dump_json(runs, exclude_defaults=True).decode()


def attempt_ids(rows: Iterable[tuple[int, str, str | None]]) -> Iterator[str]:
    """Of all attempts in these rows (execution, body, part), of executions that cannot be read any more too."""
    for _, body, part in rows:
        tasks = json.loads(body).get("tasks", {}) | (json.loads(part) if part else {})
        for task in tasks.values():
            yield from (attempt["id"] for attempt in task.get("attempts", ()))


def execution_of(key: int, body: str, parts: Iterable[str]) -> Execution:
    """Raises LostError; `key` is for its words alone."""
    inner = ",".join(part[1:-1] for part in parts)
    try:
        return Execution.model_validate_json(f'{body[:-1]},"tasks":{{{inner}}}}}' if inner else body)
    except ValidationError as error:
        raise LostError(f"An execution (of number {key}) cannot be read back: {error}") from error
