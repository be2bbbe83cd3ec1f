"""`archive_logs`: old logs are in the bucket, and the API, the page and the site show them as before."""

from buckets import ACCESS, SECRET

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: ['seq 1 5000']\n"
KEYS = {"FORMICARY_S3_ACCESS_KEY": ACCESS, "FORMICARY_S3_SECRET_KEY": SECRET}


def test_logs_move_and_are_read_as_before(serve, repo, tmp_path, s3):
    """D13: over a restart that sets it, byte for byte."""
    bucket = s3.bucket()
    repo.commit({".formicary/ci.yml": CI})
    words = ["--repo", repo.path, "--public", "--site", str(tmp_path / "site"), "--artifacts", s3.address(bucket, "a")]
    server = serve(tmp_path, *words, **KEYS)
    server.ended()
    attempt = server.get("/api/jobs/requests/1/tasks")["records"][0]["attempts"][0]["id"]
    paths = [f"/api/tasks/{attempt}/log", f"/api/tasks/{attempt}/log?format=records"]
    before = [server.call(path) for path in paths]
    assert before[0] == (200, "".join(f"{number}\n" for number in range(1, 5001)))
    (log,) = (server.data / "logs").rglob("*.log")
    framed = log.read_bytes()
    raw = server.wait(lambda: list((tmp_path / "site").rglob("raw.txt")))[0].read_bytes()
    assert server.stop() == 0

    server = serve(tmp_path, *words, FORMICARY_ARCHIVE_LOGS="0.000001", **KEYS)
    server.wait(lambda: not log.exists())
    assert [data for key, data in s3.contents(bucket).items() if "logs/" in key] == [
        f"log of {attempt}\n".encode() + framed
    ]
    assert [server.call(path) for path in paths] == before
    page = server.call(f"/tasks/{attempt}/log", Accept="text/html")
    assert page[0] == 200 and "5000" in page[1]
    assert next((tmp_path / "site").rglob("raw.txt")).read_bytes() == raw
    assert server.stop() == 0
