"""docs/cli.md is made from the commands."""

import importlib.util


def test_the_page_of_commands_is_made_from_them(root):
    """A command or option that changes is said there too: make docs."""
    spec = importlib.util.spec_from_file_location("commands", root / "docs" / "commands.py")
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    assert (root / "docs" / "cli.md").read_text(encoding="utf-8") == commands.page(), "it is old; run: make docs"
