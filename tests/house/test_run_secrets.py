"""Secrets of `formicary run`: those of the data folder that it may see, and those that it is given."""

import subprocess

import pytest
from servers import FORMICARY, environment


@pytest.fixture
def keep(tmp_path):
    def call(name, value, *words):
        command = [*FORMICARY, "secrets", "set", name, *words, "--data", str(tmp_path / "data")]
        done = subprocess.run(command, input=value, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done

    return call


def test_a_run_without_a_server_sees_what_the_data_folder_lets_it(serve, repo, tmp_path, keep):
    text = "job_type: ci\nsecrets: [Mine, Stored]\n"
    text += "script: ['echo \"$Mine $Stored\"', 'printf %s \"$Mine$Stored\" | wc -c']\n"
    repo.commit({".formicary/ci.yml": text})
    server = serve(tmp_path, "--repo", repo.path)
    keep("Stored", "stored-value", "--repo", repo.path.name)
    keep("Pushed", "pushed-value", "--event", "push")

    def run(*words, **variables):
        command = [*FORMICARY, "run", *words, "--data", str(tmp_path / "data")]
        return subprocess.run(
            command, cwd=repo.path, env=environment(**variables), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    for stop in (False, True):
        if stop:
            server.stop()
        done = run("--secret", "Mine", Mine="my-own-value")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "*** ***" in done.stdout and "24" in done.stdout and "value" not in done.stdout + done.stderr
    assert "`Mine`" in run().stdout + run().stderr
    assert "set the variable Mine" in run("--secret", "Mine").stderr
    refused = run("--secret", "Mine=my-own-value")
    assert refused.returncode == 1 and "my-own-value" not in refused.stderr
    assert not any(b"my-own-value" in path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
