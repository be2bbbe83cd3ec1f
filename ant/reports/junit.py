"""JUnit XML, as test tools write it: each `testcase` is read by junitparser, one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from formicary.ant.reports.events import Budget, elements, local
from formicary.ant.reports.unreadable import Unreadable
from formicary.runner.core.reports import BAD, Case, Suite, Verdict

MOST_CASES: Final = 2000
"""Tests that are kept one by one; the figures are of all."""
MOST_NAME: Final = 300
MOST_MESSAGE: Final = 2000
MOST_LINES: Final = 20
MOST_MESSAGES: Final = 256 << 10
"""Characters of all messages of a task together."""
LOOKED_AT: Final = 64 << 10
"""Characters of one message that are looked at, and masked, before it is cut."""
ROOTS: Final = frozenset({"testsuites", "testsuite"})


@dataclass(slots=True)
class Gathered:
    """The tests of all files of a task. `mask` takes secrets out of a text, before anything is cut off (T8)."""

    mask: Callable[[str], str]
    bad: list[Case] = field(default_factory=list)
    others: list[Case] = field(default_factory=list)
    counts: dict[Verdict, int] = field(default_factory=dict)
    seconds: float = 0.0
    room: int = MOST_MESSAGES

    def read(self, file: BinaryIO, budget: Budget) -> None:
        """Raises Unreadable; what was read before is kept."""
        import junitparser

        read: Callable[[Any], Any] = junitparser.TestCase.fromelem
        suites: list[str] = []
        for begins, element, depth in elements(file, budget, lambda tag: local(tag) == "testcase"):
            tag = local(element.tag)
            if begins and not depth and tag not in ROOTS:
                raise Unreadable(f"is no JUnit report: it begins with <{tag[:40]}>")
            if tag == "testsuite":
                suites.append(element.attrib.get("file", "")) if begins else suites.pop()
            elif tag == "testcase" and not begins:
                _plain(element)
                self._take(read(element), suites[-1] if suites else "")

    def _take(self, case: Any, suite_file: str) -> None:
        verdict, said = _verdict(case)
        seconds = _seconds(case)
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        self.seconds += seconds or 0.0
        kept = self.bad if verdict in BAD else self.others
        if len(kept) >= MOST_CASES:
            return
        message = self._message(said) if said else ""
        kept.append(
            Case(
                name=self._short(case.name) or "(no name)",
                classname=self._short(case.classname),
                file=self._short(case._elem.attrib.get("file") or suite_file),
                verdict=verdict,
                seconds=seconds,
                message=message,
            )
        )

    def _short(self, text: str | None) -> str:
        line = " ".join(self.mask(text[:LOOKED_AT]).split()) if text else ""
        return line if len(line) <= MOST_NAME else line[: MOST_NAME - 1] + "…"

    def _message(self, said: Any) -> str:
        """The first lines: the tool's own sentence, and what it says below it."""
        summary, text = (said.message or "").strip(), (said.text or "").strip()
        whole = text if text.startswith(summary) else f"{summary}\n{text}"
        lines = self.mask(whole[:LOOKED_AT]).strip().splitlines()
        cut = "\n".join(lines[:MOST_LINES])[: min(MOST_MESSAGE, self.room)]
        self.room -= len(cut)
        return cut

    def tests(self) -> Suite:
        cases = (*self.bad, *self.others)[:MOST_CASES]
        return Suite(
            passed=self.counts.get("passed", 0),
            failed=self.counts.get("failed", 0),
            errors=self.counts.get("error", 0),
            skipped=self.counts.get("skipped", 0),
            seconds=round(self.seconds, 3),
            cases=cases,
        )


def _plain(element: Any) -> None:
    """Tags without their namespaces: junitparser looks for the plain ones."""
    for one in element.iter():
        one.tag = local(one.tag)


def _verdict(case: Any) -> tuple[Verdict, Any]:
    """The worst of what the test says of itself, and that itself."""
    from junitparser import Error, Failure, Skipped

    found = case.result
    kinds: tuple[tuple[type[Any], Verdict], ...] = ((Error, "error"), (Failure, "failed"), (Skipped, "skipped"))
    for kind, verdict in kinds:
        for one in found:
            if isinstance(one, kind):
                return verdict, one
    return "passed", None


def _seconds(case: Any) -> float | None:
    try:
        seconds = case.time
    except ValueError:
        return None
    return round(seconds, 6) if seconds is not None and math.isfinite(seconds) and 0 <= seconds < 1e9 else None
