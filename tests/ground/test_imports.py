"""Who may import whom, and what is loaded before it is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"anyio", "dulwich", "httpx", "jinja2", "pydantic", "sqlite3", "sqlite_utils", "starlette", "uvicorn", "yaml"}


def loaded_by(*modules):
    """The top-level modules that a fresh interpreter holds after importing these."""
    code = f"import sys, {', '.join(modules)}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    words = [sys.executable, "-c", code]
    return set(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())


def test_the_contracts_hold(root):
    """The house: a room imports only rooms below it, siblings are strangers, only adapters know their library."""
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.exists():
        pytest.fail("import-linter is not installed here; run: make venv")
    environment = {**os.environ, "PYTHONPATH": ".typing"}
    done = subprocess.run([tool, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_command_line_starts_light():
    """`formicary --help` loads click and the table of commands, nothing that a command needs."""
    assert loaded_by("formicary.cli.main").intersection(HEAVY) == set()


def test_the_core_loads_nothing_of_the_world():
    """The core decides and touches nothing: no event loop, no network, no database, no git, not even indirectly."""
    core = [f"formicary.runner.core.{name}" for name in ("load", "plan", "schedule", "messages", "records")]
    world = {"anyio", "asyncio", "dulwich", "httpx", "sqlite3", "sqlite_utils", "starlette", "uvicorn"}
    assert loaded_by(*core).intersection(world) == set()


def test_the_ant_loads_no_server():
    """An ant needs neither the door nor the queen's database."""
    world = {"httpx", "prometheus_client", "sqlite3", "sqlite_utils", "starlette", "uvicorn"}
    assert loaded_by("formicary.ant.ant").intersection(world) == set()


def test_a_bucket_is_imported_on_first_use():
    """`run` and `serve` that keep everything on this machine load no client of S3."""
    assert "minio" not in loaded_by("formicary.cli.serve", "formicary.cli.run", "formicary.cli.doctor")


def test_an_engines_library_is_imported_on_first_use():
    """Who runs no container loads no client of an engine, not even with the executor."""
    modules = ("formicary.cli.serve", "formicary.cli.run", "formicary.cli.doctor", "formicary.executors.docker")
    assert loaded_by(*modules).intersection({"docker", "requests"}) == set()


def test_executors_are_imported_on_first_use():
    """The registry is a table of names: asking what there is imports no executor."""
    code = (
        "import sys; from formicary.executors.registry import BUILT_IN;"
        "print(len(BUILT_IN), *[place for place in BUILT_IN.values() if place.partition(':')[0] in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert int(said[0]) > 0
    assert said[1:] == []
