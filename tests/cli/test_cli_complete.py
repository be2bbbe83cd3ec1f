"""Completion: what may follow on the line, in real shells, quick and silent."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest
from servers import environment

from formicary.cli import complete
from formicary.cli.completion import INSTALL

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config"],
}


@pytest.fixture
def home(tmp_path, repo):
    """A repository with two jobs, and `formicary` on the PATH."""
    alpha = "job_type: alpha\ntasks: [{task_type: one, script: a}, {task_type: two, script: b}]\n"
    beta = "job_type: beta\nscript: a\n---\njob_type: broken\nscripts: a\n"
    repo.write({".formicary/alpha.yml": alpha, ".formicary/beta.yml": beta})
    program = tmp_path / "bin" / "formicary"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m formicary.cli.main "$@"\n')
    program.chmod(0o755)
    return tmp_path


def variables(home, **extra):
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return environment(PATH=path, HOME=str(home), XDG_STATE_HOME=str(home), TERM="dumb", PS1="> ", **extra)


@pytest.fixture
def offered(home, repo):
    """What is offered for the last word of a line, as bash asks."""

    def call(line, **extra):
        words = line.split(" ")
        asked = variables(
            home, _FORMICARY_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), **extra
        )
        done = subprocess.run(["formicary"], cwd=repo.path, env=asked, capture_output=True, text=True, timeout=30)
        assert done.stderr == ""
        return [text.partition(",")[2] for text in done.stdout.splitlines() if text]

    return call


def test_commands_and_options(offered):
    assert offered("formicary va") == ["validate"]
    assert "--follow" in offered("formicary logs --")
    assert set(offered("formicary hook ")) == {"install", "uninstall", "status"}
    assert offered("formicary help hook un") == ["uninstall"]
    assert set(offered("formicary completion ")) == set(INSTALL)


def test_jobs_and_tasks_of_the_working_tree(offered):
    """A broken definition is still a job."""
    assert set(offered("formicary run ")) == {"alpha", "beta", "broken"}
    assert offered("formicary run al") == ["alpha"]
    assert offered("formicary run alpha --task ") == ["one", "two"]
    assert set(offered("formicary run --task ")) == {"one", "two", "beta"}


def test_without_a_server_nothing_is_offered_and_nothing_said(offered):
    for line in ("formicary logs ", "formicary trigger ", "formicary repos --forget ", "formicary logs 1 "):
        assert offered(line) == []


def test_outside_of_a_project_nothing_is_offered(offered, repo):
    shutil.rmtree(repo.path / ".formicary")
    assert offered("formicary run ") == []


def test_what_the_server_knows(offered, server):
    where = {"FORMICARY_DATA": str(server.data)}
    assert "1" in offered("formicary logs ", **where)
    assert set(offered("formicary logs 1 ", **where)) == {"hello", "flaky", "last"}
    assert set(offered("formicary trigger ", **where)) == {"ci", "slow"}
    assert offered("formicary trigger --repo ", **where) == ["app"]
    assert offered("formicary repos --forget a", **where) == ["app"]


def test_a_server_that_hangs_costs_a_second(monkeypatch):
    """Whoever pressed Tab does not wait for it."""
    stop = complete.threading.Event()
    monkeypatch.setattr(complete, "SECONDS", 0.05)
    began = time.monotonic()
    assert complete.quietly(lambda ctx: stop.wait(20))(None, None, "") == []
    assert time.monotonic() - began < 5
    stop.set()


@pytest.mark.parametrize("shell", INSTALL)
def test_the_script_says_how_it_is_installed(shell, formicary):
    said = formicary("completion", shell)
    assert said.code == 0 and f"formicary completion {shell} >" in said.out
    assert said.err == ""


def test_a_shell_that_it_does_not_know(formicary):
    said = formicary("completion", "tcsh")
    assert said.code == 2 and "'bash', 'zsh', 'fish'" in said.err


# --- in real shells


class Terminal:
    """An interactive shell at a terminal of its own."""

    def __init__(self, words, folder, variables):
        self.master, slave = pty.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            words, cwd=folder, env=variables, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)

    def type(self, text):
        self.said = ""
        os.write(self.master, text.encode())

    def until(self, pattern, seconds=20):
        """Reads on until the pattern has been seen. Raises AssertionError."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            ready, _, _ = select.select([self.master], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{pattern!r} is not in {self.said!r}"
            self.said += os.read(self.master, 65536).decode("utf-8", "replace")
        return self.said

    def close(self):
        self.process.kill()
        self.process.wait(10)
        os.close(self.master)


@pytest.fixture
def terminal(home, repo):
    opened = []

    def open_(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"there is no {shell} here")
        opened.append(Terminal(SHELLS[shell], repo.path, variables(home)))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


START = {
    "bash": "source <(formicary completion bash); echo re''ady\n",
    "zsh": "autoload -Uz compinit; compinit -u -D; source <(formicary completion zsh); echo re''ady\n",
}


@pytest.mark.parametrize("shell", START)
def test_tab_in_a_real_shell(shell, terminal):
    """A command, an option and a job of the working tree, by the Tab key."""
    shown = terminal(shell)
    shown.type(START[shell])
    shown.until("ready")
    shown.type("formicary vali\t")
    shown.until("formicary validate ")
    shown.type("--js\t")
    shown.until("--json ")
    shown.type("\x15formicary run al\t")
    shown.until("run alpha ")


def test_fish_offers_the_same(home, repo):
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    code = "formicary completion fish | source; complete -C 'formicary vali'; complete -C 'formicary run al'"
    words = [*SHELLS["fish"], "-c", code]
    done = subprocess.run(words, cwd=repo.path, env=variables(home), capture_output=True, text=True, timeout=60)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["validate", "alpha"], done.stderr
