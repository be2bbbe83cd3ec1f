"""The top of every executor that runs tasks in containers: what a script's container runs, and what it says. Pure.

The container's command is the *holder*: a shell that waits at its standard input for what it shall do and never writes
but by our order. It runs each script, says how it ended and what it used, and ends every process of its container when
told to, or when its standard input is closed: when the ant that held the other end is gone, so is its task (D2, D7).
What it says are lines that begin with a random nonce, in the one stream that the script's output is in too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from formicary.executors.shell_script import overlap, quoted
from formicary.runner.core.definition import TaskDefinition

WORKSPACE: Final = "/workspace"
"""Where the workspace is in a container whose task names no absolute working_dir."""
RUN: Final = "/formicary"
"""Our own files in a container: scripts, the file for outputs, values too long for the environment."""
OUTPUT: Final = "output"
MARK_PATH: Final = "/proc/1/fd/1"
"""The first process's output is the container's, whoever it is."""

READY, END, ALIVE, GONE, NO_SHELL = "ready", "end", "alive", "gone", "noshell"

HOLDER: Final = r"""
exec 2>&1
n=$1
say() { printf '\036%s:%s\n' "$n" "$*"; }
look() { got=0; if [ -r "$1" ]; then while read -r a b c; do if [ "$a" = "$2" ]; then got=$b; fi; done <"$1"; fi; }
one() { got=0; if [ -r "$1" ]; then read -r got <"$1"; fi; }
used() {
  if [ -r /sys/fs/cgroup/cpu.stat ]; then
    look /sys/fs/cgroup/memory.events oom_kill; oom=$got; one /sys/fs/cgroup/memory.peak; peak=$got
    look /sys/fs/cgroup/cpu.stat user_usec; user=${got}us; look /sys/fs/cgroup/cpu.stat system_usec; system=${got}us
  else
    look /sys/fs/cgroup/memory/memory.oom_control oom_kill; oom=$got
    one /sys/fs/cgroup/memory/memory.max_usage_in_bytes; peak=$got
    look /sys/fs/cgroup/cpuacct/cpuacct.stat user; user=${got}t
    look /sys/fs/cgroup/cpuacct/cpuacct.stat system; system=${got}t
  fi
  wrote=0
  if [ -s /formicary/output ]; then wrote=1; fi
  in=0 out=0
  if [ -r /proc/net/dev ]; then
    while read -r a b c c c c c c c d c; do
      case $a in lo:) ;; *:) in=$((in + b)) out=$((out + d)) ;; esac
    done </proc/net/dev
  fi
}
end() { used; say end "$1" "$oom" "$peak" "$user" "$system" "$in" "$out" "$wrote"; }
woken=
trap 'woken=1' TERM HUP INT
say ready
while :; do
  if ! IFS= read -r line; then
    if [ "$woken" ]; then woken=; continue; fi
    break
  fi
  case $line in
    "run "*) (eval "${line#run }" </dev/null; end $?) & ;;
    term) kill -TERM -1 2>/dev/null ;;
    kill) kill -KILL -1 2>/dev/null ;;
    ask) (:); if kill -0 -1 2>/dev/null; then say alive; else say gone; fi ;;
  esac
done
kill -KILL -1 2>/dev/null
""".strip()


def holder(nonce: str) -> list[str]:
    """The command of a script's container."""
    return ["sh", "-c", HOLDER, "formicary", nonce]


def run_line(shell: Sequence[str], path: str, nonce: str) -> bytes:
    """What makes the holder run a script. Raises ValueError where the shell cannot be said in a line."""
    words = [*shell, path]
    if any("\n" in word for word in words):
        raise ValueError("A word of `shell` holds a line break: write it in one line.")
    missing = f"{{ printf '\\036{nonce}:{NO_SHELL}\\n'; exit 127; }}"
    found = f"command -v {quoted(shell[0])} >/dev/null 2>&1 || {missing}"
    return f"run {found}; {' '.join(map(quoted, words))}\n".encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a script ended. `out_of_memory`: how often the kernel has killed for want of memory in this container.
    `wrote`: whether there are outputs."""

    status: int
    out_of_memory: int
    wrote: bool
    usage: Mapping[str, float]


def ended(words: Sequence[str]) -> Ended:
    """From what the holder said after `end`. Raises ValueError."""
    status, oom, peak, user, system, received, sent, wrote = words
    usage = {"max_rss_bytes": float(peak), "user_seconds": _seconds(user), "system_seconds": _seconds(system)}
    usage |= {"received_bytes": float(received), "sent_bytes": float(sent)}
    return Ended(int(status), int(oom), wrote == "1", {name: value for name, value in usage.items() if value})


def _seconds(text: str) -> float:
    """Microseconds of the newer control groups, ticks of the older ones."""
    return float(text[:-2]) / 1e6 if text.endswith("us") else float(text[:-1]) / 100


class Hearing:
    """Takes what the holder says out of the stream; every other byte goes through."""

    def __init__(self, nonce: str) -> None:
        self._mark = f"\x1e{nonce}:".encode()
        self._held = b""

    def feed(self, data: bytes, out: Callable[[bytes], None]) -> list[list[str]]:
        """What was said, each as its words; what was written between goes to `out`."""
        said: list[list[str]] = []
        data, self._held = self._held + data, b""
        while (at := data.find(self._mark)) >= 0:
            if at:
                out(data[:at])
            line, newline, rest = data[at + len(self._mark) :].partition(b"\n")
            if not newline:
                self._held = data[at:]
                return said
            said.append(line.decode("ascii", "replace").split())
            data = rest
        keep = len(data) - overlap(data, self._mark)
        self._held = data[keep:]
        if keep:
            out(data[:keep])
        return said

    def close(self, out: Callable[[bytes], None]) -> None:
        """There is no more."""
        if self._held:
            out(self._held)
            self._held = b""


def mount_path(task: TaskDefinition) -> str:
    """Where the workspace is inside: at an absolute working_dir itself."""
    return str(PurePosixPath(task.working_dir)) if task.working_dir.startswith("/") else WORKSPACE


def working_dir(task: TaskDefinition) -> str:
    """Where a script begins. Raises ValueError where it leads out of the workspace."""
    if task.working_dir.startswith("/"):
        path = PurePosixPath(task.working_dir)
    else:
        path = PurePosixPath(WORKSPACE, task.working_dir)
    if ".." in path.parts:
        raise ValueError(f"working_dir {task.working_dir!r} leads out of the workspace: name a folder without `..`.")
    return str(path)


def environment(given: Mapping[str, str], moved: Mapping[Path, str]) -> dict[str, str]:
    """The task's environment as it is inside: what names a folder of ours, or something in it, names where it is."""
    return {name: _moved(value, moved) for name, value in given.items()}


def _moved(value: str, moved: Mapping[Path, str]) -> str:
    for folder, inside in moved.items():
        if value == str(folder) or value.startswith(f"{folder}/"):
            return inside + value[len(str(folder)) :]
    return value
