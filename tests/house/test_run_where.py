"""`formicary run` of tasks of containers: without an engine one clear error; with --on-host here, said aloud."""

import subprocess
import sys

import pytest

FORMICARY = [sys.executable, "-m", "formicary.cli.main"]
BOX = "container: {image: 'registry.example/none:1'}\n"


@pytest.fixture
def run(repo, tmp_path):
    def started(text, *words):
        repo.write({".formicary/ci.yml": f"job_type: ci\n{text}"})
        return subprocess.run(
            [*FORMICARY, "run", *words, "--data", str(tmp_path / "data")],
            cwd=repo.path,
            capture_output=True,
            text=True,
            timeout=30,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"},
        )

    return started


@pytest.mark.parametrize("method", ["", "method: DOCKER\n", "method: KUBERNETES\n"])
def test_on_this_host_it_runs_with_shell_and_says_so(run, method):
    done = run(f"script: [echo hello]\n{method}{BOX}services: [postgres:16]\n", "--on-host")
    assert done.returncode == 0 and "hello" in done.stdout.splitlines(), done.stdout + done.stderr
    assert done.stderr.count("runs on this host, not in a container of registry.example/none:1") == 1
    assert "without its services postgres" in done.stderr


def test_a_matrix_and_what_is_made_of_outputs_run_there_too(run):
    text = (
        "tasks:\n- {task_type: a, script: ['echo Image=b >> $FORMICARY_OUTPUT']}\n"
        "- {task_type: b, needs: [a], matrix: {n: [1, 2]}, script: ['echo number {{ n }}'], "
        "container: {image: '{{ Image }}'}, timeout: '{{ n }}m'}\n"
    )
    done = run(text, "--on-host")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"number {n}" in done.stdout for n in (1, 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"script: x\n{BOX}", "`ci` wants a container, and"),
        (f"script: x\nmethod: DOCKER\n{BOX}", "`ci` wants DOCKER, and"),
        (f"script: x\nmethod: KUBERNETES\n{BOX}", "`ci` wants KUBERNETES, and nothing here runs KUBERNETES"),
    ],
)
def test_without_an_engine_one_error_names_the_option(run, text, said):
    done = run(text)
    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and "`formicary run --on-host`" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_task_alone_needs_no_more_than_it_uses(run):
    text = f"tasks:\n- {{task_type: a, script: echo hello}}\n- {{task_type: b, script: x, {BOX.strip()}}}\n"
    assert run(text, "--task", "a").returncode == 0
    assert run(text, "--task", "b").returncode == 1


def test_what_an_image_holds_cannot_run_on_this_host(run):
    done = run(BOX, "--on-host")
    assert done.returncode == 1 and "without a `script` it cannot run on this host" in done.stderr


def test_a_method_that_only_a_server_has_is_told(run):
    done = run("method: WEBSOCKET\n")
    assert done.returncode == 1 and "run it on a server" in done.stderr
