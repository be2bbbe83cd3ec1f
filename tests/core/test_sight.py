"""Which secret configs a request sees: scope, trust, branch, event."""

import pytest

from formicary.runner.core.definition import TaskDefinition
from formicary.runner.core.errors import Problem
from formicary.runner.core.records import JobRequest, Secret, SecretKind
from formicary.runner.core.secrets.sight import NOTHING, branch_of, scoped, sight


def request(ref="refs/heads/main", event="push", **values):
    given = {"id": 1, "version_id": 1, "job_type": "ci", "repository_id": 5, "created_at": 0.0, "ref": ref}
    return JobRequest(**{**given, "event": event, **values})


def secret(number=1, name="Key", **values):
    return Secret(id=number, name=name, **values)


def seen(*secrets, **values):
    return sight(scoped(secrets, 5, "ci"), request(**values))


def test_the_nearest_scope_wins():
    organization, repository, job = secret(1), secret(2, repository_id=5), secret(3, repository_id=5, job_type="ci")
    for order in ((organization, repository, job), (job, repository, organization)):
        assert seen(*order).secrets == {"Key": job}
    assert seen(organization, repository).secrets == {"Key": repository}
    assert seen(organization).configs == {"Key": "sealed"}


@pytest.mark.parametrize(
    "other",
    [{"repository_id": 6}, {"repository_id": 5, "job_type": "deploy"}, {"kind": SecretKind.CREDENTIAL}],
)
def test_what_is_not_of_this_job_is_not_there(other):
    assert scoped([secret(**other)], 5, "ci") == {}
    assert seen(secret(**other)) == NOTHING


def test_a_request_without_a_repository_sees_the_organizations_alone():
    assert scoped([secret(1), secret(2, repository_id=5)], None, "ci") == {"Key": (secret(1),)}


@pytest.mark.parametrize(
    ("globs", "branch", "open_"),
    [
        (["main"], "main", True),
        (["main"], "evil/main", False),
        (["main"], "main/x", False),
        (["main"], "mainly", False),
        (["release/*"], "release/1.0", True),
        (["release/*"], "release/1/0", False),
        (["release/**"], "release/1/0", True),
        (["release/?.?"], "release/1.0", True),
        (["v1.0"], "v1x0", False),
        (["main", "dev"], "dev", True),
        (["*"], "a\nb", True),
        (["main"], "main\n", False),
    ],
)
def test_branches_are_whole_names(globs, branch, open_):
    found = seen(secret(branches=tuple(globs)), ref=f"refs/heads/{branch}")
    assert ("Key" in found.secrets, "Key" in found.refused) == (open_, not open_)


def test_a_tag_is_of_no_branch():
    """Whoever may push a tag called `main` gets nothing for it."""
    found = seen(secret(branches=("main",)), ref="refs/tags/main", params={"GitBranch": "main"})
    assert "this run is of no branch" in found.refused["Key"]
    assert branch_of(request(ref="", params={"GitBranch": "x"})) == "", "nobody's parameter says it"


def test_the_branch_of_a_pull_request_is_its_head():
    found = request(ref="refs/pull/7/head", event="pull_request", params={"GitBranch": "x", "GitBaseBranch": "main"})
    assert branch_of(found) == "x" == branch_of(request(ref="", event="run", params={"GitBranch": "x"}))


def test_events_limit_too_and_a_wider_secret_stands_in():
    narrow, wide = secret(1, repository_id=5, branches=("main",), events=("push", "commit")), secret(2)
    assert seen(narrow).secrets == {"Key": narrow}
    found = seen(narrow, event="manual")
    assert found.refused == {"Key": "it is for `push`, `commit` only, and the event is `manual`"}
    assert seen(narrow, wide, event="manual").secrets == {"Key": wide}


def test_an_untrusted_run_gets_none():
    """T3"""
    found = seen(secret(), trusted=False)
    assert found.withheld and found.configs == {"Key": "sealed"}
    task = TaskDefinition(task_type="t", script=("echo ${Key:-} $Keyed",))
    assert found.notes(task) == (
        "The secret `Key` is not in the environment: what outsiders have sent in gets no secrets.",
    )
    assert seen(secret()).notes(task) == ()


def test_a_problem_is_explained():
    found = seen(secret(branches=("main",)), ref="refs/heads/dev")
    missing = Problem("f.yml", 3, 4, "There is no `Key` here", "define it", "script: {{ Key }}")
    told = found.explained(missing)
    assert (
        told.message == "The secret `Key` is not for this run: it is for branches `main` only, and the branch is `dev`"
    )
    assert (told.path, told.line, told.column, told.source) == ("f.yml", 3, 4, missing.source)
    other = Problem("f.yml", 3, 4, "There is no `Other` here")
    assert found.explained(other) is other
