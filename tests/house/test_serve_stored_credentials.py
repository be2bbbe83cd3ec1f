"""Remote repositories that are got into with stored credentials: over HTTP with a token, over ssh with a key."""

import subprocess
from pathlib import Path

from remotes import TOKEN
from servers import FORMICARY, environment

CI = "job_type: ci\ntriggers: {push: {}}\nscript: [cat a]\n"


def keep(data, name, value, repository):
    command = [*FORMICARY, "secrets", "set", name, "--credential", "--repo", repository, "--data", str(data)]
    subprocess.run(command, input=value, text=True, check=True, capture_output=True, env=environment(), timeout=30)


def works_once_it_is_stored(serve, url, tmp_path, name, value, *words):
    server = serve(tmp_path, "--repo", url)
    server.wait(lambda: server.get("/api/repos")["records"])
    (repository,) = server.get("/api/repos")["records"]
    assert repository["state"] == "unavailable", "nothing lets it in yet"
    keep(server.data, name, value, repository["name"])
    (ended,) = server.ended(1)
    assert ended["state"] == "COMPLETED" and server.call("/api/tasks/1-1/log")[1] == "1\n"
    server.stop()
    secret = value.encode().splitlines()[len(value.splitlines()) // 2]
    assert not any(secret in path.read_bytes() for path in server.data.rglob("*") if path.is_file())
    assert secret not in server.said().encode()


def test_a_stored_token_opens_a_repository_over_http(serve, repo, http_site, tmp_path):
    repo.commit({".formicary/ci.yml": CI, "a": "1\n"})
    http_site.token = TOKEN
    works_once_it_is_stored(serve, http_site.url(repo.path / ".git"), tmp_path, "token", TOKEN)


def test_a_stored_key_opens_a_repository_over_ssh(serve, repo, ssh_site, tmp_path):
    """The key is on no disk of the server: ssh reads it from its memory."""
    repo.commit({".formicary/ci.yml": CI, "a": "1\n"})
    key = Path(ssh_site.key).read_text()
    works_once_it_is_stored(serve, ssh_site.url(repo.path), tmp_path, "deploy_key", key)
