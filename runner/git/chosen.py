"""What a ref that somebody wrote names now: a branch, a tag or a commit; nothing where two could be meant."""

from __future__ import annotations

from typing import Final, NamedTuple

from formicary.runner.core.errors import NotFound, UserError
from formicary.runner.git.repository import GitRepository

BRANCHES: Final = "refs/heads/"
TAGS: Final = "refs/tags/"
_HEX: Final = frozenset("0123456789abcdef")


class Chosen(NamedTuple):
    """A commit, and the branch (without `refs/heads/`) by which it was named, if by one."""

    commit: str
    branch: str


def chosen(repository: GitRepository, ref: str) -> Chosen:
    """`main`, `v1.0`, `refs/heads/main`, `refs/tags/v1.0`, or all digits of a commit's id, which need not be here yet.

    Raises NotFound where nothing is called so, UserError where a branch and a tag are and lead to different commits.
    """
    if is_id(ref):
        return Chosen(ref.lower(), "")
    refs = repository.refs()
    if ref.startswith((BRANCHES, TAGS)):
        found = [ref] if ref in refs else []
    else:
        found = [full for full in (BRANCHES + ref, TAGS + ref) if full in refs]
    if not found:
        raise NotFound(
            f"`{_shown(ref)}` is no branch and no tag of the repository; a commit is named by all digits of its id."
        )
    if len({refs[full] for full in found}) > 1:
        raise UserError(f"`{_shown(ref)}` is a branch and a tag; write `{BRANCHES}{ref}` or `{TAGS}{ref}`.")
    name = found[0]
    return Chosen(refs[name], name.removeprefix(BRANCHES) if name.startswith(BRANCHES) else "")


def is_id(ref: str) -> bool:
    """Whether these are all digits of a commit's id."""
    return len(ref) in (40, 64) and _HEX.issuperset(ref.lower())


def _shown(ref: str) -> str:
    return " ".join(ref[:100].split()) + ("…" if len(ref) > 100 else "")
