"""Adapter: finds and kills what is left of a tree whose hand, who would have known all of it, was killed.

What still belongs to the session, or still holds the output, is found; a daemon with a session of its own that closed
its output is not. Where there is no /proc, only the process group is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

PASSES: Final = 20
"""How often to look again: whoever is being killed may be forking."""


def name_of(fd: int) -> str:
    """What /proc calls the pipe `fd`, for example `pipe:[123]`."""
    return f"pipe:[{os.fstat(fd).st_ino}]"


def kill(session: int, output: str) -> None:
    """Kill the members of `session` (0: unknown) and the holders of `output`, but for this process."""
    if session:
        _quietly(os.killpg, session)
    for _ in range(PASSES):
        found = [pid for pid in _others() if _in_session(pid, session) or _holds(pid, output)]
        for pid in found:
            _quietly(os.kill, pid)
        if not found:
            return


def _others() -> Iterator[int]:
    me = os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) != me:
            yield int(folder.name)


def _in_session(pid: int, session: int) -> bool:
    """Whether a process is alive and of that session."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False  # it has ended meanwhile
    return session != 0 and int(fields[3]) == session and fields[0] != b"Z"


def _holds(pid: int, output: str) -> bool:
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir()) if output else []
    except OSError:
        return False  # it has ended, or is another user's
    return any(_leads_to(entry, output) for entry in entries)


def _leads_to(entry: Path, output: str) -> bool:
    try:
        return str(entry.readlink()) == output
    except OSError:
        return False  # closed meanwhile


def _quietly(function: Callable[[int, int], None], pid: int) -> None:
    try:
        function(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
