"""A followed request as lines of a terminal: what tasks write, and how they fare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import click

from formicary.cli.client import Json
from formicary.cli.format import COLOURS, MARKS, SUCCESS, harmless, moment, one_line, took
from formicary.site.times import duration

_SIGNS: Final = {"cmd": "$ ", "sys": "· "}


@dataclass(slots=True)
class Lines:
    """Whole lines only: those of several tasks come between each other, and never within one another.

    With `prefix` each line says whose it is, and so do those of others than `only` (the combinations of its matrix);
    with `stamps` each says when it was written.
    """

    prefix: bool = False
    stamps: bool = False
    only: str = ""
    _widest: int = 0
    _rest: dict[str, tuple[float, str]] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)

    def tasks(self, names: Sequence[str]) -> None:
        self._widest = max(map(len, names), default=0)

    def records(self, task: str, attempt: Json, records: Sequence[Json]) -> None:
        for record in records:
            if record["s"] == "out":
                self._out(task, attempt["id"], record["t"], record["text"])
            else:
                self._flush(task, attempt["id"])
                for line in harmless(record["text"]).splitlines():
                    self._line(task, record["t"], click.style(_SIGNS[record["s"]] + line, dim=True))
        self._print()

    def log_ended(self, task: str, attempt: Json) -> None:
        self._flush(task, attempt["id"])
        self._print()

    def state(self, task: Json) -> None:
        if line := state_line(task):
            click.echo(line)

    def retried(self, task: Json, attempt: Json) -> None:
        click.echo(retried_line(task, attempt))

    def _out(self, task: str, attempt_id: str, at: float, text: str) -> None:
        at, before = self._rest.pop(attempt_id, (at, ""))
        *lines, rest = (before + text).split("\n")
        for line in lines:
            self._line(task, at, harmless(line.removesuffix("\r")))
        if rest:
            self._rest[attempt_id] = (at, rest)

    def _flush(self, task: str, attempt_id: str) -> None:
        at, rest = self._rest.pop(attempt_id, (0.0, ""))
        if rest:
            self._line(task, at, harmless(rest))

    def _line(self, task: str, at: float, text: str) -> None:
        stamp = click.style(f"{stamped(at)} ", dim=True) if self.stamps else ""
        whose = f"{task:<{self._widest}} | " if self.prefix or (self.only and task != self.only) else ""
        end = "\x1b[0m" if "\x1b[" in text else ""  # a colour that is left on is not the next line's
        self._lines += [stamp + whose + line + end for line in text.split("\n")]

    def _print(self) -> None:
        """At once: a terminal is written to once for many lines."""
        if self._lines:
            click.echo("\n".join(self._lines))
            self._lines.clear()


def stamped(at: float) -> str:
    """UTC to the millisecond, as in the records."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_line(task: Json) -> str:
    """What happened to the task, or "" where nothing worth a line did."""
    name, state, attempts = task["task_type"], task["state"], task["attempts"]
    last = attempts[-1] if attempts else None
    if state in MARKS:
        time_taken = f" ({took(last['started_at'], last['ended_at'])})" if last and last["ended_at"] else ""
        again = f", attempt {len(attempts)}" if len(attempts) > 1 else ""
        why = _reason(task, last)
        return click.style(f"{MARKS[state]} {name}{time_taken}{again}", fg=COLOURS[state]) + (f": {why}" if why else "")
    if state in ("STARTED", "EXECUTING") and last:
        return click.style(f"▸ {name}", fg="cyan") + (f" (attempt {len(attempts)})" if len(attempts) > 1 else "")
    return ""


def retried_line(task: Json, attempt: Json) -> str:
    """An attempt has ended, and its task will be tried once more."""
    why = one_line(attempt["error_message"]).rstrip(".") or attempt["state"].lower()
    at = moment(task["retry_at"])
    wait = f" in {duration(at - time.time())}" if at and at > time.time() else ""
    head = click.style(f"↻ {task['task_type']} ({took(attempt['started_at'], attempt['ended_at'])})", fg="yellow")
    return f"{head}: {why}; again{wait}"


def _reason(task: Json, last: Json | None) -> str:
    if task["reason"]:
        return one_line(task["reason"])
    return one_line(last["error_message"]) if last else ""


def result_line(request: Json) -> str:
    """How it ended."""
    state = request["state"]
    why = one_line(request["error_message"] or request["reason"])
    time_taken = took(request["started_at"], request["ended_at"])
    head = f"{MARKS.get(state, '▸')} {request['job_type']} {request['id']} {state}"
    text = click.style(head + (f" in {time_taken}" if time_taken else ""), fg=COLOURS.get(state), bold=True)
    hint = "" if state in SUCCESS or state == "CANCELLED" else f"\n  its log: formicary logs {request['id']}"
    return text + (f": {why}" if why else "") + hint
