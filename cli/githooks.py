"""Git hooks as files: puts ours beside hooks that were there, which still run, and takes it away without a trace.

A hook that was there is renamed to `NAME.before-formicary`; our script starts the sender in the background and then
runs that one, with its own arguments, standard input and exit code. Scripts of a shell are sourced by that shell, so
that `$0` is for them what it was: hook managers look at it.
"""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import Conflict

MARK: Final = "# formicary hook"
BEFORE: Final = ".before-formicary"
SHELLS: Final = frozenset({"sh", "bash", "dash", "ksh", "zsh"})
#: Hooks that git gives something to read.
READING: Final = frozenset({"post-receive", "post-rewrite"})

_SCRIPT: Final = """\
#!/bin/sh
{mark}: tells the server that refs have moved. Made by `formicary hook install`; see `formicary hook uninstall`.
# It returns at once and never fails: the work is done in the background, and also when no server runs.
python={python}
{skip}{read}if [ -x "$python" ]; then
    (
        exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
        trap '' HUP
        if command -v setsid >/dev/null 2>&1; then apart=setsid; else apart=; fi
        {given}$apart "$python" -E -P -m formicary.cli.hooksend {name} &
    ) </dev/null >/dev/null 2>&1
fi
{rest}"""
#: While a rebase goes on each picked commit calls post-commit; post-rewrite tells of them all at its end.
_SKIP: Final = """\
if [ -d "${GIT_DIR:-.git}/rebase-merge" ]; then python=; fi
"""
_REST: Final = """\
before="${{0%/*}}/{name}{suffix}"
if [ -x "$before" ]; then
    {given}{call} "$@"
    exit $?
fi
exit 0
"""


def script(name: str, python: str, shell: Sequence[str] = ()) -> str:
    """Our hook. `shell` is the shell that sources the hook that was there before; () = that one is executed."""
    given = "printf '%s\\n' \"$input\" | " if name in READING else ""
    call = '"$before"'
    if shell:
        call = f'{shlex.join(shell)} -c \'. "${{0%/*}}/{name}{BEFORE}"\' "${{0%/*}}/{name}"'
    return _SCRIPT.format(
        mark=MARK,
        python=shlex.quote(python),
        skip=_SKIP if name == "post-commit" else "",
        read="input=$(cat)\n" if name in READING else "",
        given=given if name == "post-receive" else "",
        name=name,
        rest=_REST.format(name=name, suffix=BEFORE, given=given, call=call),
    )


def is_ours(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return MARK.encode() in file.read(400)
    except (FileNotFoundError, IsADirectoryError):
        return False


def before_of(path: Path) -> Path:
    return path.with_name(path.name + BEFORE)


def put(path: Path, python: str) -> bool:
    """Install our hook at this path; True where it calls one that was there. Raises Conflict."""
    before = before_of(path)
    if path.is_symlink() or (path.exists() and not is_ours(path)):
        if before.is_symlink() or before.exists():
            raise Conflict(f"{path} was changed after our hook was made; move {before} away, then install again")
        path.rename(before)
    text = script(path.name, python, _shell_of(before))
    write(path, text, 0o755)
    return before.exists()


def take_away(path: Path) -> bool:
    """Remove our hook, and put back the one that was there. False where ours is not there."""
    if not is_ours(path):
        return False
    before = before_of(path)
    if before.is_symlink() or before.exists():
        before.replace(path)
    else:
        path.unlink()
    return True


def _shell_of(hook: Path) -> tuple[str, ...]:
    """The shell of a hook's first line with its options; () for what is no script of a shell."""
    try:
        with open(hook, "rb") as file:
            first = file.readline(200).decode("utf-8", "replace").strip()
    except OSError:
        return ()
    words = first.removeprefix("#!").split() if first.startswith("#!") else []
    if words and Path(words[0]).name == "env":
        words = words[1:]
    return tuple(words) if words and Path(words[0]).name in SHELLS else ()


def write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all, and owned by whom the folder belongs to: root may set up another user's repository."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
        owner = path.parent.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
    Path(name).replace(path)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
