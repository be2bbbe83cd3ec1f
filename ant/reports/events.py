"""XML as a stream of elements, for what a task has written: no entities, nothing outside, nothing kept that was read.

The parser is the standard library's under `defusedxml`: entity declarations and references to other documents are
refused. A tree is never whole: what has been handled is let go, so that memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final
from xml.etree.ElementTree import Element, ParseError

from formicary.ant.reports.unreadable import Unreadable

MOST_ELEMENTS: Final = 2_000_000
"""Elements, or lines, of all files of a task together: some seconds of reading."""
MOST_WITHIN: Final = 1000
"""Elements within one that is handled whole."""
MOST_DEEP: Final = 100


@dataclass(slots=True)
class Budget:
    """What is left to be read, over all files of a task."""

    elements: int = MOST_ELEMENTS

    def spend(self) -> None:
        self.elements -= 1
        if self.elements < 0:
            raise Unreadable(f"is too long; of all reports of a task {MOST_ELEMENTS} elements or lines are read")


def elements(file: BinaryIO, budget: Budget, whole: Callable[[str], bool]) -> Iterator[tuple[bool, Element, int]]:
    """(whether it begins, element, its depth from 0) in order. An element that begins has its attributes; one that ends
    has its content only if its tag is `whole`. Raises Unreadable."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    stack: list[Element] = []
    inside, within = 0, 0
    try:
        for event, element in iterparse(file, events=("start", "end")):
            if event == "start":
                budget.spend()
                stack.append(element)
                inside += whole(element.tag)
                within += bool(inside)
                if len(stack) > MOST_DEEP or within > MOST_WITHIN:
                    raise Unreadable("is nested deeper, or says more of one test, than any test tool writes")
                yield True, element, len(stack) - 1
                continue
            stack.pop()
            yield False, element, len(stack)
            inside -= whole(element.tag)
            if not inside:
                within = 0
                if stack:
                    del stack[-1][:]
    except DefusedXmlException as error:
        raise Unreadable("declares entities or refers to other documents, which is refused") from error
    except ParseError as error:
        raise Unreadable(f"is not XML: {error}") from error
    except (LookupError, ValueError) as error:
        raise Unreadable(f"cannot be read: {error}") from error


def local(tag: str) -> str:
    """A tag without its namespace."""
    return tag.rpartition("}")[2]
