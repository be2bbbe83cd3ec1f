"""Executors are found by method, imported on first use, and made once."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from formicary.executors import registry
from formicary.executors.dummy import DummyExecutor
from formicary.executors.process_group import Hands
from formicary.executors.registry import Registry
from formicary.executors.shell import ShellExecutor
from formicary.runner.core.errors import NotSupported, SetupError

PLATFORMS = {"docker", "kubernetes", "minio", "httpx", "websockets", "nats", "ctypes", "formicary.executors.shell"}


def plugged(monkeypatch, **places):
    points = [EntryPoint(name, place, registry.GROUP) for name, place in places.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_importing_the_registry_imports_no_platform_library():
    program = "import sys, formicary.executors.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert PLATFORMS & set(done.stdout.split()) == set()


def test_an_executor_is_made_once():
    executors = Registry(Hands(), 1.0)
    made = executors.executor("SHELL")
    assert isinstance(made, ShellExecutor)
    assert executors.executor("SHELL") is made


def test_built_in_methods_are_those_that_their_executors_name():
    executors = Registry(Hands())
    for method in registry.BUILT_IN:
        assert method in executors.executor(method).methods


def test_an_unknown_method_names_the_known():
    with pytest.raises(NotSupported, match=r"NONE; it runs CONTAINER, DOCKER, HTTP_DELETE, .*, SHELL\."):
        Registry(Hands()).executor("NONE")


def test_tests_may_bring_their_own():
    executors = Registry(Hands(), extra={"DUMMY": lambda: DummyExecutor})
    assert isinstance(executors.executor("DUMMY"), DummyExecutor)


def test_a_plugin_is_found_but_cannot_replace_ours(monkeypatch):
    plugged(
        monkeypatch, MINE="formicary.executors.dummy:DummyExecutor", SHELL="formicary.executors.dummy:DummyExecutor"
    )
    executors = Registry(Hands())
    assert executors.methods == {"MINE", *registry.BUILT_IN}
    assert isinstance(executors.executor("MINE"), DummyExecutor)
    assert isinstance(executors.executor("SHELL"), ShellExecutor)


def test_a_missing_library_is_the_operators_to_install(monkeypatch):
    plugged(monkeypatch, MINE="formicary.no_such_module:Executor")
    with pytest.raises(SetupError, match="MINE needs a library"):
        Registry(Hands()).executor("MINE")


async def test_closing_closes_what_was_made():
    closed = []

    class Closing(DummyExecutor):
        async def aclose(self):
            closed.append(self)

    executors = Registry(Hands(), extra={"A": lambda: Closing, "B": lambda: Closing, "C": lambda: Closing})
    made = executors.executor("A")
    assert executors.executor("B") is made
    await executors.aclose()
    assert closed == [made]
