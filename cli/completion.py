"""`formicary completion`: the script that lets a shell complete commands, options and names."""

from __future__ import annotations

import sys
from typing import Final

import click
from click.shell_completion import get_completion_class

VARIABLE: Final = "_FORMICARY_COMPLETE"
#: Where each shell looks by itself, and what else is to be done.
INSTALL: Final = {
    "bash": "formicary completion bash > ~/.local/share/bash-completion/completions/formicary\n"
    "(that takes the package bash-completion; without it, in ~/.bashrc: source <(formicary completion bash))",
    "zsh": "mkdir -p ~/.zfunc; formicary completion zsh > ~/.zfunc/_formicary\n"
    "and in ~/.zshrc, before anything calls compinit: fpath+=~/.zfunc; autoload -Uz compinit; compinit",
    "fish": "formicary completion fish > ~/.config/fish/completions/formicary.fish",
}


def script(shell: str) -> str:
    """What the shell is to read. click makes it; how it is installed stands below."""
    found = get_completion_class(shell)
    assert found is not None, "INSTALL names shells that click knows"
    names = {"complete_func": "_formicary_completion", "complete_var": VARIABLE, "prog_name": "formicary"}
    said = "\n".join(f"# {line}" for line in ["To install it:", *INSTALL[shell].splitlines()])
    return f"{(found.source_template % names).strip()}\n\n{said}\n"


@click.command(short_help="Let your shell complete commands, options and names.")
@click.argument("shell", type=click.Choice(list(INSTALL)))
def command(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, jobs of the working tree, and what the server knows.

    \b
    Examples:
      source <(formicary completion bash)
      formicary completion bash > ~/.local/share/bash-completion/completions/formicary
      formicary completion zsh > ~/.zfunc/_formicary
      formicary completion fish > ~/.config/fish/completions/formicary.fish
    """
    click.echo(script(shell), nl=False)
    if sys.stdout.isatty():
        click.echo(f"\nTo install it: {INSTALL[shell]}", err=True)
