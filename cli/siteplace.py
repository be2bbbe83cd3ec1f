"""Where the operator wants the site: a folder, a bucket, or a branch of a repository. One word says which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from formicary.runner.artifacts import address as buckets
from formicary.runner.core.errors import SetupError
from formicary.runner.git import address as remotes

BRANCH: Final = "gh-pages"
_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")


@dataclass(frozen=True, slots=True)
class SitePlace:
    """`bucket`, or `remote` and `branch`, or else the folder `folder`."""

    folder: Path | None = None
    bucket: buckets.Address | None = None
    remote: remotes.Address | None = None
    branch: str = ""

    def __str__(self) -> str:
        if self.remote is not None:
            return f"branch {self.branch} of {self.remote.url}"
        return str(self.bucket or self.folder)


def is_elsewhere(text: str) -> bool:
    """Whether this is no folder of this machine."""
    return text.startswith(buckets.SCHEME) or remotes.is_address(text)


def site_place(text: str) -> SitePlace:
    """`folder`, `s3://bucket/prefix?…`, or a repository's address with `#branch` behind it. Raises SetupError."""
    if text.startswith(buckets.SCHEME):
        return SitePlace(bucket=buckets.address_of(text))
    if not remotes.is_address(text):
        return SitePlace(folder=Path(text).expanduser())
    url, _, branch = text.partition("#")
    branch = branch or BRANCH
    if not _BRANCH.fullmatch(branch) or ".." in branch or "//" in branch or branch.endswith(("/", ".", ".lock")):
        raise SetupError(f"`{branch}` is no name of a branch; the address of a site looks like {url}#{BRANCH}")
    return SitePlace(remote=remotes.parse(url), branch=branch)


def apart(site: SitePlace, artifacts: str) -> None:
    """Raises SetupError where the site would lie among artifacts, which are not for everybody."""
    kept = buckets.address_of(artifacts) if artifacts else None
    seen = site.bucket
    if kept is None or seen is None or (kept.bucket, kept.endpoint) != (seen.bucket, seen.endpoint):
        return
    if kept.prefix.startswith(seen.prefix) or seen.prefix.startswith(kept.prefix):
        raise SetupError("`site` and `artifacts` lie in each other; give each a prefix of its own, or another bucket")
