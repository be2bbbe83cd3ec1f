"""Reads typed values out of a tree: fills the tokens, checks what a value may be, and gathers everything that is wrong.

A value that an outsider can write may stand in text, and in code only if it is a plain word (T6). What a missing name
means depends on when a definition is read: nothing at load, an error where the value is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any, Final, NoReturn, TypeVar

from formicary.runner.core.definition import Value
from formicary.runner.core.language.functions import nearest, text_of
from formicary.runner.core.language.limits import MAX_FAULTS, MAX_INT, Fault
from formicary.runner.core.language.nodes import Mapping, Node, Scalar, Sequence, resolve
from formicary.runner.core.language.render import Rendered
from formicary.runner.core.language.run import TOKEN, Token

_PLAIN_WORD: Final = re.compile(r"(?!-)[A-Za-z0-9._/@:+=,%-]*\Z")
_HOST_WORD: Final = re.compile(r"(?!-)[A-Za-z0-9.-]*\Z")
_HOST_ENDED: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#\\]+[/?#]")
_DURATION: Final = re.compile(r"(?=.)(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s)?(?:(\d{1,9})ms)?\Z")
#: What Go's time.ParseDuration takes beyond that: fractions of any unit, in any order.
_GO_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(ms|us|µs|ns|h|m|s)")
_GO_DURATION: Final = re.compile(rf"(?:{_GO_PART.pattern}){{1,9}}\Z")
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,6})?\Z")
_T = TypeVar("_T")


class When(Enum):
    """What a reading is for."""

    LOAD = auto()
    PLAN = auto()
    ATTEMPT = auto()


class Unread(Exception):
    """This value cannot be had: its fault is told already, or nobody can know it yet. The default is taken."""


class Enough(Exception):
    """So much is wrong that the rest is not told."""


class Reader:
    """One reading of one rendering."""

    def __init__(
        self,
        rendered: Rendered,
        when: When,
        *,
        names: tuple[str, ...] = (),
        secrets: frozenset[str] = frozenset(),
        configs: frozenset[str] = frozenset(),
        blocks: tuple[tuple[int, int], ...] = (),
        go: bool = False,
        included: bool = False,
    ) -> None:
        self.rendered = rendered
        self.tokens = rendered.tokens
        self.when = when
        self.names = names
        self.secrets = secrets
        """Names of the secrets that a task may see if it names them."""
        self.configs = configs
        """Names of secrets of which a task sees only its own, or none."""
        self.blocks = blocks
        self.go = go
        """Whether this is the go dialect: what is missing is empty, and what is unknown is no error."""
        self.included = included
        """Whether the document is read with the fragments that it includes."""
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self.late = False
        """Whether what is read now is rendered again for each attempt."""
        self.code = False
        """Whether what is read now is run."""
        self.instead = ""
        """What to do if a tainted value may not stand in what is read now, where no variable helps."""
        self.used: set[str] = set()
        """Names in what was read that shapes the graph."""
        self.tainted = False
        """Whether anything read since this was last cleared is tainted."""

    # --- faults

    def tell(self, node: Node | int, message: str, expected: str = "") -> None:
        index = node if isinstance(node, int) else node.start
        self.add(Fault(self.rendered.origin(index), message, expected))

    def add(self, fault: Fault) -> None:
        if any(fault.offset == other.offset and fault.message == other.message for other in self.faults):
            return
        self.faults.append(fault)
        if len(self.faults) >= MAX_FAULTS:
            raise Enough

    def fail(self, node: Node | int, message: str, expected: str = "") -> NoReturn:
        self.tell(node, message, expected)
        raise Unread

    def warn(self, offset: int, message: str, expected: str) -> None:
        if not any(fault.offset == offset for fault in self.warnings) and len(self.warnings) < MAX_FAULTS:
            self.warnings.append(Fault(offset, message, expected))

    def question(self, node: Node | int, message: str, expected: str = "") -> None:
        """Tell what the Go original would have let pass; its own definitions get a warning."""
        if not self.go:
            return self.tell(node, message, expected)
        self.warn(self.rendered.origin(node if isinstance(node, int) else node.start), message, expected)

    def attempt(self, read: Callable[[], _T], default: _T) -> _T:
        """What `read` returns, or the default where there is nothing to be had."""
        try:
            return read()
        except Unread:
            return default

    # --- tokens

    @property
    def lenient(self) -> bool:
        return self.when is When.LOAD or (self.when is When.PLAN and self.late)

    def settled(self, node: Scalar) -> bool:
        """Whether all that this text is made of is known, so that its look can be judged."""
        if not node.token or not self.lenient:
            return True
        tokens = [self.tokens[int(found[1])] for found in TOKEN.finditer(node.text)]
        return not any(token.missing or (token.fault and self.when is When.PLAN) for token in tokens)

    def text(self, node: Scalar) -> str:
        """The text of a scalar with its values put in."""
        if not node.token:
            return node.text
        return TOKEN.sub(lambda found: self._value(self.tokens[int(found[1])]), node.text)

    def _value(self, token: Token) -> str:
        self._look(token)
        if self.code and token.tainted and not _PLAIN_WORD.match(token.text):
            return self._unsafe(token)
        return token.text

    def address(self, node: Scalar) -> str:
        """The text of a URL. What is tainted may stand behind the host; within it only as letters, digits, `.`, `-`."""
        made, last = "", 0
        for found in TOKEN.finditer(node.text):
            token = self.tokens[int(found[1])]
            made, last = made + node.text[last : found.start()], found.end()
            value = self._value(token)
            if token.tainted and not _HOST_ENDED.match(made) and not _HOST_WORD.match(value):
                value = self._unsafe(token)
            made += value
        return made + node.text[last:]

    def _look(self, token: Token) -> None:
        about = token.about
        if not self.late:
            self.used |= about.names
        self.tainted = self.tainted or token.tainted
        later = self.lenient and (self.late if self.when is When.PLAN else bool(token.missing))
        if token.fault is not None and not later:
            self.add(token.fault)
            raise Unread
        if token.missing and not self.lenient and not self.go:
            self.missing(token.missing, about.place_of(token.missing))
        if self.code and self.when is When.LOAD:
            self._warn_of(token)

    def missing(self, name: str, offset: int) -> NoReturn:
        near = nearest(name, self.names)
        remedy = "or write " if near else "write "
        self.add(
            Fault(
                offset,
                f"There is no `{name[:100]}` here",
                f"{near + ', ' if near else ''}{remedy}`{{{{ {name[:100]} | default('') }}}}` if it may be missing",
            )
        )
        raise Unread

    def _unsafe(self, token: Token) -> str:
        if self.when is When.PLAN and self.late:
            if self.instead:
                raise Unread  # the value is all or nothing
            return ""
        names = sorted(token.about.names)
        variable = f'"${names[0]}"' if len(names) == 1 else "a variable, such as " + f'"${names[0]}"'
        self.add(
            Fault(
                token.about.offset,
                f"`{token.about.source[:80]}` holds what outsiders can write, and its value may not become code",
                self.instead or f"use the environment variable instead: {variable}",
            )
        )
        raise Unread

    def _warn_of(self, token: Token) -> None:
        risky = token.about.names & _FREE_TEXT
        if risky:
            name = min(risky)
            self.warn(
                token.about.offset,
                f"`{name}` can be written by outsiders; where it is more than a plain word the task will fail",
                self.instead or f'use the environment variable instead: "${name}"',
            )

    def known(self, node: Scalar) -> str:
        """The text of a scalar that must be whole to mean something: not read where a name in it is still missing."""
        if node.token and self.lenient and self.unknown(node):
            raise Unread
        return self.text(node)

    def unknown(self, node: Scalar) -> bool:
        return any(self.tokens[int(found[1])].missing for found in TOKEN.finditer(node.text))

    # --- shapes

    def scalar(self, node: Node, expected: str = "text") -> Scalar:
        if not isinstance(node, Scalar):
            found = "a list" if isinstance(node, Sequence) else "a mapping"
            self.fail(node, f"{_capital(expected)} was expected here, and this is {found}", f"write {expected}")
        return node

    def mapping(self, node: Node, what: str = "This") -> Mapping:
        if not isinstance(node, Mapping):
            told = f"{_capital(what)} must be a mapping (`key: value`), and this is {self.kind(node)}"
            self.fail(node, told, "check the indentation")
        return node

    def kind(self, node: Node) -> str:
        if isinstance(node, Sequence):
            return "a list"
        return "a mapping" if isinstance(node, Mapping) else "text"

    def empty(self, node: Node) -> bool:
        """Whether nothing was written; in the go dialect that counts after the values are put in."""
        if not isinstance(node, Scalar) or not node.plain:
            return False
        if not node.token:
            return resolve(node.text) is None
        return self.go and not TOKEN.sub("", node.text) and not any(map(self._says, TOKEN.finditer(node.text)))

    def _says(self, found: re.Match[str]) -> bool:
        """Whether a token stands for some text, or may do so later."""
        token = self.tokens[int(found[1])]
        return bool(token.text or token.fault or (token.missing and self.lenient))

    def pairs(self, node: Mapping) -> Iterator[tuple[str, Scalar, Node]]:
        """Keys with their values put in; a key that comes twice that way is told."""
        seen: set[str] = set()
        for key, value in node.pairs:
            try:
                name = self.text(key)
            except Unread:
                continue
            if name in seen and key.token and not self.lenient:
                self.tell(key, f"The key `{name[:60]}` is there twice", "remove one of the two")
                continue
            seen.add(name)
            yield name, key, value

    def flat(self, node: Node) -> Iterator[Node]:
        """The items of a list, lists within it opened (anchors make such); a single value is a list of one."""
        if isinstance(node, Sequence):
            for item in node.items:
                if isinstance(item, Scalar) and not item.plain:
                    yield item
                else:
                    yield from self.flat(item)
        elif not self.empty(node):
            yield node

    # --- values

    def string(self, node: Node) -> str:
        scalar = self.scalar(node)
        return "" if self.empty(node) else self.text(scalar)

    def strings(self, node: Node) -> tuple[str, ...]:
        found: list[str] = []
        for item in self.flat(node):
            if isinstance(item, Scalar) and not item.token:
                found.append(item.text)
                continue
            try:
                found.extend(self._items(item))
            except Unread:
                continue
        return tuple(found)

    def _items(self, item: Node) -> list[str]:
        scalar = self.scalar(item)
        value = self.single(scalar)
        if isinstance(value, list):
            return [self._checked(text_of(entry), scalar) for entry in value if entry is not None]
        return [self.string(item)]

    def _checked(self, text: str, node: Scalar) -> str:
        token = self.tokens[int(node.text[1:-1])]
        if self.code and token.tainted and not _PLAIN_WORD.match(text):
            return self._unsafe(token)
        return text

    def single(self, node: Scalar, *, quoted: bool = False) -> Any:
        """The list or mapping that a plain scalar (or a quoted one too) of one token stands for; None otherwise."""
        if node.token and (node.plain or quoted) and (found := TOKEN.fullmatch(node.text)):
            token = self.tokens[int(found[1])]
            if isinstance(token.value, (list, dict)):
                self._look(token)
                return token.value
        return None

    def boolean(self, node: Node) -> bool:
        text = self.known(self.scalar(node, "true or false"))
        value = resolve(text)
        if not isinstance(value, bool):
            self.fail(node, f"`{text[:60]}` is neither true nor false", "write `true` or `false`")
        return value

    def integer(self, node: Node, low: int = -MAX_INT, high: int = MAX_INT) -> int:
        text = self.known(self.scalar(node, "a whole number"))
        value = resolve(text)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            limits = f"from {low} to {high}" if high < MAX_INT else f"of at least {low}" if low > -MAX_INT else ""
            wanted = f"a whole number {limits}".strip()
            self.fail(node, f"`{text[:60]}` is not {wanted}", "write digits only, such as `2`")
        return value

    def number(self, node: Node, low: float = 0.0) -> float:
        text = self.known(self.scalar(node, "a number"))
        value = resolve(text)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < low:
            self.fail(node, f"`{text[:60]}` is not a number of at least {low:g}", "write a number")
        return float(value)

    def duration(self, node: Node) -> float:
        text = self.known(self.scalar(node, "a duration")).strip()
        if _SECONDS.match(text):
            return float(text)
        found = _DURATION.match(text)
        if found is None and self.go and (parts := _GO_DURATION.match(text)):
            return sum(float(count) * _GO_UNITS[unit] for count, unit in _GO_PART.findall(parts[0]))
        if found is None:
            self.fail(
                node, f"`{text[:60]}` is not a duration", "write `500ms`, `15s`, `5m`, `1h30m`, or a number of seconds"
            )
        hours, minutes, seconds, thousandths = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds + thousandths / 1000

    def choice(self, node: Node, *words: str) -> str:
        text = self.known(self.scalar(node))
        if text not in words:
            listed = ", ".join(f"`{word}`" for word in words)
            self.question(node, f"`{text[:60]}` is none of {listed}", nearest(text, words) or f"write one of {listed}")
            raise Unread
        return text

    def value(self, node: Node) -> Value:
        """Plain data with the types that YAML gives it; a value that is text stays as it was written."""
        if isinstance(node, Sequence):
            return [self.value(item) for item in node.items]
        if isinstance(node, Mapping):
            return {name: self.value(value) for name, _, value in self.pairs(node)}
        if not node.token:
            return _typed(node.text) if node.plain else node.text
        single = self.single(node)
        if single is not None:
            return single  # type: ignore[no-any-return]  # names hold plain data only
        text = self.text(node)
        if not node.plain or not TOKEN.fullmatch(node.text):
            return text
        # The type that its text would have, unless the text would not come back as it was ("True", "null", "").
        typed = _typed(text)
        return typed if typed is not None and text_of(typed) == text else text


#: Sentences, and not names: a task that puts them into its script fails sooner or later.
_FREE_TEXT: Final = frozenset(
    {"GitCommitMessage", "GitCommitAuthor", "GitPullRequestTitle", "GitChangedFiles", "GitCommitAuthorEmail"}
)


def _typed(text: str) -> Value:
    """As YAML says, but a number that would be written differently stays text: 3.10, 0777, 1e3."""
    typed = resolve(text)
    return text if isinstance(typed, (int, float)) and not isinstance(typed, bool) and str(typed) != text else typed


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
