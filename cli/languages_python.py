"""Python: what to install, and which of tox, pytest and unittest tests it."""

from __future__ import annotations

import shlex
import tomllib
from typing import Any, Final

from formicary.cli.project import Cache, Find, Folder

_REQUIREMENTS: Final = ("requirements*.txt", "*-requirements.txt", "*_requirements.txt")
_EXTRAS: Final = ("test", "tests", "testing", "dev")
_TESTS: Final = ("test*.py", "*_test.py")
_PYTHON: Final = ".venv/bin/python"


def python(folder: Folder) -> Find | None:
    """None where nothing tells of Python. Bare `.py` files count in this very folder, `src` and `tests` alone."""
    sign = folder.first("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", *folder.matching(*_REQUIREMENTS))
    sign = sign or next(iter([*folder.matching("*.py"), *_sources(folder)]), "")
    if not sign:
        return None
    document = _toml(folder.text("pyproject.toml"))
    installed = _installed(folder, document)
    if _has_tox(folder, document):
        return _with_venv(folder, sign, "tox", ["tox"], "tox run -e py")
    if _has_pytest(folder, document):
        return _with_venv(folder, sign, "pytest", [*installed, "pytest"], "pytest")
    how, command = _without_pytest(folder)
    if not installed:
        return Find("Python", sign, how, (f"python3 {command}",), ("python3",))
    return _with_venv(folder, sign, how, installed, command.removeprefix("-m "))


def _sources(folder: Folder) -> list[str]:
    return sorted(name for name in folder.anywhere("*.py") if name.partition("/")[0] in ("src", "test", "tests"))


def _with_venv(folder: Folder, sign: str, how: str, installed: list[str], module: str) -> Find:
    # Compiling everything would go through the virtual environment too.
    command = module.replace("compileall -q .", "compileall -q -x '[.]venv' .")
    script = (
        "python3 -m venv .venv",
        f"{_PYTHON} -m pip install --quiet {shlex.join(installed)}",
        f"{_PYTHON} -m {command}",
    )
    keys = (*folder.matching("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", *_REQUIREMENTS),)
    cache = Cache("pip", keys, (".pip",))
    return Find("Python", sign, how, script, ("python3",), environment={"PIP_CACHE_DIR": ".pip"}, cache=cache)


def _installed(folder: Folder, document: dict[str, Any]) -> list[str]:
    """The words after `pip install`."""
    words = [word for name in folder.matching(*_REQUIREMENTS) for word in ("-r", name)]
    project = _table(document, "project")
    if project or "build-system" in document or "setup.py" in folder or "[metadata]" in folder.text("setup.cfg"):
        extras = [name for name in _EXTRAS if name in _table(project, "optional-dependencies")]
        words += ["-e", f".[{','.join(extras)}]" if extras else "."]
    groups = [name for name in _EXTRAS if name in _table(document, "dependency-groups")]
    return words + [word for name in groups for word in ("--group", name)]


def _has_tox(folder: Folder, document: dict[str, Any]) -> bool:
    return "tox.ini" in folder or "[tox" in folder.text("setup.cfg") or "tox" in _table(document, "tool")


def _has_pytest(folder: Folder, document: dict[str, Any]) -> bool:
    if folder.anywhere("pytest.ini", "conftest.py") or "pytest" in _table(document, "tool"):
        return True
    return any("pytest" in folder.text(name) for name in folder.matching("setup.cfg", "pyproject.toml", *_REQUIREMENTS))


def _without_pytest(folder: Folder) -> tuple[str, str]:
    """unittest where there are tests that it would find, else at least the syntax of every file."""
    tests = [name for name in folder.anywhere(*_TESTS) if name.rpartition("/")[2].startswith("test")]
    places = {name.rpartition("/")[0] for name in tests}
    for place in sorted(places, key=lambda one: (one.count("/"), one)):
        if place == "" or _is_package(folder, place):
            return "unittest", "-m unittest discover"
    for place in sorted(places, key=lambda one: (one.count("/"), one)):
        return "unittest", f"-m unittest discover -s {shlex.quote(place)}"
    return "no tests yet; the syntax of every file", "-m compileall -q ."


def _is_package(folder: Folder, place: str) -> bool:
    """Whether `unittest discover` would walk down there from the top."""
    parts = place.split("/")
    return all(f"{'/'.join(parts[: number + 1])}/__init__.py" in folder for number in range(len(parts)))


def _toml(text: str) -> dict[str, Any]:
    """What the file says; a broken one says nothing."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
