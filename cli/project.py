"""A project's files as `formicary init` looks at them, and what it finds there. Plain values; nothing is read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

#: Files whose text is looked into; of all others the name says enough.
READ: Final = (
    *("pyproject.toml", "setup.cfg", "tox.ini", "requirements*.txt", "*requirements.txt"),
    *("package.json", "Cargo.lock", "Makefile", "makefile", "GNUmakefile"),
)


@dataclass(frozen=True, slots=True)
class Cache:
    """What is brought along from run to run; `key_paths` that do not exist are left out by who makes it."""

    key: str
    key_paths: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Find:
    """A language, the file that told of it, how it is tested; `tools` must be on the PATH of whoever runs it."""

    language: str
    sign: str
    how: str
    script: tuple[str, ...]
    tools: tuple[str, ...]
    folder: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    cache: Cache | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one folder and below: names relative to it, with `/`; `texts` of those that `READ` names."""

    names: frozenset[str]
    texts: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def first(self, *names: str) -> str:
        """The first of these that is there, or ""."""
        return next((name for name in names if name in self.names), "")

    def matching(self, *patterns: str) -> list[str]:
        """The files in this very folder whose name fits, sorted."""
        here = (name for name in self.names if "/" not in name)
        return sorted(name for name in here if any(fnmatchcase(name, one) for one in patterns))

    def anywhere(self, *patterns: str) -> list[str]:
        """The files here and below whose last part fits, sorted."""
        return sorted(name for name in self.names if any(fnmatchcase(name.rpartition("/")[2], one) for one in patterns))

    def text(self, name: str) -> str:
        return self.texts.get(name, "")

    def below(self, folder: str) -> Folder:
        """That folder as if it were the project."""
        cut = f"{folder}/"
        names = frozenset(name.removeprefix(cut) for name in self.names if name.startswith(cut))
        return Folder(names, {n.removeprefix(cut): text for n, text in self.texts.items() if n.startswith(cut)})

    def folders(self) -> Iterator[str]:
        """The folders in this very folder, sorted."""
        yield from sorted({name.partition("/")[0] for name in self.names if "/" in name})
