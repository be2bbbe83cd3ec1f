"""The one loop of the template language: its turns are counted, all loops of a file together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from formicary.runner.core.language.functions import kind
from formicary.runner.core.language.limits import MAX_TURNS, Fault
from formicary.runner.core.language.run import UNDEFINED, Doubt, Evaluate, Expression, Run

Step = Callable[[Run], None]
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Loop:
    """`{% for targets in items if test %} body {% else %} otherwise {% endfor %}`."""

    items: Evaluate
    about: Expression
    targets: tuple[str, ...]
    test: Evaluate | None
    body: tuple[Step, ...]
    otherwise: tuple[Step, ...]
    weight: int
    counts: bool
    """Whether the body uses `loop`."""

    def __call__(self, run: Run) -> None:
        items = self._items(run)
        bound = (*self.targets, "loop") if self.counts else self.targets
        before = [(name, run.names.get(name, _ABSENT)) for name in bound]
        try:
            turned = self._turns(run, items)
        finally:
            for name, value in before:
                if value is _ABSENT:
                    run.names.pop(name, None)
                else:
                    run.names[name] = value
        if not turned:
            for step in self.otherwise:
                step(run)

    def _items(self, run: Run) -> Sequence[Any]:
        items = run.control(self.about, self.items)
        if items is UNDEFINED or items is None or items == "":
            return ()
        if isinstance(items, dict):
            return list(items)
        if not isinstance(items, list):
            fault = Fault(self.about.offset, f"`for` goes over lists and mappings, not {kind(items)}", "use `| split`")
            run.doubts.append(Doubt(run.size, self.about, "", fault))
            return ()
        return items

    def _turns(self, run: Run, items: Sequence[Any]) -> bool:
        wanted = items if self.test is None else self._wanted(run, items)
        last = len(wanted) - 1
        for number, item in enumerate(wanted):
            run.budget.turn(self.about.offset, self.weight)
            self._bind(run, item)
            if self.counts:
                run.names["loop"] = {
                    "index": number + 1,
                    "index0": number,
                    "first": number == 0,
                    "last": number == last,
                    "length": last + 1,
                }
            for step in self.body:
                step(run)
        return bool(wanted)

    def _wanted(self, run: Run, items: Sequence[Any]) -> list[Any]:
        assert self.test is not None
        wanted = []
        for item in items[: MAX_TURNS + 1]:
            run.budget.turn(self.about.offset, self.weight)
            self._bind(run, item)
            if run.control(self.about, self.test):
                wanted.append(item)
        return wanted

    def _bind(self, run: Run, item: Any) -> None:
        if len(self.targets) == 1:
            run.names[self.targets[0]] = item
            return
        values = item if isinstance(item, list) and len(item) == len(self.targets) else None
        if values is None:
            raise Fault(
                self.about.offset,
                f"This loop names {len(self.targets)} variables, and an item of the list is no list of so many",
                "go over `mapping | items` for keys and values",
            )
        run.names.update(zip(self.targets, values, strict=True))
