"""The hand: a tiny process that starts one task's processes, and sees to it that nothing outlives the task.

Run as `python -I -S launcher.py FD`, with FD one end of a unix socket pair; standard library only, for it must be small
and quick to fork. Messages both ways are 4 bytes of length and a JSON object; `spawn` brings standard output along as
a file descriptor. On Linux it is a child subreaper: whoever of the task forks away or makes a session of its own
becomes its child at last, and is found. At the end of its socket, that is of whoever lent it, it kills everything and
exits.

    {"spawn": {argv, env, cwd, umask, mark, uid, gid, limits}}  → {"pid": n}, or {"error": sentence, "kind": why}
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
import sys

TYPE_CHECKING = False  # typing is not imported at run time: it would cost memory in every hand
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Spec = dict[str, Any]

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CPU_GRACE = 5  # seconds between SIGXCPU and SIGKILL
RESET = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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


class CannotStart(Exception):
    """Said in the child, between fork and exec: a kind and a sentence."""


# ---- the child, between fork and exec


def become(spec: Spec, stdout: int, nothing: int) -> NoReturn:
    """Turn this forked process into the task's first process. Never returns; raises what went wrong."""
    os.setsid()
    os.dup2(nothing, 0)
    os.dup2(stdout, 1)
    os.dup2(stdout, 2)
    if spec["mark"] is not None:
        os.dup2(stdout, spec["mark"])
    for number in RESET:
        signal.signal(number, signal.SIG_DFL)
    os.umask(spec["umask"])
    change_user(spec["uid"], spec["gid"])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # should the hand be killed; after setuid, which clears it
    try:
        os.chdir(spec["cwd"])
    except OSError as error:
        raise CannotStart("cwd", error.strerror) from error
    limit(spec["limits"])
    execute(spec["argv"], spec["env"])


def change_user(uid: int | None, gid: int | None) -> None:
    try:
        if gid is not None:
            os.setgroups([])
            os.setgid(gid)
        if uid is not None:
            os.setuid(uid)
    except OSError as error:
        raise CannotStart("user", f"cannot become user {uid}, group {gid}: {error.strerror}") from error


def limit(limits: dict[str, int]) -> None:
    """Set the limits: a process over its CPU time is told so by SIGXCPU first."""
    for name, value in limits.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        above = allowed + CPU_GRACE if name == "RLIMIT_CPU" else allowed
        resource.setrlimit(which, (allowed, above if hard == resource.RLIM_INFINITY else min(above, hard)))


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Exec `argv`, found by the task's own PATH. Raises the most telling reason."""
    name = argv[0]
    if "/" in name:
        places = [name]
    else:
        places = [os.path.join(folder or ".", name) for folder in env.get("PATH", os.defpath).split(":")]  # noqa: PTH118  # pathlib is not imported here
    reason: int | None = errno.ENOENT
    for place in places:
        try:
            os.execve(place, argv, env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                reason = error.errno
    raise CannotStart("missing" if reason == errno.ENOENT else "exec", os.strerror(reason or 0))


def child(spec: Spec, stdout: int, nothing: int, failed: int) -> NoReturn:
    """Become the task or write to `failed` why not; a successful exec closes it."""
    try:
        become(spec, stdout, nothing)
    except CannotStart as error:
        kind, sentence = error.args
    except BaseException as error:
        kind, sentence = "exec", str(error)
    os.write(failed, json.dumps({"error": sentence, "kind": kind}).encode())
    os._exit(127)


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
        failed, telling = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                child(spec, stdout, self.nothing, telling)
        except OSError as error:
            os.close(telling)
            os.close(failed)
            return {"error": f"cannot fork: {error.strerror}", "kind": "fork"}
        finally:
            os.close(stdout)
        os.close(telling)
        with open(failed, "rb") as file:
            trouble = file.read()
        if trouble:
            os.waitpid(pid, 0)
            told: Spec = json.loads(trouble)
            return told
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
        user, system, rss = self.used
        self.first = 0
        usage = {
            "user_seconds": user,
            "system_seconds": system,
            "max_rss_bytes": rss * (1024 if LINUX else 1),
        }
        self.say({"status": self.status, "usage": usage})


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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # our end is the end of the socket, and nothing else
    prctl(PR_SET_CHILD_SUBREAPER, 1)
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
