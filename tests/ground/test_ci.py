"""What CI and pre-commit run is there and needs nothing but this checkout."""

import os
import shutil
import subprocess
from pathlib import Path

import buckets
import engines
import forges
import yaml

PARTS = {
    "git": lambda: shutil.which("git"),
    "ssh": lambda: shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"),
    "root": lambda: os.geteuid() == 0,
    "s3": buckets.weed,
    "prism": forges.prism,
    "docker": lambda: not engines.missing(),
    "chromium": lambda: any(
        path and Path(path).exists()
        for path in (os.environ.get("FORMICARY_CHROMIUM"), "/usr/bin/chromium", "/usr/bin/chromium-browser")
    ),
}


def test_what_is_required_is_there():
    """FORMICARY_REQUIRE: what it names is there, so that no test of it is skipped; a misspelt name is no silence."""
    required = os.environ.get("FORMICARY_REQUIRE", "").replace(",", " ").split()
    assert [name for name in required if name not in PARTS] == []
    assert [name for name in required if not PARTS[name]()] == []


def test_ci_run_is_a_script_that_bash_takes(root):
    """`bash .ci/run` is what CI calls."""
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text(encoding="utf-8")
    assert "exec </dev/null" in text, "it waits for nobody's input"
    assert "\nmake lint\n" in text
    assert "make test" in text


def test_ci_run_fails_where_the_tests_fail(root, tmp_path):
    """Its status is that of the tests, and pytest's closing line is its last one."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_bytes((root / ".ci" / "run").read_bytes())
    (tmp_path / "Makefile").write_text(
        "venv doubles lint:\n\t@true\ntest:\n\t@echo '1 failed, 2 passed in 0.5s'; echo noise; exit 3\n"
    )
    chromium = tmp_path / "chromium"
    chromium.write_text("#!/bin/sh\n")
    chromium.chmod(0o755)
    environment = {**os.environ, "FORMICARY_CHROMIUM": str(chromium)}
    words = ["bash", str(tmp_path / ".ci" / "run")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stdout.rstrip().splitlines()[-1] == "1 failed, 2 passed in 0.5s"


def test_pre_commit_needs_no_network(root):
    """Local hooks only, out of .venv."""
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "mypy", "lint-imports"}
    assert [hook["id"] for hook in hooks if ".venv/bin/" not in hook["entry"] or hook["language"] != "system"] == []
