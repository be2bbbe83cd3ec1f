"""`formicary notify`: one test message to one recipient, with the server's settings, to see whether it arrives."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import click

from formicary.cli.format import harmless
from formicary.cli.settings import Settings, read_settings
from formicary.cli.ways import ways_of
from formicary.runner.publish.messages import Message, MessagePublisher
from formicary.runner.publish.notice import Notice
from formicary.runner.telling.escalation import channel_of


def _sample(settings: Settings) -> Notice:
    return Notice(
        subject="A test message from Formicary",
        good=True,
        facts=[("Sent from", socket.gethostname()), ("Data folder", str(settings.data))],
        excerpt_of="A log would be shown like this",
        excerpt="E   assert 1 + 1 == 3",
        link=settings.url,
    )


@click.command(short_help="Send a test message, to see whether it arrives.")
@click.argument("recipient")
@click.option("--smtp", help="The mail server, instead of the setting.")
@click.option("--smtp-from", help="Who the mail comes from, instead of the setting.")
def command(recipient: str, **given: Any) -> None:
    """Send a test message to RECIPIENT, with the settings that `formicary serve` would have here.

    RECIPIENT is written as in a definition: an address, "#channel", "@user", operator://NAME, or a URL of a service.

    \b
    Examples:
      formicary notify ann@example.org
      formicary notify operator://ops
      formicary notify ann@example.org --smtp smtp://localhost --smtp-from ci@example.org
    """
    settings = read_settings(given)
    publisher = MessagePublisher(ways_of(settings), lambda payload: None)
    anyio.run(publisher.send, Message(_sample(settings), channel_of(recipient), recipient))
    click.echo(f"sent to {harmless(recipient)}")
