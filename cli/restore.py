"""`formicary restore`: check a backup, or make a data folder of it. Nothing that is there is ever overwritten."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from formicary.cli.backup import inside
from formicary.cli.format import as_json, progress
from formicary.cli.settings import read_settings
from formicary.runner.backup.backup import PARTS
from formicary.runner.backup.restore import Checked, restore, verify
from formicary.site.times import stamp


@click.command(short_help="Check a backup, or make a data folder of it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="The data folder; it must be empty, or not there yet.")
@click.option("--verify", "only_verify", is_flag=True, help="Check everything in it and restore nothing.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
def command(file: Path, data: Path | None, only_verify: bool, json_wanted: bool) -> None:
    """Make a data folder of a backup, after everything in it was checked. Exits 1 where something is wrong.

    \b
    Examples:
      formicary restore formicary-20261124T030000Z.tar.gz --verify
      formicary restore formicary-20261124T030000Z.tar.gz --data /var/lib/formicary
    """
    folder = None if only_verify else read_settings({"data": data}).data
    with progress("reading the backup") as say:
        checked = verify(file, say) if folder is None else restore(file, folder, say)
    if json_wanted:
        click.echo(as_json(_as_json(file, folder, checked)))
    else:
        _say(file, folder, checked)
    for lost in checked.manifest.lost.values():
        click.echo(f"warning: the bytes of {lost} were not there or damaged when the backup was made", err=True)


def _say(file: Path, folder: Path | None, checked: Checked) -> None:
    manifest = checked.manifest
    click.echo(f"{click.style('OK', fg='green')} {file}: {inside(manifest, checked.contents.requests)}")
    click.echo(
        f"made by formicary {manifest.program} at {stamp(manifest.created_at)}, schema {manifest.schema_version}; "
        f"without {' and '.join(part for part in PARTS if part not in manifest.parts) or 'nothing'}"
    )
    if folder is not None:
        click.echo(f"restored to {folder}; before you start, put your copy of the master key into {folder}/master.key")
        click.echo("after the start, formicary hook install makes new secrets for the hooks of commits")


def _as_json(file: Path, folder: Path | None, checked: Checked) -> dict[str, object]:
    manifest = checked.manifest
    return {
        "file": str(file),
        "restored_to": None if folder is None else str(folder),
        "created_at": datetime.fromtimestamp(manifest.created_at, UTC).isoformat(),
        "program": manifest.program,
        "schema_version": manifest.schema_version,
        "parts": list(manifest.parts),
        "requests": checked.contents.requests,
        "logs": manifest.below("logs")[0],
        "artifacts": manifest.below("artifacts")[0],
        "lost": list(manifest.lost.values()),
    }
