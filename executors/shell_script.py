"""The top of the shell executor: which text runs the items, and what its output says about them. It is pure.

Native rule of the language: one shell for all items, so `cd` and `export` carry over; the status is checked after every
item, and `$?` decides, not `-e` alone. Each item is evaluated by `eval`, so that a syntax error, an unclosed quote or a
here-document stays inside it.

Where an item begins is told in its own output, by a mark: a line with a random nonce, written to the very same pipe and
taken out again here. Scripts may do what they like with descriptors 0 to 9 (`exec 9>lock`, `exec >file`), so the mark
goes through a high one, by its path: a shell can write `>/dev/fd/63` where it cannot write `>&63`. The first item needs
no mark, so a script of one item has none, and no work is done on its output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from formicary.executors.contract import Sink

MARK_FD: Final = 63
MARK_PATH: Final = f"/dev/fd/{MARK_FD}"
SH_FAMILY: Final = frozenset({"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "lksh", "yash", "zsh", "rbash"})

# `set -x` is put aside between items, so that our lines are not in the output; the item gets it back inside its eval.
# Leaving is done outside the braces, for a trap on EXIT must keep its standard error.
_PUT_ASIDE: Final = (
    "{ _formicary=$? _formicary_x=; case $- in *x*) _formicary_x='set -x; '; set +x;; esac; } 2>/dev/null"
)
_CHECK: Final = '[ "$_formicary" = 0 ] || exit "$_formicary"'


@dataclass(frozen=True, slots=True)
class Script:
    """`text` is run by the task's shell; `at_once` are announced when it starts, `marked` one at each mark."""

    text: str
    at_once: tuple[str, ...]
    marked: tuple[str, ...] = ()


def is_sh(shell: Sequence[str]) -> bool:
    """Whether `shell` understands sh; `env bash` and `busybox sh` do."""
    words = [PurePosixPath(word).name for word in shell if not word.startswith("-")]
    while words and words[0] in ("env", "busybox"):
        words = words[1:]
    return bool(words) and words[0] in SH_FAMILY


def compose(
    shell: Sequence[str], items: Sequence[str], nonce: str, *, check: bool = True, mark_path: str = MARK_PATH
) -> Script:
    """The script for these items. Other shells than sh (python3, node) get all items joined in one text."""
    if not is_sh(shell):
        return Script("\n".join(items) + "\n", tuple(items))
    lines = ["set -e"] if check else []
    for number, item in enumerate(items):
        if number:
            lines += between(f"{nonce}{number}", check, mark_path)
        lines.append(("eval " if not number else 'eval "$_formicary_x"') + quoted(item))
    return Script("\n".join(lines) + "\n", tuple(items[:1]), tuple(items[1:]))


def between(mark: str, check: bool, path: str = MARK_PATH) -> list[str]:
    """What checks the status of one item and says that the next one begins."""
    said = f"{{ command echo '{mark}' >{path}; }} 2>/dev/null || :"
    return [_PUT_ASIDE, _CHECK, said] if check else [_PUT_ASIDE, said]


def quoted(item: str) -> str:
    """`item` as one word of sh."""
    return "'" + item.replace("'", "'\\''") + "'"


class Announcer:
    """Takes the marks out of the output and says the items' names where they were; every other byte goes through."""

    def __init__(self, sink: Sink, nonce: str, items: Sequence[str]) -> None:
        self._sink = sink
        self._nonce = nonce.encode()
        self._items = items
        self._next = 0
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Pass on `data`, but for an end that may be the beginning of a mark."""
        if self._held:
            data, self._held = self._held + data, b""
        while self._next < len(self._items):
            mark = self._mark()
            at = data.find(mark)
            if at < 0:
                keep = len(data) - overlap(data, mark)
                self._held, data = data[keep:], data[:keep]
                break
            if at:
                self._sink.out(data[:at])
            self._sink.cmd(self._items[self._next])
            self._next += 1
            data = data[at + len(mark) :]
        if data:
            self._sink.out(data)

    def close(self) -> None:
        """There is no more output."""
        if self._held:
            self._sink.out(self._held)
            self._held = b""

    def _mark(self) -> bytes:
        return b"%s%d\n" % (self._nonce, self._next + 1)


def overlap(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of `data` are the beginning of `mark`."""
    start = data.find(mark[:1], max(0, len(data) - len(mark) + 1))
    while start >= 0:
        if mark.startswith(data[start:]):
            return len(data) - start
        start = data.find(mark[:1], start + 1)
    return 0
