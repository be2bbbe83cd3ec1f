"""`formicary serve` as process 1, as in a container: TERM drains, TERM is heard before it serves, no zombie is left."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from servers import FORMICARY, Server, environment

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as number 1"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here"),
]

DEFINITION = """\
job_type: ci
triggers: {push: {}}
tasks:
  - {task_type: daemon, script: ["setsid sh -c 'sleep 0.1' > /dev/null 2>&1 &", "(sh -c 'sleep 0.1' &)", "echo left"]}
  - {task_type: slow, needs: [daemon], script: ["echo began", "sleep 2", "echo ended"]}
"""


class First(Server):
    """A server whose process is the first of its own numbers. `number` is what it is outside of them."""

    def __init__(self, folder, *arguments):
        self.data = folder / "data"
        self.log = folder / "serve.log"
        words = ["unshare", "--pid", "--fork", "--kill-child", *FORMICARY, "serve"]
        words += ["--data", str(self.data), "--port", "0", "--poll", "0.2", *map(str, arguments)]
        with open(self.log, "wb") as file:
            self.process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT)

    @property
    def number(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return self.wait(lambda: int((children.read_text().split() or [0])[0]))

    def stop(self, how=signal.SIGTERM, seconds=30):
        os.kill(self.number, how)
        return self.process.wait(seconds)


@pytest.fixture
def first(tmp_path):
    started = []

    def start(*arguments):
        started.append(First(tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(10)


def children_of(number):
    """(state, name) of each process whose parent it is."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, fields = (folder / "stat").read_text().partition("(")[2].rsplit(")", 1)
        except OSError:
            continue
        if int(fields.split()[1]) == number:
            yield fields.split()[0], name


def test_term_drains_and_nothing_is_left_behind(first, repo):
    """docker stop: what runs ends, the exit code is 0, and whoever was orphaned has been waited for."""
    repo.commit({".formicary/ci.yml": DEFINITION})
    server = first("--repo", repo.path).ready()
    server.wait(lambda: any("began" in path.read_text("latin-1") for path in server.data.glob("logs/*/*.log")))
    assert [one for one in children_of(server.number) if one[0] == "Z"] == []
    assert server.stop() == 0
    assert "draining: 1 running" in server.said()
    assert any("\nended\n" in path.read_text("latin-1") for path in server.data.glob("logs/*/*.log"))


def test_term_before_it_serves_ends_it(first):
    """A first process has no default action: without a handler TERM would be lost, and docker stop would wait."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        server = first("--repo", f"http://127.0.0.1:{silent.getsockname()[1]}/never.git")
        asks, _ = silent.accept()  # it waits for an answer that does not come
        with asks:
            assert server.stop(seconds=15) == 130
    assert "Traceback" not in server.said()
