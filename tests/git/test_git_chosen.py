"""What a ref that somebody wrote names: branches, tags, ids; two meanings are refused, nothing is guessed."""

import pytest

from formicary.runner.core.errors import NotFound, UserError
from formicary.runner.git.chosen import chosen


def test_branches_tags_and_ids(repo, opened):
    old = repo.commit({"a": "1"})
    repo.tag("v1", annotated=True)
    repo.branch("release/1.x")
    new = repo.commit({"a": "2"})
    git = opened(repo.path)
    assert chosen(git, "main") == (new, "main")
    assert chosen(git, "release/1.x") == chosen(git, "refs/heads/release/1.x") == (old, "release/1.x")
    assert chosen(git, "v1") == chosen(git, "refs/tags/v1") == (old, "")
    assert chosen(git, old) == chosen(git, old.upper()) == (old, "")


def test_it_follows_what_moves(repo, opened):
    first = repo.commit({"a": "1"})
    git = opened(repo.path)
    assert chosen(git, "main").commit == first
    assert chosen(git, "main").commit != repo.commit({"a": "2"}) == chosen(git, "main").commit


@pytest.mark.parametrize(
    "ref",
    ["nope", "heads/main", "HEAD", "main~1", "refs/remotes/origin/main", "../../config", "-b", "a\nb", " ", "1234567"],
)
def test_nothing_is_guessed(repo, opened, ref):
    repo.commit()
    with pytest.raises(NotFound, match="no branch and no tag of the repository") as caught:
        chosen(opened(repo.path), ref)
    assert "\n" not in str(caught.value)


def test_a_long_one_is_shown_shortened(repo, opened):
    repo.commit()
    with pytest.raises(NotFound) as caught:
        chosen(opened(repo.path), "x" * 5000)
    assert len(str(caught.value)) < 300


def test_a_branch_and_a_tag_of_one_name(repo, opened):
    """Who may push a branch shall not take the place of a tag."""
    old = repo.commit({"a": "1"})
    repo.tag("v1")
    repo.branch("v1")
    git = opened(repo.path)
    assert chosen(git, "v1") == (old, "v1"), "the same commit: no matter which"
    repo.git("update-ref", "refs/heads/v1", repo.commit({"a": "2"}))
    with pytest.raises(UserError, match="write `refs/heads/v1` or `refs/tags/v1`"):
        chosen(git, "v1")
    assert chosen(git, "refs/tags/v1").commit == old


def test_a_tag_of_something_else_names_nothing(repo, opened):
    """D8."""
    repo.commit({"a": "1"})
    repo.git("tag", "file", "HEAD:a")
    with pytest.raises(NotFound):
        chosen(opened(repo.path), "file")
