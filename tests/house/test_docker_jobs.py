"""Jobs in containers through the whole house: a commit, its containers, what they pass on; kill -9; late engines."""

import os
import signal
import subprocess
import sys

import pytest

JOB = """\
job_type: ci
triggers: {{commit: {{}}}}
services:
- {{name: web, image: {image}, command: [sh, -c, "mkdir /w; echo hi >/w/index.html; exec httpd -f -p 80 -h /w"],
   ports: [{{number: 80}}]}}
tasks:
- task_type: build
  container: {{image: {image}, memory_limit: 64Mi}}
  script: ["wget -qO said http://web/; echo size=$(wc -c <said) >>$FORMICARY_OUTPUT"]
  artifacts: {{paths: [said]}}
- task_type: use
  dependencies: [build]
  method: DOCKER
  container: {{image: {image}}}
  working_dir: /src
  environment: {{Wanted: "{{{{ build.size }}}}"}}
  script: ['test "$(cat said)" = hi && test $Wanted = 3 && test -f /src/.formicary/ci.yml']
- task_type: risky
  container: {{image: {image}, bind_dir: "/etc:/host:ro"}}
  script: ["true"]
  allow_failure: true
"""
SLOW = """\
job_type: ci
triggers: {{commit: {{}}}}
tasks:
- task_type: slow
  container: {{image: {image}}}
  script: ["test {free} = 1 || {{ echo started; sleep 600; }}"]
"""


def tasks_of(server, request):
    return {one["task_type"]: one for one in server.get(f"/api/jobs/requests/{request['id']}/tasks")["records"]}


def test_a_commit_runs_in_containers(serve, repo, tmp_path, engine):
    """And what reaches beyond them is refused, until the operator names the repository (T21)."""
    repo.commit({".formicary/ci.yml": JOB.format(image=engine.image)})
    server = serve(tmp_path, "--repo", repo.path)
    (ended,) = server.ended()
    assert ended["state"] == "COMPLETED", tasks_of(server, ended)
    refused = tasks_of(server, ended)["risky"]["attempts"][-1]
    assert refused["error_code"] == "ERR_NOT_ALLOWED" and repo.path.name in refused["error_message"]
    server.stop()
    assert engine.ours(f"formicary.work={tmp_path}/data-work") == []

    server = serve(tmp_path, "--repo", repo.path, FORMICARY_RISKY=repo.path.name)
    repo.commit({"more": ""})
    newest, _ = server.ended(2)
    assert tasks_of(server, newest)["risky"]["state"] == "COMPLETED"


def test_killed_in_the_middle_its_container_is_gone_and_it_runs_again(serve, repo, tmp_path, engine):
    """D2, D7: nothing of the dead server is on the engine when the next one runs its job."""
    repo.commit({".formicary/ci.yml": SLOW.format(image=engine.image, free="$(cat free)"), "free": "0"})
    server = serve(tmp_path, "--repo", repo.path)
    image = engine.client.inspect_image(engine.image)["Id"]

    def running():
        found = engine.client.containers(filters={"label": "formicary.execution"})
        return {one["Id"] for one in found if one["ImageID"] == image}

    server.wait(running)
    first = running()
    server.stop(signal.SIGKILL)
    server = serve(tmp_path, "--repo", repo.path)
    server.wait(lambda: running() - first)
    assert not {one["Id"] for one in engine.client.containers(all=True)} & first
    status, said = server.call("/api/jobs/requests/1/cancel", "POST")
    assert status < 300, said
    server.ended()
    assert running() == set()


def run(repo, tmp_path, **environment):
    words = [sys.executable, "-m", "formicary.cli.main", "run", "--data", str(tmp_path / "data")]
    environment = {**os.environ, **environment}
    return subprocess.run(words, cwd=repo.path, env=environment, capture_output=True, text=True, timeout=60)


def test_formicary_run_uses_the_engine(repo, tmp_path, engine):
    """Also what is risky: whoever runs it has the engine anyway."""
    repo.write({".formicary/ci.yml": JOB.format(image=engine.image)})
    done = run(repo, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Service web is ready." in done.stdout and "✓ risky" in done.stdout


def test_a_server_without_an_engine_waits_and_says_why(serve, repo, tmp_path, engine):
    if not engine.address.startswith("unix:"):
        pytest.skip("needs an engine at a socket of this machine")
    repo.commit({".formicary/ci.yml": SLOW.format(image=engine.image, free=1)})
    later = tmp_path / "engine.sock"
    server = serve(tmp_path, "--repo", repo.path, DOCKER_HOST=f"unix://{later}")

    def why():
        records = server.get("/api/jobs/requests")["records"]
        return (
            records
            and f"no container engine answers at unix://{later}"
            in server.call(f"/api/jobs/requests/{records[0]['id']}/why")[1]
        )

    server.wait(why)
    later.symlink_to(engine.address.removeprefix("unix://"))
    (ended,) = server.ended()
    assert ended["state"] == "COMPLETED"
