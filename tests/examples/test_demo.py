"""`make demo` does what it says, quickly, and leaves no process behind."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

DEMO = Path(__file__).parents[2] / "examples" / "demo" / "demo.py"


def run(folder, **extra):
    environment = {**os.environ, "DEMO": str(folder), **extra}
    return subprocess.run([sys.executable, DEMO], env=environment, capture_output=True, text=True, timeout=120)


def alive(mark):
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in entry.read_bytes() + (entry.parent / "cwd").resolve().as_posix().encode():
                found.append(entry.read_bytes())
        except OSError:
            pass
    return found


def test_the_demo_shows_all_it_promises_twice(tmp_path):
    """Noticed, in parallel, failed and recovered, an artifact passed on, pages written; settings of others ignored."""
    folder = tmp_path / "demo"
    for _ in range(2):
        began = time.monotonic()
        done = run(folder, FORMICARY_DATA=str(tmp_path / "other"), GIT_DIR=str(tmp_path / "nowhere"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert time.monotonic() - began < 60
        out = done.stdout
        assert re.search(r"noticed after \d+ ms: ci 1 at [0-9a-f]{10}", out)
        assert "↻ service" in out and "✓ service" in out and ", attempt 2" in out
        assert "Ran 3 tests" in out
        assert "Artifact words.pyz of build put in place" in out and "try     | 25 words" in out
        assert "ci 1 COMPLETED" in out
        assert "/login?code=" in out and str(folder / "site" / "index.html") in out
        assert (folder / "site" / "index.html").is_file()
        assert alive(str(folder).encode()) == []


def test_the_demo_deletes_nothing_that_is_not_its_own(tmp_path):
    (tmp_path / "precious").write_text("x")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "not ours; move it away" in done.stderr
    assert (tmp_path / "precious").read_text() == "x"
