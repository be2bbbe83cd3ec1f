"""The state diagrams of architecture.md, made from the tables of `states.py`: `python docs/diagrams.py` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from formicary.runner.core.states import JOB_TRANSITIONS, TASK_TRANSITIONS, TERMINAL, State

PAGE: Final = Path(__file__).with_name("architecture.md")
TABLES: Final = {"job": JOB_TRANSITIONS, "task": TASK_TRANSITIONS}


def lines(table: Mapping[State, frozenset[State]]) -> Iterator[str]:
    """In the order of the states, so that the same table is always the same text."""
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.PENDING}"
    for now in State:
        for then in State:
            if then in table[now]:
                yield f"    {now} --> {then}"
    for state in State:
        if state in TERMINAL:
            yield f"    {state} --> [*]"


def with_diagrams(text: str) -> str:
    """The page with the block after each `<!-- states: … -->` made anew."""
    for name, table in TABLES.items():
        block = "\n".join(["```mermaid", *lines(table), "```"])
        place = rf"(<!-- states: {name} -->\n).*?^```$"
        text = re.sub(place, rf"\g<1>{block}", text, count=1, flags=re.M | re.S)
    return text


if __name__ == "__main__":
    PAGE.write_text(with_diagrams(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
