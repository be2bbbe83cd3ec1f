"""The ways by which people are told, as the settings say them."""

from __future__ import annotations

from formicary.cli.settings import Settings
from formicary.runner.publish.messages import Ways, mail_at


def ways_of(settings: Settings) -> Ways:
    """How people may be told. Raises SetupError."""
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
    return Ways(
        mail_at(settings.smtp, settings.smtp_from, password) if settings.smtp else None,
        settings.slack.get_secret_value() if settings.slack else "",
        {name: url.get_secret_value() for name, url in settings.notify_urls.items()},
    )
