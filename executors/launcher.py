"""The hand: a tiny process that starts one task's processes, and sees to it that nothing outlives the task.

Run as `python -I -S launcher.py FD`, with FD one end of a unix socket pair; standard library only, for it must be small
and quick to fork. Messages both ways are 4 bytes of length and a JSON object; `spawn` brings standard output along as
a file descriptor. On Linux it is a child subreaper: whoever of the task forks away or makes a session of its own
becomes its child at last, and is found. At the end of its socket, that is of whoever lent it, it kills everything and
exits.

    {"spawn": {argv, env, cwd, umask, mark, script, uid, gid, limits}}
                           → {"pid": n}, or {"error": sentence, "kind": why}
    {"signal": "TERM"}     to all; from then on the others may take their time after the first process ended
    {"signal": "KILL"}     to all, until none is left
                           → {"status": exit code or -signal, "usage": {...}} once the whole tree is gone
"""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
from functools import partial

TYPE_CHECKING = False  # typing is not imported at run time: it would cost memory in every hand
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Spec = dict[str, Any]

LINUX = sys.platform == "linux"
PR_SET_CHILD_SUBREAPER = 36
SCRIPT_FD = 62
CPU_GRACE = 5  # seconds between SIGXCPU and SIGKILL
NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
RECEIVE_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
HEADER = struct.Struct("!I")


def no_prctl(option: int, value: int) -> None:
    """Only Linux has it."""


def find_prctl() -> Callable[[int, int], object]:
    if not LINUX:
        return no_prctl
    import ctypes

    function: Callable[[int, int], object] = ctypes.CDLL(None).prctl
    return function


prctl = find_prctl()


# ---- starting


def start(spec: Spec, stdout: int, nothing: int) -> int:
    """Start the task's first process, a session of its own; its id. Raises OSError, ValueError, SubprocessError.

    Without a user and limits, subprocess need not copy this process (vfork), and with them it is a small one.
    """
    opened = []
    if spec["mark"] is not None:
        os.dup2(stdout, spec["mark"])
        opened.append(spec["mark"])
    if spec["script"] is not None:
        in_memory(spec["script"], SCRIPT_FD)
        opened.append(SCRIPT_FD)
    try:
        process = subprocess.Popen(
            spec["argv"],
            env=spec["env"],
            cwd=spec["cwd"],
            stdin=nothing,
            stdout=stdout,
            stderr=stdout,
            pass_fds=opened,
            start_new_session=True,
            umask=spec["umask"],
            user=spec["uid"],
            group=spec["gid"],
            extra_groups=None if spec["gid"] is None else [],
            preexec_fn=partial(limit, spec["limits"]) if spec["limits"] else None,  # no threads here
        )
    finally:
        for fd in opened:
            os.close(fd)
    process.returncode = 0  # waiting for it is ours
    return process.pid


def in_memory(text: str, fd: int) -> None:
    """Make `fd` a file of this text that lies on no disk; whoever has it may read it by its path /dev/fd/N."""
    made = os.memfd_create("script")
    with open(made, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fchmod(made, 0o444)
        os.dup2(made, fd)


def limit(limits: dict[str, int]) -> None:
    """Set the limits: a process over its CPU time is told so by SIGXCPU first."""
    for name, value in limits.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        above = allowed + CPU_GRACE if name == "RLIMIT_CPU" else allowed
        resource.setrlimit(which, (allowed, above if hard == resource.RLIM_INFINITY else min(above, hard)))


def why(error: Exception, spec: Spec) -> Spec:
    """What the error of a start means. Older Pythons blame cwd for more than cwd, so look."""
    sentence = getattr(error, "strerror", None) or str(error)
    name = getattr(error, "filename", None)
    if isinstance(error, ValueError):
        kind = "text"
    elif not os.access(spec["cwd"], os.X_OK) or not os.path.isdir(spec["cwd"]):  # noqa: PTH112  # no pathlib here
        kind = "cwd"
    elif getattr(error, "errno", None) == errno.E2BIG:
        kind = "large"
    elif name == spec["argv"][0]:
        kind = "missing" if isinstance(error, (FileNotFoundError, NotADirectoryError)) else "exec"
    else:
        kind = "start"
    return {"error": sentence, "kind": kind}


# ---- finding and ending everything


def children_of(pid: int) -> list[int]:
    """The children of a process, by /proc/PID/task/*/children. Raises FileNotFoundError where the kernel has none."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # pathlib is not imported here
        with open(f"/proc/{pid}/task/{thread}/children") as file:
            found.extend(int(word) for word in file.read().split())
    return found


def parents() -> dict[int, int]:
    """Every process and its parent, by scanning /proc."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # as above
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                pass  # it has ended meanwhile
    return found


def scanned(root: int) -> set[int]:
    """Everything below `root`, by that table."""
    below = {root}
    table = parents()
    grown = True
    while grown:
        more = {pid for pid, parent in table.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return below - {root}


def descendants() -> list[int]:
    """Everything below this process, children before grandchildren, as far as one look can see."""
    if not LINUX:
        return []
    me = os.getpid()
    try:
        found = children_of(me)
    except FileNotFoundError:
        return list(scanned(me))
    for pid in found:  # grows while it is walked
        try:
            found.extend(children_of(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended; its children are ours by now, the next look finds them
    return found


def kill_quietly(function: Callable[[int, int], None], pid: int, number: int) -> None:
    try:
        function(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or has become another user: then only waiting is left


class Hand:
    """At most one task's tree at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.fds: list[int] = []
        self.nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.first = 0  # the task's first process; 0: there is no task
        self.first_ended = False
        self.patient = False  # TERM was sent: wait for the others, do not kill them, until KILL
        self.status = 0
        self.used = [0.0, 0.0, 0]

    # -- messages

    def receive(self) -> bool:
        """Take what has come and act on it; False at the end."""
        try:
            data, control, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(16), RECEIVE_FLAGS)
        except ConnectionError:
            return False
        for level, kind, content in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.fds.extend(struct.unpack(f"{len(content) // 4}i", content))
        self.buffer += data
        while (message := self.take()) is not None:
            self.act(message)
        return bool(data)

    def take(self) -> Spec | None:
        if len(self.buffer) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self.buffer)[0]
        if len(self.buffer) < end:
            return None
        message: Spec = json.loads(self.buffer[HEADER.size : end])
        del self.buffer[:end]
        return message

    def act(self, message: Spec) -> None:
        if "spawn" in message:
            self.say(self.spawn(message["spawn"], self.fds.pop(0)))
        elif self.first:
            self.tell(message["signal"])

    def say(self, message: Spec) -> None:
        data = json.dumps(message).encode()
        try:
            self.sock.sendall(HEADER.pack(len(data)) + data)
        except ConnectionError:
            pass  # the end of the socket is noticed by the next receive

    # -- the life of a task

    def spawn(self, spec: Spec, stdout: int) -> Spec:
        try:
            pid = start(spec, stdout, self.nothing)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return why(error, spec)
        finally:
            os.close(stdout)
        self.first, self.first_ended, self.patient, self.used = pid, False, False, [0.0, 0.0, 0]
        return {"pid": pid}

    def tell(self, name: str) -> None:
        if name == "KILL":
            self.patient = False
            self.kill_all()
            self.reap()
        else:
            self.patient = LINUX  # elsewhere nobody can be found after the first process has ended
            self.signal_all(signal.SIGTERM)

    def signal_all(self, number: int) -> None:
        """The group while its first process holds its number, and whoever is not in the group."""
        if not self.first_ended or not LINUX:
            kill_quietly(os.killpg, self.first, number)
        for pid in descendants():
            try:
                if self.first_ended or os.getpgid(pid) != self.first:
                    os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def kill_all(self) -> None:
        if not self.first_ended or not LINUX:
            kill_quietly(os.killpg, self.first, signal.SIGKILL)
        for pid in descendants():
            kill_quietly(os.kill, pid, signal.SIGKILL)

    def reap(self, block: bool = False) -> None:
        """Collect who has ended. When the first process has, end the others, and report once none is left."""
        while self.first:
            try:
                pid, status, usage = os.wait4(-1, 0 if block else os.WNOHANG)
            except ChildProcessError:
                return self.report()
            block = False
            if pid:
                self.collect(pid, status, usage)
            elif self.first_ended and not self.patient:
                self.kill_all()
                block = True  # somebody dies of that, and leaves its children to us: look again
            else:
                return None
        return None

    def collect(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        self.used[0] += usage.ru_utime
        self.used[1] += usage.ru_stime
        self.used[2] = max(self.used[2], usage.ru_maxrss)
        if pid == self.first:
            self.first_ended = True
            self.status = os.waitstatus_to_exitcode(status)
            if not self.patient:
                kill_quietly(os.killpg, pid, signal.SIGKILL)

    def report(self) -> None:
        """Say how it ended. The memory is never less than ours: the kernel also counts the time before exec."""
        user, system, rss = self.used
        self.first = 0
        usage = {
            "user_seconds": user,
            "system_seconds": system,
            "max_rss_bytes": rss * (1024 if LINUX else 1),
        }
        self.say({"status": self.status, "usage": usage})


def yield_to_others() -> None:
    """Be a batch process, and so will be all that is started here: what wakes us goes on first, and a machine full of
    tasks still answers."""
    if LINUX:
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        except OSError:
            pass  # a container may forbid it; everything works all the same


def woken() -> int:
    """A file descriptor that becomes readable when a child has ended."""
    waiting, waking = os.pipe()
    os.set_blocking(waiting, False)
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    return waiting


def main(fd: int) -> None:
    os.set_inheritable(fd, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in NOT_OURS:
        # Our end is the end of the socket, and nothing else. A handler, for the task would inherit "ignored".
        signal.signal(number, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield_to_others()
    hand = Hand(socket.socket(fileno=fd))
    wake = woken()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(wake, select.POLLIN)
    gc.disable()
    gc.freeze()  # so that a fork does not copy what the collector would touch
    hand.say({"ready": os.getpid()})
    while True:
        for ready, _ in poll.poll():
            if ready == wake:
                os.read(wake, 512)
                hand.reap()
            elif not hand.receive():
                finish(hand)
                return


def finish(hand: Hand) -> None:
    """Whoever lent the hand is gone: so is the task."""
    hand.patient = False
    while hand.first:
        hand.kill_all()
        hand.reap(block=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
