"""`serve` and repositories that lie elsewhere: fetched, run, shown; down and back; no secret anywhere."""

import subprocess
import sys
import threading

import pytest
from remotes import TOKEN
from servers import environment

CI = "job_type: ci\ntriggers: {push: {}}\nscript: ['echo hello from $GitRepositoryURL', 'git log --oneline', cat a]\n"


def state(server):
    return server.get("/api/repos")["records"][0]


def everything_in(folder):
    """All bytes of a folder's files."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.fixture
def toml(tmp_path):
    def write(**keys):
        lines = "".join(f'{name} = "{value}"\n' for name, value in keys.items())
        (tmp_path / "formicary.toml").write_text(f"[[repo]]\n{lines}")

    return write


def test_a_push_over_http_runs_and_the_token_is_nowhere(serve, repo, http_site, toml, tmp_path):
    """The token reaches the remote and no argument, variable, configuration, database or log (T8)."""
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    http_site.token = TOKEN
    url = http_site.url(repo.path / ".git")
    toml(url=url, token_env="HILL_TOKEN")
    seen = []
    stop = threading.Event()

    def spy():
        while not stop.is_set():
            seen.append(subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout)
            for process in subprocess.run(["pgrep", "git"], capture_output=True, text=True).stdout.split():
                try:
                    with open(f"/proc/{process}/environ", "rb") as file:
                        seen.append(file.read().decode("utf-8", "replace"))
                except OSError:
                    continue

    spying = threading.Thread(target=spy)
    spying.start()
    try:
        server = serve(tmp_path, HILL_TOKEN=TOKEN)
        server.ended(1)
        second = repo.commit({"a": "2"})
        newest = server.ended(2)[0]
    finally:
        stop.set()
        spying.join()
    assert (newest["commit"], newest["event"], newest["state"]) == (second, "push", "COMPLETED")
    assert state(server)["url"] == url
    text = everything_in(server.data / "logs").decode()
    assert f"hello from {url}" in text
    server.stop()
    assert any("ls-remote" in lines for lines in seen), "we looked while git ran"
    basic = next(header for _, _, header in http_site.seen if header).removeprefix("Basic ")
    whole = "\n".join(seen) + server.said() + everything_in(server.data).decode("utf-8", "replace")
    assert [secret for secret in (TOKEN, basic) if secret in whole] == []


def test_over_ssh_with_a_deploy_key(serve, repo, ssh_site, toml, tmp_path):
    """Strict with the operator's known_hosts; the key's path is all that is said of it."""
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    toml(url=ssh_site.url(repo.path / ".git"), deploy_key=ssh_site.key, known_hosts=ssh_site.known_hosts())
    server = serve(tmp_path)
    assert server.ended(1)[0]["state"] == "COMPLETED"


def test_a_task_checks_out_another_ref(serve, repo, http_site, toml, tmp_path):
    """The run stays one of the commit under test; nothing in the workspace says how the remote is reached (T8)."""
    old = repo.commit({"a": "from the old one"})
    repo.tag("v1", annotated=True)
    text = "job_type: ci\ntriggers: {push: {}}\ncheckout: {ref: v1}\nscript: [cat a, cat .git/config]\n"
    new = repo.commit({".formicary/ci.yml": text, "a": "from the new one"})
    http_site.token = TOKEN
    toml(url=http_site.url(repo.path / ".git"), token_env="HILL_TOKEN")
    server = serve(tmp_path, HILL_TOKEN=TOKEN)
    ended = server.ended(1)[0]
    assert (ended["commit"], ended["state"]) == (new, "COMPLETED")
    logs = everything_in(server.data / "logs").decode()
    assert f"Checked out {old} (v1)." in logs and "from the old one" in logs and "from the new one" not in logs
    assert "[core]" in logs and "http://" not in logs and TOKEN not in logs


def test_a_wrong_token_then_the_right_one(serve, repo, http_site, toml, tmp_path):
    """One sentence with the remedy; a new token in the file counts without a restart."""
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    http_site.token = TOKEN
    file = tmp_path / "token"
    file.write_text("wr0ng-t0ken\n")
    file.chmod(0o600)
    toml(url=http_site.url(repo.path / ".git"), token_file=file)
    server = serve(tmp_path)
    found = server.wait(lambda: state(server) if state(server)["state"] == "unavailable" else None)
    assert "its token is wrong, has expired, or may not read this repository" in found["error"]
    assert "wr0ng" not in server.said() + found["error"]
    file.write_text(f"{TOKEN}\n")
    server.call(f"/api/repos/{found['id']}/sync", "POST")
    server.ended(1)
    assert state(server)["state"] == "ok"


def test_a_token_over_plain_http_is_said_at_the_start(serve, toml, tmp_path):
    toml(url="http://git.invalid/app.git", token_env="HILL_TOKEN")
    server = serve(tmp_path, HILL_TOKEN=TOKEN)
    server.stop()
    assert "warning   the token of app can be read on its way to http://git.invalid/app.git" in server.said()
    assert TOKEN not in server.said()


def test_the_server_goes_down_and_comes_back(serve, repo, http_site, tmp_path):
    """Unavailable, said; what was pushed meanwhile runs when it is back (D5). Other repositories go on."""
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    server = serve(tmp_path, "--repo", http_site.url(repo.path / ".git"))
    server.ended(1)
    http_site.stop()
    found = server.wait(lambda: state(server) if state(server)["state"] == "unavailable" else None)
    assert "does not answer" in found["error"]
    missed = repo.commit({"a": "2"})
    http_site.start()
    assert server.ended(2)[0]["commit"] == missed
    assert (state(server)["state"], state(server)["error"]) == ("ok", "")


def test_what_was_removed_from_the_list_leaves_no_mirror(serve, repo, http_site, tmp_path):
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    server = serve(tmp_path, "--repo", http_site.url(repo.path / ".git"))
    server.ended(1)
    assert len(list((server.data / "mirrors").glob("*.git"))) == 1
    assert server.call(f"/api/repos/{state(server)['id']}", "DELETE")[0] == 204
    assert list((server.data / "mirrors").iterdir()) == []


def formicary(server, *words):
    command = [sys.executable, "-m", "formicary.cli.main", *words, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())


def test_one_is_added_to_a_running_server(serve, repo, http_site, tmp_path):
    """`formicary repos --add`: watched, looked at, run; what is wrong with it is said at once."""
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    server = serve(tmp_path)
    url = http_site.url(repo.path / ".git")
    done = formicary(server, "repos", "--add", url, "--name", "hill", "--branch", "main")
    assert done.returncode == 0, done.stderr
    assert f"hill ({url}, branch main)" in done.stdout
    assert server.ended(1)[0]["state"] == "COMPLETED"
    again = formicary(server, "repos", "--add", url)
    assert (again.returncode != 0, "watched already, as hill" in again.stderr) == (True, True)
    missing = formicary(server, "repos", "--add", f"{url[:-9]}none.git")
    assert "There is no repository at" in missing.stderr
    listed = formicary(server, "repos").stdout
    assert "looked at" in listed
    assert "unavailable: There is no repository" in listed
    secret = formicary(server, "repos", "--add", url.replace("http://", "http://ada:s3cret@"))
    assert "Take it out" in secret.stderr
    assert "s3cret" not in secret.stdout + secret.stderr + server.said()


def test_the_whole_history_for_a_task_that_wants_it(serve, repo, http_site, tmp_path):
    """`depth: 0` of a mirror that began shallow: `git describe` finds a tag 60 commits ago."""
    task = "{task_type: deep, checkout: {depth: 0}, script: ['git describe', 'git rev-list --count HEAD']}"
    deep = f"tasks:\n  - {task}\n"
    repo.commit({"a": "0", ".formicary/ci.yml": "job_type: ci\ntriggers: {push: {}}\n" + deep})
    repo.tag("v1.0", annotated=True)
    for number in range(60):
        repo.commit({"a": str(number)})
    server = serve(tmp_path, "--repo", http_site.url(repo.path / ".git"))
    newest = server.ended(1)[0]
    text = everything_in(server.data / "logs").decode()
    assert newest["state"] == "COMPLETED", text
    assert "v1.0-60-g" in text
    assert "61" in text


def test_an_address_that_changes_keeps_its_history(serve, repo, make_repo, http_site, toml, tmp_path):
    """Moved: the operator changes `url` and keeps `name`."""
    repo.commit({".formicary/ci.yml": CI, "a": "1"})
    toml(url=http_site.url(repo.path / ".git"), name="hill")
    first = serve(tmp_path)
    first.ended(1)
    first.stop()
    moved = repo.bare(tmp_path / "elsewhere.git")
    newest = repo.commit({"a": "2"})
    repo.git("push", "-q", str(moved), "main")
    toml(url=http_site.url(moved), name="hill")
    second = serve(tmp_path)
    assert second.ended(2)[0]["commit"] == newest
    found = second.get("/api/repos")["records"]
    assert [(one["id"], one["url"]) for one in found] == [(1, http_site.url(moved))]
