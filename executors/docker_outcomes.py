"""The top of the DOCKER executor: how an end, or an engine's refusal, becomes an Outcome; whose fault it is."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Final

from formicary.executors.contract import Outcome
from formicary.executors.docker_api import EngineSays
from formicary.executors.docker_container import Standing
from formicary.executors.docker_images import Wrong
from formicary.executors.docker_spec import Image
from formicary.executors.inside import NO_SHELL, ended
from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import ERR_DEFINITION, ERR_EXIT_CODE, ERR_LOST, ERR_OUT_OF_MEMORY

_THEIRS: Final = (
    "invalid",
    "no such file or directory",
    "does not exist",
    "permission denied",
    "unable to find user",
    "no matching entries",
    "not a directory",
    "duplicate mount point",
    "must be",
    "cannot be",
    "range of cpus",
    "device",
    "undefined network",
)
"""Words of an engine's refusal that say the definition is wrong. What is not known is ours, and tried again."""


def not_started(error: EngineSays, image: Image | None) -> Outcome:
    """From what the engine says when a container cannot be made or started."""
    said, name = str(error), image.name if image else "the image"
    if "executable file not found" in said or ("no such file or directory" in said and "exec" in said):
        wanted = said.rpartition('exec: "')[2].partition('"')[0] or "its command"
        remedy = "a script needs it: choose another image" if wanted == "sh" else "install it there, or name another"
        return Outcome(127, ERR_EXIT_CODE, f"{name} has no `{wanted}`; {remedy}.")
    if error.status == 400 or (any(word in said.lower() for word in _THEIRS) and "no space left" not in said):
        return Outcome(None, ERR_DEFINITION, f"The container cannot be made as it is defined: {said}.")
    return Outcome(None, ERR_LOST, f"The container cannot be started: {said}.")


async def not_begun(standing: Standing, task: TaskDefinition, image: Image | None) -> Wrong:
    """The container ended before its script began. Raises EngineSays, EngineAway."""
    state = await standing.state()
    if state.get("OOMKilled"):
        return Wrong(ERR_OUT_OF_MEMORY, _too_little(task))
    said = task.container.entrypoint if task.container else None
    entrypoint = image.entrypoint if said is None and image else said
    how = f"The container ended with exit code {state['ExitCode']} before its script began"
    if entrypoint:
        words = " ".join(entrypoint)
        return Wrong(
            ERR_DEFINITION,
            f"{how}: its entrypoint ({words}) does not run the command that it is given. Say `entrypoint: []` to pass "
            "it by.",
        )
    return Wrong(ERR_LOST, f"{how}.")


async def outcome_of(
    words: Sequence[str] | None, standing: Standing, task: TaskDefinition, image: Image | None
) -> Outcome:
    """From what the holder said of a script; None: the container ended. Raises EngineSays, EngineAway."""
    if words is None:
        return await _died(standing, task)
    if words[0] == NO_SHELL:
        where = image.name if image else "the image"
        return Outcome(
            127, ERR_EXIT_CODE, f"The shell {task.shell[0]!r} was not found in {where}: install it, or change `shell`."
        )
    said = ended(words[1:])
    usage = {} if task.privileged else said.usage  # it sees the machine's own numbers
    standing.wrote = said.wrote
    starved, standing.out_of_memory = said.out_of_memory > standing.out_of_memory, said.out_of_memory
    if said.status == 0:
        return Outcome(0, usage=usage)
    if starved and not task.privileged:
        return Outcome(said.status, ERR_OUT_OF_MEMORY, _too_little(task), usage)
    return _failed(said.status, usage)


async def whole_outcome(code: int, standing: Standing, task: TaskDefinition) -> Outcome:
    """Of a container that ran its own command. Raises EngineSays, EngineAway."""
    if code == 0:
        return Outcome(0)
    if (await standing.state()).get("OOMKilled"):
        return Outcome(code, ERR_OUT_OF_MEMORY, _too_little(task))
    return _failed(code, {})


async def _died(standing: Standing, task: TaskDefinition) -> Outcome:
    """The container ended while its script ran."""
    standing.wrote = True
    state = await standing.state()
    if state.get("OOMKilled"):
        return Outcome(int(state["ExitCode"]) or None, ERR_OUT_OF_MEMORY, _too_little(task))
    return Outcome(None, ERR_LOST, f"The container was ended from outside (exit code {state['ExitCode']}).")


def _too_little(task: TaskDefinition) -> str:
    limit = task.container.memory_limit if task.container else None
    what = f"its memory_limit of {limit.written}" if limit else "the memory that it may use"
    return f"The script ran out of memory: {what} did not suffice. Raise memory_limit, or use less."


def _failed(status: int, usage: Mapping[str, float]) -> Outcome:
    message = f"The script ended with exit code {status}"
    if status > 128 and (name := _signal(status - 128)):
        message += f": a command was ended by {name}"
    return Outcome(status, ERR_EXIT_CODE, f"{message}.", usage)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
