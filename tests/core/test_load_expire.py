"""Tasks of the method EXPIRE_ARTIFACTS: what they take, and what means nothing there."""

import pytest

from formicary.runner.core.load import load

JOB = "job_type: tidy\ntasks:\n- task_type: t\n  method: EXPIRE_ARTIFACTS\n"


def problems(text, **more):
    return [str(one).splitlines()[0] for loaded in load(text, **{"path": "a.yml", **more}) for one in loaded.problems]


def test_what_it_takes():
    (loaded,) = load(JOB + "  artifacts: {expires_after: 720h}\n", path="a.yml")
    task = loaded.definition.tasks[0]
    assert (task.method, task.artifacts.expires_after) == ("EXPIRE_ARTIFACTS", 720 * 3600.0)
    assert not loaded.problems


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("script: [make]", "`script` means nothing here"),
        ("cache: {paths: [x]}", "`cache` means nothing here"),
        ("artifacts: {paths: [x]}", "keeps no artifacts"),
    ],
)
def test_what_means_nothing_there(key, why):
    """Native: an error at its place; the go dialect: a warning, as of everything that the original passes over."""
    (told,) = problems(f"{JOB}  {key}\n")
    assert told.startswith("a.yml:5:3") and why in told
    (loaded,) = load(f"{JOB}  {key}\n", path="a.yml", dialect="go")
    assert loaded.definition is not None and [one.severity for one in loaded.warnings] == ["warning"]
