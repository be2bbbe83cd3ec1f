"""T19: a task reads neither the data folder nor another's workspace; T20: workspaces are copies; T12: checkouts."""

import contextlib
import subprocess
import sys

import anyio
import pytest

from formicary.ant.places import Places
from formicary.ant.uids import Uids, default_range
from formicary.ant.workspace import Work
from formicary.runner.core.errors import ERR_CHECKOUT, LostError, SetupError
from formicary.runner.git import workspace as git

RANGE = default_range()
as_root = pytest.mark.skipif(RANGE is None, reason="needs root, to give tasks users of their own")
MODES = [None, RANGE] if RANGE else [None]


@pytest.fixture(params=MODES, ids=lambda mode: "own-uid" if mode else "ants-user")
def uid_range(request):
    return request.param


@pytest.fixture
def repository(open_folder):
    folder = open_folder / "repository"
    folder.mkdir()

    def git(*words):
        return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    git("config", "user.email", "a@b.c")
    git("config", "user.name", "A")
    (folder / "README").write_text("hello\n")
    (folder / "run.sh").write_text("#!/bin/sh\necho it ran\n")
    (folder / "run.sh").chmod(0o755)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    folder.chmod(0o700)
    return folder, git("rev-parse", "HEAD")


def source(repository, **fields):
    folder, commit = repository
    return {"source": {"kind": "commit", "path": str(folder), "commit": commit, "branch": "main", **fields}}


async def test_a_commit_in_the_workspace(colony, an_order, repository, uid_range):
    script = "./run.sh; git status --short; git log --format=%s; stat -c %u README; id -u"
    order = an_order("SHELL", script=(script,), order=source(repository))
    report = await colony.do(order, uid_range=uid_range)
    assert report.result.exit_code == 0, colony.desk.logs
    *lines, owner, user = colony.desk.raw(order.task_execution_id).decode().split()
    assert lines == ["it", "ran", "first"] and owner == user
    assert repository[1] in colony.desk.sys(order.task_execution_id)


async def test_a_workspace_is_a_copy(colony, an_order, repository):
    """T20: whatever a task does to its files, the repository is as it was."""
    order = an_order("SHELL", script=("find . -type f -exec sh -c ': > $1' - {} ';'",), order=source(repository))
    assert (await colony.do(order)).result.exit_code == 0
    subprocess.run(["git", "-C", repository[0], "fsck", "--full"], check=True)
    assert (repository[0] / "README").read_text() == "hello\n"


async def test_checkout_can_be_off(colony, an_order, repository):
    order = an_order("SHELL", script=("ls -A",), checkout={"enabled": False}, order=source(repository))
    assert (await colony.do(order)).result.exit_code == 0
    assert colony.desk.raw(order.task_execution_id) == b""


async def test_a_commit_that_is_not_there(colony, an_order, repository):
    order = an_order("SHELL", script=("echo no",), order=source(repository, commit="1" * 40))
    report = await colony.do(order)
    assert report.kind == "FINISHED" and report.result.error_code == ERR_CHECKOUT
    assert colony.desk.raw(order.task_execution_id) == b""


async def test_a_repository_that_cannot_be_read_is_the_worlds(colony, an_order, repository):
    """D12."""
    order = an_order("SHELL", script=("echo no",), order=source(repository, path=str(repository[0] / "nowhere")))
    assert (await colony.do(order)).kind == "LOST"


async def test_the_definitions_environment_does_not_reach_git(colony, an_order, repository):
    """T7: the ant's own commands get none of it."""
    environment = {"GIT_DIR": "/nonexistent", "PATH": "/nonexistent", "HOME": "/nonexistent"}
    order = an_order("SHELL", shell=("/bin/sh",), environment=environment, order=source(repository))
    report = await colony.do(order.model_copy(update={"task": order.task.model_copy(update={"script": ("echo ok",)})}))
    assert report.result.exit_code == 0


async def test_a_copy_of_the_working_tree(colony, an_order, repository, uid_range):
    folder, _ = repository
    (folder / "new").write_text("uncommitted\n")
    (folder / ".gitignore").write_text("ignored\n")
    (folder / "ignored").write_text("x")
    order = an_order(
        "SHELL", script=("cat new; ls; echo x > new",), order={"source": {"kind": "tree", "path": str(folder)}}
    )
    report = await colony.do(order, uid_range=uid_range)
    assert report.result.exit_code == 0
    assert colony.desk.raw(order.task_execution_id) == b"uncommitted\nREADME\nnew\nrun.sh\n"
    assert (folder / "new").read_text() == "uncommitted\n"


@as_root
async def test_a_task_reads_nothing_of_others(colony, an_order):
    """T19: as root every task runs under a user of its own."""
    data = colony.folder / "data"
    data.mkdir(mode=0o700)
    (data / "formicary.db").write_text("all of it")
    async with colony.bus.serve(colony.desk), colony.running(hands=2, uid_range=RANGE):
        script = "echo mine > secret; echo home > ~/secret; chmod 777 . ~ secret; echo ready; sleep 60"
        victim = colony.desk.give(an_order("SHELL", script=(script,)))
        await colony.desk.until(lambda: b"ready" in colony.desk.logs.get(victim, b""))
        place = colony.work / "1"
        targets = [data / "formicary.db", place / "workspace/secret", place / "home/secret", place / "run/script"]
        tries = [f"cat {target} && exit 1" for target in targets]
        tries += [f"ls {colony.work} && exit 1", f"ls {place} && exit 1", f"ls {colony.folder}/objects && exit 1"]
        tries += [
            "ln -sf /etc/passwd $FORMICARY_OUTPUT && exit 1",
            "mv ../run ../run2 && exit 1",
            "touch ../x && exit 1",
        ]
        tries += ["grep -E '^(CapEff|Groups):' /proc/self/status"]
        thief = an_order("SHELL", script=("; ".join(tries),))
        report = await colony.desk.finished(colony.desk.give(thief))
        raw = colony.desk.raw(thief.task_execution_id).decode()
        assert report.result.exit_code == 0, raw
        assert "CapEff:\t0000000000000000" in raw and "Groups:\t \n" in raw
        colony.bus.stop("ant", victim)
        await colony.desk.finished(victim)


@as_root
def test_a_place_that_waits_for_its_next_task_is_shut(open_folder):
    """T19: a task may have the number of an earlier one, and finds no way into what that one has left."""
    uid, places = RANGE[0], Places(open_folder, 1)
    first = places.take(uid)
    places.furnish(first)

    def may(place, number):
        words = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "touch", f"{place}/workspace"]
        return subprocess.run(words, capture_output=True).returncode == 0

    assert may(first.root, uid) and not may(first.root, uid + 1)
    assert places.recycle(first)
    assert not may(first.root, uid)
    second = places.take(uid + 1)
    places.furnish(second)
    assert second.root == first.root
    assert may(second.root, uid + 1) and not may(second.root, uid)


@as_root
async def test_work_that_tasks_cannot_reach_is_refused(colony, open_folder):
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    colony.work = closed / "work"
    with pytest.raises(ExceptionGroup) as caught:
        async with colony.running(uid_range=RANGE):
            raise AssertionError("it must not start")
    assert caught.group_contains(SetupError, match="--work")


@as_root
def test_no_number_is_lent_twice(tmp_path):
    """T19, between two processes too (they share the locks)."""
    one, two = Uids((200_000, 200_003), tmp_path), Uids((200_000, 200_003), tmp_path)
    with one.lend() as a, two.lend() as b, one.lend() as c, two.lend() as d:
        assert sorted([a, b, c, d]) == [200_000, 200_001, 200_002, 200_003]
    with pytest.raises(LostError, match="larger"), contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(one.lend())
    two.close()
    with contextlib.ExitStack() as stack:
        assert len({stack.enter_context(one.lend()) for _ in range(4)}) == 4
    one.close()


def test_two_ants_in_one_folder_are_refused(tmp_path):
    work = Work(tmp_path / "work")
    with pytest.raises(SetupError, match="Another ant"):
        Work(tmp_path / "work")
    work.close()
    Work(tmp_path / "work").close()


async def test_what_is_not_trusted_does_not_run_as_the_ants_user(colony, an_order):
    """T19."""
    order = an_order("SHELL", script=("echo ran",), order={"trusted": False})
    report = await colony.do(order)
    assert report.kind == "LOST" and colony.desk.raw(order.task_execution_id) == b""


def test_without_a_range_tasks_run_as_the_ants_user():
    with Uids(None).lend() as uid:
        assert uid is None


async def test_an_ant_that_is_stopped_at_once_says_so(colony, an_order):
    """D12: the queen need not wait for the lease to end."""
    async with colony.bus.serve(colony.desk):
        with anyio.CancelScope() as scope:
            async with colony.running():
                name = colony.desk.give(an_order("SHELL", script=("sleep 60",)))
                await colony.desk.executing(name)
                scope.cancel()
        assert colony.desk.last(name).kind == "LOST"
        assert [path.name for path in colony.work.iterdir()] == [".lock"]


@as_root
async def test_without_git_and_with_a_python_of_roots_own_the_remedy_is_said(
    colony, an_order, repository, monkeypatch, open_folder
):
    python = open_folder / "closed/python"
    python.parent.mkdir(mode=0o700)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(git, "git_binary", lambda: None)
    monkeypatch.setattr(sys, "executable", str(python))
    report = await colony.do(an_order("SHELL", script=("true",), order=source(repository)), uid_range=RANGE)
    assert report.result.error_code == ERR_CHECKOUT
    assert "install git" in report.result.error_message
