"""A matrix task whose variables shape more of it than what each attempt renders anew (its tags, its timeout): it is
read once for each set of values that makes a difference. What the graph is made of must be the same for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from formicary.runner.core.definition import Combination, Matrix, TaskDefinition
from formicary.runner.core.language.functions import text_of

_OF_THE_GRAPH: Final = ("needs", "dependencies", "on_completed", "on_failed", "on_exit_code", "always_run")


def varied(
    task: TaskDefinition,
    matrix: Matrix,
    used: frozenset[str],
    read: Callable[[Combination], TaskDefinition | None],
    refuse: Callable[[str], None],
) -> TaskDefinition:
    """The task with its `variants`. `used` are the names in what shapes it; `read` reads it as one combination does,
    and gives None where it cannot; `refuse` is told the key that differs and must not."""
    # A variable of the task's own may be made of any of the matrix's.
    names = matrix.names if used & task.variables.keys() else sorted(used.intersection(matrix.names))
    found: dict[tuple[tuple[str, str], ...], int] = {}
    variants: list[TaskDefinition] = []
    combinations: list[Combination] = []
    for one in matrix.combinations:
        key = tuple((name, text_of(one.values.get(name))) for name in names)
        if key not in found:
            variant = read(one)
            if variant is None:
                return task
            found[key] = len(variants)
            variants.append(variant.model_copy(update={"matrix": None}))
        combinations.append(one.model_copy(update={"variant": found[key]}))
    for name in _OF_THE_GRAPH:
        if any(getattr(variant, name) != getattr(variants[0], name) for variant in variants):
            refuse(name)
    whole = matrix.model_copy(update={"combinations": tuple(combinations)})
    return variants[0].model_copy(update={"matrix": whole, "variants": tuple(variants)})
