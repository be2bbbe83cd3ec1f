"""No secret leaves the ant (T8): a stream of bytes with every form of every secret replaced by `***`.

A form is found wherever the chunks happen to be cut, and only as many bytes are held back as may begin one. Our own
tokens are masked by their pattern, and `::add-mask::VALUE` in the stream makes VALUE a secret from that line on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from formicary.runner.core.secrets.finding import Finder
from formicary.runner.core.secrets.forms import MIN_SECRET, all_forms

MASK: Final = b"***"
ADD_MASK: Final = b"::add-mask::"
MAX_ADD_MASK: Final = 16 * 1024
TOKEN_START: Final = b"fmy_"
_TOKEN: Final = re.compile(rb"fmy_[A-Za-z0-9_-]{20,255}")
_OPEN_TOKEN: Final = re.compile(rb"fmy_[A-Za-z0-9_-]{0,254}\Z")
_MAX_TOKEN: Final = 4 + 255


class Masker:
    """Masks one stream, and single texts on their way elsewhere."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._held = b""
        self._covered = 0
        """How many of the held bytes belong to a mask that was already written."""
        self.holds = False
        """Whether something was held back that `idle` might let go."""
        self._forms: frozenset[bytes] = frozenset()
        self._learn(all_forms(secrets))

    def add(self, secret: str) -> None:
        """One more secret, from now on."""
        self._learn(all_forms((secret,)))

    def _learn(self, more: frozenset[bytes]) -> None:
        if not more and self._forms:
            return
        self._forms |= more
        self._by_head: dict[bytes, list[bytes]] = {}
        for form in sorted((*self._forms, ADD_MASK), key=len, reverse=True):
            self._by_head.setdefault(form[:MIN_SECRET], []).append(form)
        self._finder = Finder(self._forms, (TOKEN_START, ADD_MASK[:MIN_SECRET]))
        self._short_heads = {head[:length] for head in self._finder.heads for length in range(1, MIN_SECRET)}
        self._longest = len(max((*self._forms, ADD_MASK), key=len))

    def text(self, text: str) -> str:
        """A whole text, masked."""
        data = text.encode("utf-8", "surrogateescape")
        masked = self._whole(data)
        return text if masked is data else masked.decode("utf-8", "surrogateescape")

    def _whole(self, data: bytes) -> bytes:
        if not self._forms and TOKEN_START not in data:
            return data
        out, _ = self._mask(data, len(data), 0)
        return b"".join(out)

    def feed(self, data: bytes) -> bytes:
        """What may go out now."""
        data = self._held + data if self._held else data
        if b":" in data and ADD_MASK in data:  # one byte is looked for many times quicker than a word
            return self._with_commands(data)
        return self._advance(data, self._open_end(data, 1))

    def idle(self) -> bytes:
        """Nothing came for a while: let go of what is too short to matter; the beginning of a secret stays."""
        data = self._held
        if not data or ADD_MASK in data:
            return b""
        return self._advance(data, self._open_end(data, MIN_SECRET))

    def close(self) -> bytes:
        """There is no more; whatever is held goes out."""
        data = self._held
        if ADD_MASK in data:
            self._obey(data)
        return self._advance(data, len(data))

    def _with_commands(self, data: bytes) -> bytes:
        """Learn from every whole line with an add-mask; one that is not whole is held back from its marker."""
        at = data.find(ADD_MASK)
        while at >= 0:
            end = data.find(b"\n", at)
            if end < 0 and len(data) - at < MAX_ADD_MASK:
                return self._advance(data, min(at, self._open_end(data[:at], 1)))
            self._obey(data[at : end if end >= 0 else len(data)])
            at = data.find(ADD_MASK, end) if end >= 0 else -1
        return self._advance(data, self._open_end(data, 1))

    def _obey(self, line: bytes) -> None:
        value = line.rpartition(ADD_MASK)[2].strip().decode("utf-8", "surrogateescape")
        decoded = value.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
        for secret in {value, decoded, *decoded.splitlines()}:
            self.add(secret)

    def _advance(self, data: bytes, cut: int) -> bytes:
        """Give out `data` up to `cut`, masked; hold the rest."""
        self.holds = cut < len(data)
        if not self._forms and not self._covered and (b"_" not in data or data.find(TOKEN_START, 0, cut) < 0):
            self._held = data[cut:]
            return data[:cut] if cut < len(data) else data
        out, done = self._mask(data, cut, self._covered)
        self._held, self._covered = data[cut:], max(done - cut, 0)
        return b"".join(out)

    def _mask(self, data: bytes, cut: int, done: int) -> tuple[list[bytes], int]:
        """The bytes before `cut`, masked; forms that overlap are one mask. Bytes before `done` are written already."""
        out: list[bytes] = []
        for start in self._finder.starts(data, cut):
            if not (end := self._end_of(data, start, data[start : start + MIN_SECRET])):
                continue
            if start >= done:
                out += (data[done:start], MASK)
            done = max(done, end)
        if done < cut:
            out.append(data[done:cut])
        return out, done

    def _end_of(self, data: bytes, start: int, head: bytes) -> int:
        """Where the longest form ends that begins at `start`; 0 if none does."""
        length = next((len(form) for form in self._by_head.get(head, ()) if self._is_at(form, data, start)), 0)
        end = start + length if length else 0
        if head == TOKEN_START and (token := _TOKEN.match(data, start)):
            return max(end, token.end())
        return end

    def _is_at(self, form: bytes, data: bytes, start: int) -> bool:
        return data.startswith(form, start) and (form is not ADD_MASK or form in self._forms)

    def _open_end(self, data: bytes, shortest: int) -> int:
        """Where in `data` a form may have begun that is not whole yet; the end, if nowhere."""
        size = len(data)
        token = _OPEN_TOKEN.search(data, max(0, size - _MAX_TOKEN))
        first = token.start() if token else size  # a form may begin within a token, and must not cut it
        at = max(0, size - self._longest)
        while (at := self._finder.first(data, at)) >= 0:
            rest = data[at:]
            known = self._by_head.get(data[at : at + MIN_SECRET], ())
            if any(len(form) > len(rest) and form.startswith(rest) for form in known):
                return min(at, first)
            at += 1
        if token:
            return first
        for length in range(min(MIN_SECRET - 1, size), shortest - 1, -1):
            if data[-length:] in self._short_heads:
                return size - length
        return size
