"""`checkout: {ref}`: another commit of the same repository, found when the attempt starts, and told in the log."""

import pytest

from formicary.runner.core.errors import ERR_CHECKOUT
from formicary.runner.git import workspace as git

SCRIPT = ("cat file; git rev-parse --abbrev-ref HEAD; git rev-list --count HEAD",)


@pytest.fixture
def project(make_repo, open_folder):
    found = make_repo(open_folder / "project")
    found.path.chmod(0o700)
    return found


@pytest.fixture
def do(colony, an_order, project):
    async def done(ref, **fields):
        source = {"kind": "commit", "path": str(project.path), "ref": ref, **fields}
        order = an_order("SHELL", script=SCRIPT, order={"source": source})
        result = (await colony.do(order)).result
        return (
            result,
            colony.desk.raw(order.task_execution_id).decode().split(),
            colony.desk.sys(order.task_execution_id),
        )

    return done


async def test_a_tag_a_branch_a_commit(do, project):
    old = project.commit({"file": "old\n"})
    project.tag("v1", annotated=True)
    project.branch("side")
    new = project.commit({"file": "new\n"})
    for ref, wanted, commit in [
        ("v1", ["old", "HEAD", "1"], old),
        ("side", ["old", "side", "1"], old),
        ("main", ["new", "main", "2"], new),
        (old, ["old", "HEAD", "1"], old),
    ]:
        result, out, log = await do(ref)
        assert result.exit_code == 0 and out == wanted
        assert f"Checked out {commit} ({ref})." in log


async def test_without_git_too(do, project, monkeypatch):
    old = project.commit({"file": "old\n"})
    project.tag("v1", annotated=True)
    project.commit({"file": "new\n"})
    monkeypatch.setattr(git, "git_binary", lambda: None)
    result, out, log = await do("v1")
    assert result.exit_code == 0 and out[0] == "old" and f"Checked out {old} (v1)." in log


async def test_a_name_that_leads_out_of_the_refs_leads_nowhere(colony, an_order, project, open_folder):
    """T12: no file of the machine is read as if it were a ref."""
    sha = project.commit({"file": "x\n"})
    (open_folder / "ref").write_text(f"{sha}\n")
    source = {"kind": "commit", "path": str(project.path), "ref": "../../../../ref"}
    report = await colony.do(an_order("SHELL", script=SCRIPT, order={"source": source}))
    assert report.result.error_code == ERR_CHECKOUT


async def test_each_attempt_finds_it_anew(do, project):
    for number in (1, 2):
        commit = project.commit({"file": f"{number}\n"})
        _, out, log = await do("main", depth=1)
        assert out == [str(number), "main", "1"] and commit in log


@pytest.mark.parametrize("ref", ["nope", "../../x", "--orphan=x", "1" * 40])
async def test_what_is_not_there_fails_in_one_sentence(do, project, ref):
    project.commit({"file": "x\n"})
    result, out, _ = await do(ref)
    assert result.error_code == ERR_CHECKOUT and out == []
    assert ref in result.error_message and "\n" not in result.error_message


async def test_a_repository_that_is_gone_is_the_worlds(colony, an_order, open_folder):
    """D12: the ref may be there."""
    source = {"kind": "commit", "path": str(open_folder / "nowhere"), "ref": "main"}
    assert (await colony.do(an_order("SHELL", script=SCRIPT, order={"source": source}))).kind == "LOST"
