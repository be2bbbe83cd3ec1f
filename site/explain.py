"""Why a request waits, runs, failed or ended, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from formicary.runner.core.execution import Attempt, Execution, TaskRun
from formicary.runner.core.records import JobRequest
from formicary.runner.core.states import State
from formicary.site import times

_LONGEST: Final = 240


def why(request: JobRequest, execution: Execution | None, allowed: frozenset[str], reason: str = "") -> str:
    """One sentence. `reason` is the queen's own for what waits; `allowed` names tasks that may fail."""
    if execution is None:
        return _without_run(request, reason)
    if execution.state in (State.READY, State.STARTED, State.EXECUTING):
        return _in_progress(execution.tasks)
    if execution.state is State.FAILED:
        return _failed(request, execution, allowed)
    if execution.state is State.COMPLETED:
        return _completed(execution)
    if execution.state is State.CANCELLED:
        return sentence(f"Cancelled. {execution.cancel_reason}" if execution.cancel_reason else "Cancelled")
    if execution.state is State.MANUAL_APPROVAL_REQUIRED:
        return f"Waits for an approval of {_listed(_asked(execution.tasks))}."
    if execution.state is State.PENDING and execution.rest == "ANSWERED":
        return sentence(_telling(reason) or "It was decided, and waits for its turn to go on")
    if execution.state is State.PENDING and execution.retry_at is not None:
        return f"The whole job is tried again at {times.shown(execution.retry_at)}."
    said = _telling(reason) or request.reason or execution.error_message
    return sentence(said or _PLAIN[execution.state])


_PLAIN: Final[Mapping[State, str]] = {
    State.PENDING: "Waits to be admitted",
    State.PAUSED: "Paused; it goes on when its pause ends or when someone resumes it",
    State.MANUAL_APPROVAL_REQUIRED: "Waits for a person to approve it",
    State.SKIPPED: "Skipped",
}


def _telling(reason: str) -> str:
    """The queen's words, unless they only repeat the state that stands beside them."""
    return "" if reason.startswith("it is ") and reason.removeprefix("it is ").isupper() else reason


def sentence(text: str) -> str:
    """The first line of `text`, bounded, ending like a sentence."""
    text = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + "…"
    return text if not text or text[-1] in ".!?…" else text + "."


def first_failed(execution: Execution, allowed: frozenset[str]) -> tuple[TaskRun, Attempt | None] | None:
    """The task whose failure came first, those that may fail last."""
    failed = [run for run in execution.tasks.values() if run.state is State.FAILED and run.combinations is None]
    failed.sort(key=lambda run: (run.name in allowed, run.last.ended_at or 0.0 if run.last else 0.0))
    return (failed[0], failed[0].last) if failed else None


def _without_run(request: JobRequest, reason: str) -> str:
    said = _telling(reason) or request.reason or request.error_message
    if said:
        return sentence(said)
    if request.state is State.PENDING and request.scheduled_at:
        return f"Waits for its time, {times.shown(request.scheduled_at)}."
    return sentence(_PLAIN.get(request.state, "It ended before any task ran"))


def _in_progress(tasks: Mapping[str, TaskRun]) -> str:
    written = [run for run in tasks.values() if not run.matrix_of]
    running = [run.name for run in written if run.state in (State.STARTED, State.EXECUTING)]
    offered = [run.name for run in written if run.state is State.READY]
    retried = [run.name for run in written if run.state is State.PENDING and run.retry_at is not None]
    parts = []
    if running:
        parts.append(f"{_listed(running)} {_is(running)} running")
    if offered:
        parts.append(f"{_listed(offered)} {'waits' if len(offered) == 1 else 'wait'} for an ant")
    if asked := _asked(tasks):
        parts.append(f"{_listed(asked)} {'waits' if len(asked) == 1 else 'wait'} for an approval")
    if retried:
        parts.append(f"{_listed(retried)} will be tried again")
    return ("; ".join(parts) or "Its next tasks are being chosen") + "."


def _asked(tasks: Mapping[str, TaskRun]) -> list[str]:
    return [run.name for run in tasks.values() if run.state is State.MANUAL_APPROVAL_REQUIRED]


def _failed(request: JobRequest, execution: Execution, allowed: frozenset[str]) -> str:
    found = first_failed(execution, allowed)
    if execution.timed_out:
        return sentence(execution.error_message or "The job took longer than its timeout")
    if found is None or found[0].name in allowed:
        return sentence(execution.error_message or request.error_message or "The job failed")
    run, attempt = found
    detail = run.reason or (attempt.error_message if attempt else "")
    if run.name in detail:
        return sentence(detail.replace("task `", "Task `", 1) if detail.startswith("task `") else detail)
    if "exit code" in detail:
        return sentence(f"{run.name} failed: {detail}")
    text = f"{run.name} failed{_ending(attempt)}"
    return sentence(f"{text}: {detail}" if detail else text)


def _ending(attempt: Attempt | None) -> str:
    if attempt is None:
        return ""
    exit_code = f" with exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
    return exit_code + (f" after {attempt.number} attempts" if attempt.number > 1 and exit_code else "")


def _completed(execution: Execution) -> str:
    runs = [run for run in execution.tasks.values() if run.combinations is None]
    done = sum(run.state is State.COMPLETED for run in runs)
    skipped = sum(run.state is State.SKIPPED for run in runs)
    forgiven = [run.name for run in runs if run.state is State.FAILED]
    retried = [run.name for run in runs if run.state is State.COMPLETED and len(run.attempts) > 1]
    text = f"{done} {'task' if done == 1 else 'tasks'} completed"
    text += f", {skipped} skipped" if skipped else ""
    text += f"; {_listed(retried)} needed more than one attempt" if retried else ""
    text += f"; {_listed(forgiven)} failed, which is allowed" if forgiven else ""
    return text + "."


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _listed(names: Sequence[str]) -> str:
    """At most three names."""
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
