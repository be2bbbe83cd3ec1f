"""The site's publishers, from the settings: the folder, and where that is seen besides."""

from __future__ import annotations

import time
from collections.abc import Iterator

from formicary.cli.credentials import credentials_of
from formicary.cli.house import Inside, Outside
from formicary.cli.objects import keys_for
from formicary.cli.settings import Settings
from formicary.cli.siteplace import SitePlace, apart, site_place
from formicary.runner.core.records import Repository
from formicary.runner.git.address import Address
from formicary.runner.git.remote import Credentials
from formicary.site.mirror import SiteMirror, Target, owed_soon
from formicary.site.publish import SitePublisher, site_effect


def site(inside: Inside) -> Iterator[Outside]:
    """Nothing where no site is wanted. Raises SetupError."""
    settings = inside.settings
    if not settings.site:
        return
    place = site_place(settings.site)
    folder = place.folder or settings.data / "site"
    target = _target(settings, place)
    then = owed_soon(inside.store, time.time) if target else None
    publisher = SitePublisher(inside.store, folder, inside.logs, then)
    yield Outside(publisher, site_effect, start=publisher.publish_all, gone=publisher.prune)
    if target is not None:
        yield Outside(SiteMirror(folder, target, publisher.busy))


def _target(settings: Settings, place: SitePlace) -> Target | None:
    """Their libraries are loaded for whoever wants them."""
    if place.bucket is not None:
        from formicary.runner.artifacts.bucket import Bucket
        from formicary.site.bucket import BucketTarget

        apart(place, settings.artifacts)
        return BucketTarget(Bucket(place.bucket, keys_for(settings)))
    if place.remote is not None:
        from formicary.runner.git.push import Branch
        from formicary.site.branch import ON_BRANCH, BranchTarget

        store = settings.data / "site.git"
        return BranchTarget(Branch(place.remote, place.branch, _credentials(settings, place.remote), store, ON_BRANCH))
    return None


def _credentials(settings: Settings, remote: Address) -> Credentials:
    """The site's own token, else what formicary.toml says of the repository at this address."""
    if settings.site_token is not None:
        return Credentials(token=settings.site_token.get_secret_value())
    return credentials_of(settings)(Repository(id=0, name="", path="", url=remote.url)) or Credentials()
