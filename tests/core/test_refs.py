"""What people call a ref."""

import pytest

from formicary.runner.core.refs import short


@pytest.mark.parametrize(
    ("ref", "called"),
    [
        ("refs/heads/main", "main"),
        ("refs/heads/refs/heads/x", "refs/heads/x"),
        ("refs/tags/v1", "v1"),
        ("refs/pull/7/head", "#7"),
        ("refs/pull/7/merge", "pull/7/merge"),
        ("main", "main"),
        ("", ""),
    ],
)
def test_short(ref, called):
    assert short(ref) == called
