"""`formicary serve --artifacts s3://…`, as an operator runs it."""

import json
import subprocess
import tempfile
from pathlib import Path

import pytest
from buckets import ACCESS, SECRET
from servers import FORMICARY, environment

CI = """
job_type: ci
triggers: {commit: {}}
tasks:
  - task_type: make
    script: ["echo made > out", "mkdir -p dep; date > dep/x"]
    artifacts: {paths: [out]}
    cache: {key: deps, paths: [dep]}
    on_completed: use
  - task_type: use
    dependencies: [make]
    script: ["cat out"]
"""
KEYS = {"FORMICARY_S3_ACCESS_KEY": ACCESS, "FORMICARY_S3_SECRET_KEY": SECRET}


@pytest.fixture
def open_folder():
    """One that a task's own user may look into."""
    with tempfile.TemporaryDirectory(prefix="formicary-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def doctor(folder, address, **extra):
    words = [*FORMICARY, "doctor", "--data", str(folder / "data"), "--json"]
    given = environment(FORMICARY_ARTIFACTS=address, **extra)
    done = subprocess.run(words, env=given, capture_output=True, text=True, timeout=60)
    return next(one for one in json.loads(done.stdout) if one["part"] == "artifacts")


def test_artifacts_and_caches_are_in_the_bucket(serve, repo, tmp_path, s3):
    """And nowhere else; no key is shown anywhere."""
    bucket = s3.bucket()
    repo.commit({".formicary/ci.yml": CI})
    server = serve(tmp_path, "--repo", repo.path, "--artifacts", s3.address(bucket, "ci"), **KEYS)
    assert [one["state"] for one in server.ended()] == ["COMPLETED"]
    found = s3.contents(bucket)
    assert b"made\n" in found.values()
    assert len([key for key in found if key.startswith("ci/names/cache/")]) == 1
    assert [path for path in (server.data / "artifacts").rglob("*") if path.is_file()] == []
    (artifact,) = server.get("/api/artifacts")["records"]
    assert server.call(f"/api/artifacts/{artifact['id']}/download") == (200, "made\n")
    assert SECRET not in server.said()
    server.stop()


def test_doctor_looks_at_the_bucket(tmp_path, s3):
    """What is wrong is said with what to do."""
    bucket = s3.bucket()
    assert doctor(tmp_path, s3.address(bucket), **KEYS)["ok"]
    assert s3.contents(bucket) == {}
    for address, keys, why in (
        (s3.address(bucket), {}, "set FORMICARY_S3_ACCESS_KEY"),
        (s3.address(bucket), {**KEYS, "FORMICARY_S3_SECRET_KEY": "x"}, "refuses these keys"),
        (s3.address("no-such-bucket"), KEYS, "make it, or name another one"),
        (s3.address(bucket, endpoint="127.0.0.1:9"), KEYS, "cannot be reached"),
    ):
        found = doctor(tmp_path, address, **keys)
        assert not found["ok"] and why in found["message"]


def test_a_task_waits_for_a_bucket_that_dies(serve, repo, tmp_path, open_folder, mortal_s3):
    """Killed while a task runs, started again: the job completes, its artifact is whole."""
    bucket = mortal_s3.bucket()
    gate = open_folder / "gate"
    script = f"echo began; until [ -e {gate} ]; do sleep 0.05; done; echo made > out"
    repo.commit(
        {
            ".formicary/ci.yml": "job_type: ci\ntriggers: {commit: {}}\ntasks:\n"
            f"  - {{task_type: t, script: ['{script}'], artifacts: {{paths: [out]}}}}\n"
        }
    )
    server = serve(tmp_path, "--repo", repo.path, "--artifacts", mortal_s3.address(bucket), **KEYS)

    def log():
        attempts = server.get("/api/jobs/requests/1/tasks")["records"]
        return server.call(f"/api/tasks/{attempts[0]['attempts'][0]['id']}/log?format=records")[1] if attempts else ""

    server.wait(lambda: "began" in log())
    mortal_s3.kill()
    gate.touch()
    server.wait(lambda: "Trying again for up to 300 seconds" in log())
    mortal_s3.start()
    assert [one["state"] for one in server.ended()] == ["COMPLETED"]
    assert server.call("/api/artifacts/1/download") == (200, "made\n")
    assert server.stop() == 0


def test_a_local_run_keeps_its_artifacts_here(repo, tmp_path):
    """Whatever the server is told: no bucket is asked, no keys are wanted."""
    (repo.path / ".formicary").mkdir()
    (repo.path / ".formicary" / "ci.yml").write_text(CI)
    words = [*FORMICARY, "run", "--data", str(tmp_path / "data")]
    given = environment(FORMICARY_ARTIFACTS="s3://bucket/x?endpoint=127.0.0.1:9", FORMICARY_ARCHIVE_LOGS="1")
    done = subprocess.run(words, cwd=repo.path, env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "data" / "artifacts" / "names").rglob("*.name"))


def test_the_start_is_refused_with_a_remedy(tmp_path, s3):
    """Wrong keys and no bucket end the start; keys in the address are refused and not repeated."""
    for address, why in (
        (s3.address("no-such-bucket"), "make it, or name another one"),
        ("s3://AKID:sesame@bucket/x", "do not belong"),
    ):
        words = [*FORMICARY, "serve", "--data", str(tmp_path / "data"), "--port", "0", "--artifacts", address]
        done = subprocess.run(words, env=environment(**KEYS), capture_output=True, text=True, timeout=60)
        assert done.returncode and why in done.stderr and "sesame" not in done.stderr + done.stdout


def test_the_server_starts_while_the_bucket_is_away(serve, repo, tmp_path, s3):
    """D6: what needs no bucket goes on."""
    repo.commit({".formicary/ci.yml": "job_type: ci\ntriggers: {commit: {}}\nscript: ['true']\n"})
    away = s3.address("bucket", endpoint="127.0.0.1:9")
    server = serve(tmp_path, "--repo", repo.path, "--artifacts", away, **KEYS)
    assert [one["state"] for one in server.ended()] == ["COMPLETED"]
    assert "the artifact store is away" in server.said()
    server.stop()
