"""Which moves start a job: filters by example, as the language page says them."""

import pytest

from formicary.reconciler.triggers import Pushed, judge
from formicary.runner.core.definition import JobDefinition, RefFilter, Triggers


def job(kind="commit", **filters):
    return JobDefinition(job_type="ci", triggers=Triggers(**{kind: RefFilter(**filters)}))


def reason(found, ref="refs/heads/main", message="change", files=("src/a.py",)):
    verdict = judge(found, Pushed(ref, message, files))
    return verdict.reason


@pytest.mark.parametrize(
    ("filters", "ref", "runs"),
    [
        ({}, "refs/heads/any", True),
        ({}, "refs/tags/v1", True),
        ({"branches": ("main",)}, "refs/heads/main", True),
        ({"branches": ("main",)}, "refs/heads/other", False),
        ({"branches": ("release/*",)}, "refs/heads/release/1", True),
        ({"branches": ("*", "!wip")}, "refs/heads/wip", False),
        ({"branches": ("main",)}, "refs/tags/v1", False),
        ({"tags": ("v*",)}, "refs/tags/v1", True),
        ({"tags": ("v*",)}, "refs/tags/x1", False),
        ({"tags": ("v*",)}, "refs/heads/main", False),
        ({"branches": ("main",), "tags": ("v*",)}, "refs/tags/v1", True),
    ],
)
def test_refs(filters, ref, runs):
    assert (reason(job(**filters), ref) == "") is runs


@pytest.mark.parametrize(
    ("filters", "files", "runs"),
    [
        ({"paths": ("src/**",)}, ("src/x/y.py",), True),
        ({"paths": ("src/**",)}, ("docs/x.md",), False),
        ({"paths": ("src/**", "!src/gen/**")}, ("src/gen/a.py",), False),
        ({"paths_ignore": ("docs/**",)}, ("docs/x.md",), False),
        ({"paths_ignore": ("docs/**",)}, ("docs/x.md", "a.py"), True),
        ({"paths_ignore": ("docs/**",)}, (), True),
        ({"paths": ("*.py",)}, ("deep/down/a.py",), True),
    ],
)
def test_paths(filters, files, runs):
    assert (reason(job(**filters), files=files) == "") is runs


@pytest.mark.parametrize("mark", ["[skip ci]", "[ci skip]", "[Skip CI]"])
def test_skip_marks(mark):
    assert mark in reason(job(), message=f"docs {mark}\n\nbody")


def test_push_means_the_same_and_commit_wins():
    both = JobDefinition(
        job_type="ci", triggers=Triggers(commit=RefFilter(branches=("a",)), push=RefFilter(branches=("b",)))
    )
    assert judge(job("push"), Pushed("refs/heads/x", "m")).event == "push"
    assert judge(both, Pushed("refs/heads/a", "m")).runs


def test_no_trigger_no_verdict():
    assert judge(JobDefinition(job_type="ci"), Pushed("refs/heads/main", "m")) is None


def test_a_remotes_moves_are_pushes_only():
    """language.md: `commit` is for the hooks and polls of local repositories."""
    both = JobDefinition.model_validate({"job_type": "ci", "triggers": {"commit": {"branches": ["a"]}, "push": {}}})
    far = judge(both, Pushed("refs/heads/x", "m", remote=True))
    assert (far.event, far.runs) == ("push", True)
    assert judge(job("commit"), Pushed("refs/heads/x", "m", remote=True)) is None
