"""What may be spent on one definition file. Every loop and every growing value asks here first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_SOURCE: Final = 256 * 1024
"""Bytes of a file."""
MAX_RENDERED: Final = 1024 * 1024
"""Characters of the text after its templates are filled, values counted in."""
MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_TURNS: Final = 100_000
"""Loop turns of all loops together."""
MAX_TASKS: Final = 500
MAX_RUNS: Final = 5_000
"""What the tasks of a job come to, each combination of a matrix counted."""
MAX_DOCUMENTS: Final = 100
MAX_FRAGMENTS: Final = 10
"""What one job may include; each is as long as a file may be."""
MAX_FAULTS: Final = 50
"""Problems told about one file; whoever has more than these has another problem."""
MAX_TAGS: Final = 3_000
MAX_LEXEMES: Final = 12_000
"""Words and signs inside the template tags of one document."""
MAX_PRODUCED: Final = 4 * 1024 * 1024
"""Characters and items that expressions may make in all; most of them are thrown away again."""
MAX_WORK: Final = 500_000
"""Evaluated parts of expressions in all."""
MAX_INT: Final = 2**63 - 1

# Code points of plane 16's private use area that mean something here. A file that holds one is refused; values of
# parameters may hold them: a value is put in after parsing and never looked at again (for SECRET_… see names.py).
# Those from 0x21 on stand for the signs of templates that wait (deferred.py).
RESERVED_FIRST: Final = "\U0010f000"
RESERVED_LAST: Final = "\U0010f07f"
TOKEN_OPEN: Final = "\U0010f000"
TOKEN_CLOSE: Final = "\U0010f001"
SECRET_OPEN: Final = "\U0010f002"
SECRET_CLOSE: Final = "\U0010f003"
NO_COMMENT: Final = "\U0010f00f"


class Fault(Exception):
    """One thing that is wrong, at an offset of the text that is being read; -1 means the whole of it."""

    def __init__(self, offset: int, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.expected = expected


class Missing(Fault):
    """It stands on a name that is not there: nothing to tell when a file is loaded, for nobody knows its value yet."""


class TooMuch(Fault):
    """A limit was reached; whatever is being read is given up."""


@dataclass(slots=True)
class Budget:
    """What is left for one call: shared by all documents of a file and by all passes over them."""

    turns: int = MAX_TURNS
    work: int = MAX_WORK
    produced: int = MAX_PRODUCED
    rendered: int = 2 * MAX_RENDERED
    """A file with job_variables is rendered more than once; one rendering is held to MAX_RENDERED."""
    nodes: int = MAX_NODES + MAX_NODES // 5
    """A tree is composed again only where another pass made another text."""

    def turn(self, offset: int, weight: int) -> None:
        self.turns -= 1
        if self.turns < 0:
            raise TooMuch(
                offset, f"The loops of this file turn more than {MAX_TURNS:,} times", "make the lists shorter"
            )
        self.spend(offset, weight)

    def spend(self, offset: int, weight: int) -> None:
        self.work -= weight
        if self.work < 0:
            raise TooMuch(offset, "The templates of this file take too long", "make loops or expressions smaller")

    def produce(self, offset: int, size: int) -> None:
        self.produced -= size
        self.work -= size >> 6
        if self.produced < 0:
            raise TooMuch(
                offset, "The templates of this file make too much text", "build long texts in the script instead"
            )

    def render(self, offset: int, size: int) -> None:
        self.rendered -= size
        if self.rendered < 0:
            raise TooMuch(
                offset, "The rendered text is longer than 1 MiB", "read long values from the environment in the script"
            )
