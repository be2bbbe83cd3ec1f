"""What a project is written in, and how its tests are called: from the names and texts of its files alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from formicary.cli.languages_node import node
from formicary.cli.languages_python import python
from formicary.cli.project import Cache, Find, Folder

#: Folders whose projects are somebody else's, or no projects at all.
FOREIGN: Final = frozenset(
    {
        *("build", "dist", "target", "node_modules", "site-packages", "vendor", "third_party", "external", "venv"),
        *("doc", "docs", "example", "examples", "sample", "samples", "templates"),
        *("test", "tests", "testdata", "fixtures", "src"),
    }
)
MOST: Final = 12
"""So many tasks a person can still read; what is found beyond is left out."""

_PLAIN_FOLDER: Final = re.compile(r"[\w][\w.-]*")
_CHECKS: Final = ("test", "check")


def look(project: Folder) -> list[Find]:
    """All that is found, at the top and in the folders right below it; Make only where nothing else is."""
    found = [find for language in LANGUAGES if (find := language(project))]
    at_top = {find.language for find in found}
    for name in project.folders():
        if name not in FOREIGN and _PLAIN_FOLDER.fullmatch(name):
            found += [find for find in _below(project.below(name), name) if find.language not in at_top]
    if not found and (find := make(project)):
        return [find]
    return found[:MOST]


def _below(folder: Folder, name: str) -> Iterator[Find]:
    for language in LANGUAGES:
        find = language(folder)
        if find and not find.sign.endswith(".py"):  # files alone make no project of a folder
            yield replace(find, folder=name)


def go(folder: Folder) -> Find | None:
    """Modules are fetched into a cache where there is a go.sum; Go takes absolute paths alone."""
    if "go.mod" not in folder:
        return None
    tests = ("go vet ./...", "go test ./...")
    if "go.sum" not in folder:
        return Find("Go", "go.mod", "go vet, go test", tests, ("go",))
    return Find(
        *("Go", "go.mod", "go vet, go test", ('export GOMODCACHE="$PWD/.gomod"', *tests), ("go",)),
        environment={"GOFLAGS": "-modcacherw"},
        cache=Cache("go", ("go.sum",), (".gomod/cache/download",)),
    )


def rust(folder: Folder) -> Find | None:
    """Crates are fetched into a cache where the lock names any."""
    if "Cargo.toml" not in folder:
        return None
    locked = " --locked" if "Cargo.lock" in folder else ""
    if 'source = "' not in folder.text("Cargo.lock"):
        return Find("Rust", "Cargo.toml", "cargo test", (f"cargo test{locked}",), ("cargo",))
    cache = Cache("cargo", ("Cargo.lock",), (".cargo-home/registry/cache", ".cargo-home/registry/index"))
    environment = {"CARGO_HOME": ".cargo-home"}
    return Find(
        "Rust", "Cargo.toml", "cargo test", (f"cargo test{locked}",), ("cargo",), environment=environment, cache=cache
    )


def maven(folder: Folder) -> Find | None:
    """The wrapper, where there is one."""
    if "pom.xml" not in folder:
        return None
    command, tool = ("sh mvnw", "java") if "mvnw" in folder else ("mvn", "mvn")
    script = (f"{command} --batch-mode -Dmaven.repo.local=.m2 verify",)
    return Find("Java", "pom.xml", f"{command} verify", script, (tool,), cache=Cache("maven", ("pom.xml",), (".m2",)))


def gradle(folder: Folder) -> Find | None:
    """The wrapper, where there is one."""
    sign = folder.first("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")
    if not sign or "pom.xml" in folder:
        return None
    command, tool = ("sh gradlew", "java") if "gradlew" in folder else ("gradle", "gradle")
    keys = (*folder.matching("*.gradle", "*.gradle.kts", "gradle.lockfile"),)
    cache = Cache("gradle", keys, (".gradle-home/caches/modules-2", ".gradle-home/wrapper"))
    return Find(
        *("Java", sign, f"{command} build", (f"{command} --no-daemon build",), (tool,)),
        environment={"GRADLE_USER_HOME": ".gradle-home"},
        cache=cache,
    )


def make(folder: Folder) -> Find | None:
    """The target `test`, else `check`, else what `make` makes by itself."""
    sign = folder.first("GNUmakefile", "makefile", "Makefile")
    if not sign:
        return None
    targets = set(re.findall(r"^([A-Za-z][\w-]*(?: +[\w-]+)*)\s*::?(?!=)", folder.text(sign), re.M))
    names = {name for many in targets for name in many.split()}
    target = next((f" {name}" for name in _CHECKS if name in names), "")
    return Find("Make", sign, f"make{target}", (f"make{target}",), ("make",))


LANGUAGES: Final[tuple[Callable[[Folder], Find | None], ...]] = (python, node, go, rust, maven, gradle)
