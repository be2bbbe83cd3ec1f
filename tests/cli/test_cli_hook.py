"""`formicary hook`: tells the server of every commit; slows down, breaks and hides nothing that was there."""

import json
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from repos import RepoBuilder
from servers import FORMICARY

from formicary.cli.githooks import BEFORE, script
from formicary.webhook.forges.signature import sign

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: echo\n"
ZERO = "0" * 40


def until(true, seconds=15.0):
    """Wait for a process that nobody may wait for: the hook's sender."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


@pytest.fixture
def door():
    """Something that listens and notes what it is sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()
            seen.append((self.path, dict(self.headers.items()), body))

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.url = seen, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def data(open_hive, repo, tmp_path):
    """The data folder of a server that has watched `repo`, and does not run."""
    repo.commit({"a": "1"})
    async with open_hive() as hive:
        await hive.watch(repo)
    return tmp_path / "data"


@pytest.fixture
def tell(data):
    """Say that a server runs at this address."""
    return lambda url: (data / "server.json").write_text(json.dumps({"url": url, "pid": os.getpid()}))


@pytest.fixture
def hook(formicary, repo, data):
    """`formicary hook …` for `repo`."""

    def call(name, *words):
        folder = () if name == "uninstall" else ("--data", data)
        return formicary("hook", name, "--repo", repo.path, *folder, *words)

    return call


def old_hook(repo, name, text, mode=0o755):
    path = repo.path / ".git" / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_a_commit_is_told_and_signed(hook, repo, data, tell, door):
    """The body's signature is the door's own, over the bytes that were sent (T9)."""
    tell(door.url)
    assert hook("install").code == 0
    before, after = repo.head(), repo.commit({"a": "2"})
    ((path, headers, body),) = until(lambda: door.seen)
    secret = (data / "hooks" / "1.secret").read_text().strip().encode()
    assert path == "/hooks/commit"
    assert headers["X-Formicary-Signature-256"] == sign(secret, body)
    assert len(headers["X-Formicary-Delivery"]) == 32
    said = json.loads(body)
    assert said["repository"] == "1" and said["at"] > 0
    assert said["refs"] == [{"ref": "refs/heads/main", "before": before, "after": after}]


async def test_the_secret_is_the_doors_and_its_owners_alone(hook, repo, data):
    hook("install")
    config = repo.path / ".git" / "hooks" / "formicary.json"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert json.loads(config.read_text())["secret"] == (data / "hooks" / "1.secret").read_text().strip()


async def test_a_real_server_hears_of_a_commit_at_once(serve, repo, formicary, tmp_path):
    """The poll is an hour away."""
    repo.commit({".formicary/ci.yml": CI})
    server = serve(tmp_path, "--repo", repo.path, "--poll", "3600")
    server.ended(1)
    assert formicary("hook", "install", "--repo", repo.path, "--data", server.data).code == 0
    second = repo.commit({"a": "2"})
    assert server.ended(2)[0]["commit"] == second
    (delivery,) = server.get("/api/deliveries")["records"]
    assert delivery["verdict"] in ("accepted", "handled")


async def test_a_push_to_a_bare_repository_is_told(serve, repo, formicary, tmp_path):
    repo.commit({".formicary/ci.yml": CI})
    bare = repo.bare(tmp_path / "app.git")
    server = serve(tmp_path, "--repo", bare, "--poll", "3600")
    server.ended(1)
    said = formicary("hook", "install", "--repo", bare, "--data", server.data)
    assert said.code == 0 and "installed post-receive in" in said.out
    before, after = repo.head(), repo.commit({"a": "2"})
    repo.git("push", "-q", str(bare), "main", "main:refs/heads/other")
    assert {one["commit"] for one in server.ended(3)} == {before, after}
    (delivery,) = server.get("/api/deliveries")["records"]
    refs = json.loads(server.get(f"/api/deliveries/{delivery['id']}")["body"])["refs"]
    assert {"ref": "refs/heads/main", "before": before, "after": after} in refs
    assert {"ref": "refs/heads/other", "before": ZERO, "after": after} in refs


@pytest.mark.parametrize("shebang", ["#!/bin/sh", "#!/usr/bin/env sh", "#!/bin/bash -e", ""])
async def test_a_shells_hook_still_runs_and_sees_its_own_name(shebang, hook, repo, tmp_path):
    """Hook managers look at $0 to know which hook they are."""
    note = tmp_path / "note"
    old_hook(repo, "post-commit", f'{shebang}\necho "${{0##*/}} [$#] $(cat)" >> {note}\nexit 3\n')
    said = hook("install")
    assert "post-commit: the hook that was there still runs" in said.out
    repo.commit({"a": "2"})
    name = "post-commit" if shebang else "post-commit" + BEFORE
    assert note.read_text() == f"{name} [0] \n"


async def test_a_program_as_hook_still_runs(hook, repo, tmp_path):
    note = tmp_path / "note"
    text = f"#!{sys.executable}\nimport pathlib, sys\npathlib.Path({str(note)!r}).write_text(repr(sys.argv[1:]))\n"
    old_hook(repo, "post-merge", text)
    hook("install")
    repo.git("checkout", "-q", "-b", "side")
    repo.commit({"b": "1"})
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "side")
    assert note.read_text() == "['0']"


@pytest.mark.parametrize("name", ["post-receive", "post-rewrite", "post-commit"])
def test_arguments_input_and_exit_code_are_the_old_hooks(name, tmp_path):
    path = tmp_path / name
    path.write_text(script(name, "/nowhere/python"))
    old = tmp_path / (name + BEFORE)
    old.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/note\ncat >> {tmp_path}/note\nexit 7\n')
    for file in (path, old):
        file.chmod(0o755)
    done = subprocess.run([path, "one", "two words"], input="a b c\nd e f\n", text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert (tmp_path / "note").read_text() == "one two words\na b c\nd e f\n"


async def test_a_hook_that_was_switched_off_stays_so(hook, repo, tmp_path):
    """Git does not run what may not be executed; neither do we."""
    old_hook(repo, "post-commit", f"#!/bin/sh\ntouch {tmp_path}/note\n", 0o644)
    hook("install")
    repo.commit({"a": "2"})
    assert not (tmp_path / "note").exists()


async def test_uninstall_restores_exactly(hook, repo):
    """Bytes, mode, links, and nothing of ours is left; installing twice changes nothing of that."""
    folder = repo.path / ".git" / "hooks"
    one = old_hook(repo, "post-commit", "#!/bin/sh -e\nexit 3", 0o751)
    (repo.path / "scripts").mkdir()
    (repo.path / "scripts" / "merge").write_text("#!/bin/sh\n")
    (folder / "post-merge").symlink_to("../../scripts/merge")
    before = picture(folder)
    hook("install")
    once = picture(folder)
    hook("install")
    assert picture(folder) == once != before
    said = hook("uninstall")
    assert said.code == 0 and "removed post-commit" in said.out
    assert picture(folder) == before
    assert one.read_text() == "#!/bin/sh -e\nexit 3"
    assert "no hook of ours" in hook("uninstall").out


def picture(folder):
    def one(path):
        return path.readlink() if path.is_symlink() else (path.stat().st_mode, path.read_bytes())

    return {path.name: one(path) for path in folder.iterdir()}


async def test_a_hook_that_came_later_is_not_lost(hook, repo):
    """Somebody has replaced ours while the one before it still lies there: that is for a person to sort out."""
    old_hook(repo, "post-commit", "#!/bin/sh\n: first\n")
    hook("install")
    old_hook(repo, "post-commit", "#!/bin/sh\n: second\n")
    said = hook("install")
    assert said.code == 1 and "move" in said.err and "then install again" in said.err
    assert (repo.path / ".git/hooks/post-commit").read_text() == "#!/bin/sh\n: second\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "", "nonsense"])
async def test_without_a_server_a_commit_is_as_good(url, hook, repo, tell):
    tell(url)
    hook("install")
    commit_quietly(repo)


async def test_when_our_python_is_gone_a_commit_is_as_good(hook, repo):
    hook("install")
    path = repo.path / ".git/hooks/post-commit"
    path.write_text(path.read_text().replace(sys.executable, "/nowhere/python"))
    commit_quietly(repo)


async def test_a_server_that_does_not_answer_holds_nobody_up(hook, repo, tell):
    """Whoever called git may wait for the end of its output: the sender holds none of it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tell(f"http://127.0.0.1:{silent.getsockname()[1]}")
        hook("install")
        silent.settimeout(15)
        began = time.monotonic()
        commit_quietly(repo)
        took = time.monotonic() - began
        connection, _ = silent.accept()
        connection.close()
    assert took < 2.5  # the sender itself waits three seconds


def commit_quietly(repo):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "x"]
    read, write = os.pipe()  # a further descriptor that is inherited, as a build tool may have
    try:
        done = subprocess.run(command, cwd=repo.path, capture_output=True, text=True, pass_fds=(write,), timeout=60)
        os.close(write)
        write = None
        assert os.read(read, 1) == b""  # nobody has it open any more
    finally:
        for descriptor in (read, write):
            if descriptor is not None:
                os.close(descriptor)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_a_commit_is_hardly_slower(hook, repo, tell):
    """Less than 30 ms of CPU: the best of several, in turn with and without. The sender goes on by itself."""
    tell("http://127.0.0.1:1")
    hook("install")
    repo.git("config", "user.name", "A")
    repo.git("config", "user.email", "a@example.org")
    hooks = repo.path / ".git" / "hooks"
    times = {True: [], False: []}
    for turn in range(16):
        with_hook = turn % 2 == 0
        hooks.joinpath("post-commit").chmod(0o755 if with_hook else 0o644)
        began = spent_by_children()
        subprocess.run(
            ["git", "-c", "advice.ignoredHook=false", "commit", "-q", "--allow-empty", "-m", "x"],
            cwd=repo.path,
            check=True,
        )
        times[with_hook].append(spent_by_children() - began)
    assert min(times[True]) - min(times[False]) < 0.030


def spent_by_children():
    """CPU seconds of those that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def test_core_hookspath_is_respected_and_keeps_no_secret(formicary, data, repo, tell, door):
    """Its folder may be committed, or shared by all of a user's repositories."""
    tell(door.url)
    repo.git("config", "core.hooksPath", ".githooks")
    (repo.path / "src").mkdir()
    said = formicary("hook", "install", "--repo", repo.path / "src", "--data", data)
    assert f"in {repo.path / '.githooks'}\n" in said.out and "do not commit the hooks" in said.out
    secret = json.loads((repo.path / ".git" / "hooks" / "formicary.json").read_text())["secret"]
    assert not any(secret in path.read_text() for path in (repo.path / ".githooks").iterdir())
    repo.commit({"a": "2"})
    assert until(lambda: door.seen)


async def test_other_work_trees_of_the_repository_tell_too(hook, repo, tell, door, tmp_path):
    tell(door.url)
    hook("install")
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    repo.git("commit", "-q", "--allow-empty", "-m", "there", cwd=tmp_path / "side")
    until(lambda: door.seen)
    assert json.loads(door.seen[-1][2])["refs"][0]["ref"] == "refs/heads/side"


def test_a_rebase_is_told_once_at_its_end(tmp_path):
    """A hundred picked commits are no hundred processes."""
    fake, note = tmp_path / "python", tmp_path / "note"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {note}\n')
    hook = tmp_path / "post-commit"
    hook.write_text(script("post-commit", str(fake)))
    for path in (fake, hook):
        path.chmod(0o755)
    (tmp_path / "git" / "rebase-merge").mkdir(parents=True)
    environment = {**os.environ, "GIT_DIR": str(tmp_path / "git")}
    subprocess.run([hook], env=environment, check=True)
    (tmp_path / "git" / "rebase-merge").rmdir()
    subprocess.run([hook], env=environment, check=True)
    until(note.exists)
    assert note.read_text() == "-E -P -m formicary.cli.hooksend post-commit\n"


async def test_the_work_tree_cannot_replace_our_modules(hook, repo, tell, door, monkeypatch):
    """The sender starts at the top of the work tree, and believes nothing that lies there."""
    tell(door.url)
    hook("install")
    monkeypatch.setenv("PYTHONPATH", ".")
    trap = "import pathlib; pathlib.Path('trapped').touch()\n"
    subprocess.run(["git", "config", "user.name", "A"], cwd=repo.path, check=True)
    subprocess.run(["git", "config", "user.email", "a@b.c"], cwd=repo.path, check=True)
    repo.write({"json.py": trap, "hmac.py": trap, "formicary/__init__.py": trap, "formicary/cli/__init__.py": trap})
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=repo.path, check=True)
    until(lambda: door.seen)
    assert not (repo.path / "trapped").exists()


async def test_an_unknown_repository_says_what_to_do(hook, formicary, data, make_repo):
    other = make_repo("other")
    said = formicary("hook", "install", "--repo", other.path, "--data", data)
    assert said.code == 1
    assert f"formicary serve --repo {other.path} --data {data}" in said.err
    assert not (other.path / ".git" / "hooks" / "post-commit").exists()


def test_no_repository_at_all(formicary, tmp_path):
    said = formicary("hook", "install", "--repo", tmp_path)
    assert said.code == 1 and "is no git repository" in said.err


async def test_status_says_what_is_missing(hook, repo, data):
    said = hook("status")
    assert said.code == 1 and "post-commit is not installed; run: formicary hook install" in said.out
    hook("install")
    said = hook("status")
    assert (said.code, said.err) == (0, ""), said.out
    (data / "hooks" / "1.secret").write_text("another\n")
    (repo.path / ".git/hooks/formicary.json").chmod(0o644)
    found = json.loads(hook("status", "--json").out)
    assert found["hooks"]["post-commit"] == "installed"
    assert len(found["problems"]) == 2
    assert "chmod 600" in found["problems"][0] and "another secret" in found["problems"][1]


async def test_send_shows_the_answer(hook, repo, tell, door):
    tell(door.url)
    hook("install")
    done = subprocess.run([*FORMICARY, "hook", "send"], cwd=repo.path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "the server answered 202\n")
    assert len(door.seen) == 1


def test_a_shared_hook_is_silent_in_other_repositories(tmp_path):
    """core.hooksPath for all: a repository that nobody watches has nothing to tell."""
    other = RepoBuilder(tmp_path / "other")
    done = subprocess.run(
        [sys.executable, "-E", "-P", "-m", "formicary.cli.hooksend", "post-commit"],
        cwd=other.path,
        env={**os.environ, "FORMICARY_DEBUG": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "formicary hook: the server answered 0\n")
    assert Path(other.path / ".git").is_dir()
