"""`formicary serve --artifacts s3://…`, as an operator runs it."""

import json
import subprocess

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
