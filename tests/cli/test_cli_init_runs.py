"""What `formicary init` writes is run for real, with `formicary run`, by the tools that are on this machine."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from servers import FORMICARY, environment

UNIT = "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(1 + 1, {})\n"
NODE_TEST = (
    "const test = require('node:test'); const assert = require('node:assert');\ntest('a', () => assert.ok({}));\n"
)
GO_TEST = 'package x\n\nimport "testing"\n\nfunc TestA(t *testing.T) { if 1+1 != %s { t.Fatal() } }\n'
CARGO = '[package]\nname = "r"\nversion = "0.1.0"\nedition = "2021"\n'
#: Name → the tools that it takes, files that pass; and the file that breaks it, with its broken text.
PROJECTS = {
    "python": (["python3"], {"test_a.py": UNIT.format(2)}, {"test_a.py": UNIT.format(3)}),
    "python below": (["python3"], {"tests/test_a.py": UNIT.format(2)}, {"tests/test_a.py": UNIT.format(3)}),
    "python without tests": (["python3"], {"a.py": "a = 1\n"}, {"a.py": "a = = 1\n"}),
    "node": (
        ["node", "npm"],
        {"package.json": '{"scripts": {"test": "node --test"}}', "a.test.js": NODE_TEST.format(1)},
        {"a.test.js": NODE_TEST.format(0)},
    ),
    "node without scripts": (["node"], {"package.json": "{}", "index.js": "1\n"}, {"index.js": "1 +\n"}),
    "go": (["go"], {"go.mod": "module x\n\ngo 1.19\n", "x_test.go": GO_TEST % 2}, {"x_test.go": GO_TEST % 3}),
    "rust": (
        ["cargo", "rustc"],
        {"Cargo.toml": CARGO, "src/lib.rs": "#[test]\nfn t() {}\n"},
        {"src/lib.rs": "#[test]\nfn t() { panic!() }\n"},
    ),
    "gradle": (
        ["gradle"],
        {"build.gradle": "apply plugin: 'java'\n", "src/main/java/A.java": "class A { }\n"},
        {"src/main/java/A.java": "class A {\n"},
    ),
    "make": (["make"], {"Makefile": "test:\n\ttrue\n"}, {"Makefile": "test:\n\tfalse\n"}),
    "several": (
        ["make", "python3", "node"],
        {"back/setup.cfg": "", "back/test_a.py": UNIT.format(2), "front/package.json": "{}", "front/index.js": "1\n"},
        {"front/index.js": "1 +\n"},
    ),
    "nothing": (["sh"], {"README": "hello\n"}, None),
}


def missing(tools):
    """Those that do not run for a stranger, whose home is empty (a task's is)."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    for tool in tools:
        path = shutil.which(tool)
        words = [path, "version" if tool == "go" else "--version"]
        if path is None or (
            tool in ("cargo", "rustc") and subprocess.run(words, env=bare, capture_output=True).returncode
        ):
            yield tool


@pytest.fixture
def run(repo):
    """`formicary run` in the repository; workspaces where tasks' own users may pass through."""
    with tempfile.TemporaryDirectory(prefix="formicary-init-") as folder:
        Path(folder).chmod(0o711)
        settings = environment(FORMICARY_DATA=f"{folder}/data", FORMICARY_WORK=f"{folder}/work")

        def call(*words):
            return subprocess.run(
                [*FORMICARY, *words], cwd=repo.path, env=settings, capture_output=True, text=True, timeout=120
            )

        yield call


#: Compilers take their time.
SLOW = {"go", "rust", "gradle"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] if name in SLOW else []) for name in PROJECTS]
)
def test_it_runs_and_finds_what_is_broken(name, repo, run):
    """What is fine is COMPLETED, and a mistake fails it: the command does test something."""
    tools, files, broken = PROJECTS[name]
    if absent := list(missing(tools)):
        pytest.skip(f"{' and '.join(absent)} cannot be run here")
    repo.commit(files)
    assert run("init").returncode == 0
    assert run("validate").returncode == 0
    good = run("run")
    assert good.returncode == 0, good.stdout + good.stderr
    if broken:
        repo.write(broken)
        bad = run("run")
        assert bad.returncode == 1 and "FAILED" in bad.stdout, bad.stdout + bad.stderr
