"""`formicary help`: what a command says of itself, for those who ask in this order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from click.shell_completion import CompletionItem


def _names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> Iterable[CompletionItem]:
    found, context = _found(ctx, ctx.params.get("words") or ())
    if not isinstance(found, click.Group):
        return []
    return [item for item in found.shell_complete(context, incomplete) if not item.value.startswith("-")]


def _found(ctx: click.Context, words: Sequence[str]) -> tuple[click.Command, click.Context]:
    """The command of these words. Raises click.UsageError where there is none."""
    context = ctx.find_root()
    found = context.command
    for word in words:
        if not isinstance(found, click.Group):
            raise click.UsageError(f"`{context.command_path}` has no commands below it.", ctx)
        _, below, _ = found.resolve_command(context, [word])
        assert below is not None, "resolve_command raises where there is none"
        context = click.Context(below, parent=context, info_name=word)
        found = below
    return found, context


@click.command(short_help="Show what a command does, and its options.")
@click.argument("words", nargs=-1, metavar="[COMMAND]...", shell_complete=_names)
@click.pass_context
def command(ctx: click.Context, words: Sequence[str]) -> None:
    """Show what COMMAND does, and its options; without COMMAND the overview.

    \b
    Examples:
      formicary help run
      formicary help hook install
    """
    found, context = _found(ctx, words)
    click.echo(found.get_help(context))
