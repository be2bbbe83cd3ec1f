"""The command line as it is called: in this process for what is quick, against one real server for the rest."""

import signal
import subprocess
from types import SimpleNamespace

import pytest
from servers import FORMICARY, Server, environment

from formicary.cli import main

CI = """\
job_type: ci
triggers: {commit: {}}
params:
  Who: {default: world}
  Code: {default: 0}
tasks:
  - task_type: hello
    script: ['echo "hello $Who"', "printf 'caf\\\\303\\\\251 \\\\000\\\\377 end'"]
  - task_type: flaky
    retry: 1
    script: ['echo "attempt $TaskRetry"', 'test "$TaskRetry" -ge 1']
  - task_type: last
    needs: [hello, flaky]
    script: exit "$Code"
"""
SLOW = "job_type: slow\nmax_concurrency: 1\nscript: ['echo began', 'sleep 60']\n"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No setting of the caller's, and no data folder but the test's."""
    for name in ("FORMICARY_TOKEN", "FORMICARY_SERVER", "FORMICARY_DEBUG", "NO_COLOR", "FORMICARY_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def formicary(capfdbinary):
    """Call the command line in this process; gives code, out, err and the raw bytes."""

    def call(*words):
        capfdbinary.readouterr()
        try:
            code = main.run([str(word) for word in words])
        except SystemExit as error:
            code = error.code or 0
        said = capfdbinary.readouterr()
        return SimpleNamespace(code=code, raw=said.out, out=said.out.decode("utf-8", "replace"), err=said.err.decode())

    return call


@pytest.fixture
def process():
    """Call it as a process of its own; started here, waited for by the test. Gone at the end."""
    started = []

    def start(*words, **options):
        words = [*FORMICARY, *map(str, words)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
        options["preexec_fn"] = listen_to_ctrl_c
        started.append(subprocess.Popen(words, **options))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate(timeout=10)


def listen_to_ctrl_c():
    """A shell that runs the tests in the background lets them ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of a file, with the jobs `ci` and `slow`; `ci` has run once."""
    from repos import RepoBuilder

    folder = tmp_path_factory.mktemp("server")
    repo = RepoBuilder(folder / "app")
    repo.commit({".formicary/ci.yml": CI, ".formicary/slow.yml": SLOW})
    found = Server(folder, "--repo", repo.path, "--hands", "2").ready()
    found.repo = repo
    found.ended(1)
    yield found
    found.process.terminate()
    try:
        found.process.wait(20)
    except subprocess.TimeoutExpired:
        found.process.kill()
        found.process.wait(10)


@pytest.fixture
def here(server, formicary):
    """The command line, with the test server's data folder."""
    return lambda *words: formicary(*words, "--data", server.data)
