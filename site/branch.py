"""The site on a branch of a git repository, such as `gh-pages`: one commit for all that changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from formicary.runner.git.push import Branch
from formicary.site.mirror import OWNED, Check

PLAIN: Final = ".nojekyll"
"""Tells GitHub Pages to leave the files as they are."""
ON_BRANCH: Final = OWNED | {PLAIN}


class BranchTarget:
    """A `Target`. A commit is seen at once or not at all."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch

    def send(self, files: Mapping[str, Path], check: Check) -> None:
        self._branch.put({**files, PLAIN: b""}, "Pages of formicary", check)
