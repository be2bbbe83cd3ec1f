"""`formicary backup`: one file of all that the data folder remembers, made while a server runs or while none does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from formicary.cli.format import as_json, progress
from formicary.cli.masterkey import MasterKey
from formicary.cli.settings import Settings, read_settings
from formicary.runner.backup.archive import Manifest
from formicary.runner.backup.backup import PARTS, Backup, back_up
from formicary.runner.core.errors import SetupError
from formicary.site.times import size

_OWN_NAME: Final = re.compile(r"formicary-\d{8}T\d{6}Z\.tar\.gz")
_BUCKET: Final = "they are in the bucket, and stay there: let the bucket keep what is deleted for as long as backups"

_ELSEWHERE: Final = (
    "If the server keeps artifacts in a bucket, nothing is lost: no bucket is set for this command. Run it where the "
    "server's formicary.toml is, or with its FORMICARY_ARTIFACTS."
)


def left_out(settings: Settings) -> dict[str, str]:
    """What is never in a backup, and what that means."""
    key = MasterKey(settings.data).place
    never = {
        "master.key": f"without the master key the secrets in it cannot be read: keep a copy of {key} elsewhere",
        "admin.token": "the first start after a restore makes a new one",
        "hooks": "after a restore, formicary hook install makes new secrets for the hooks of commits",
        "settings": "keep a copy of formicary.toml and of the service's environment",
    }
    return never | ({"artifacts": _BUCKET, "archived logs": _BUCKET} if settings.artifacts else {})


@click.command(short_help="Save all that the data folder holds, while a server runs.")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE|FOLDER", help="[default: the current folder]")
@click.option("--logs/--no-logs", default=True, help="With what tasks wrote.  [default: with]")
@click.option("--artifacts/--no-artifacts", default=True, help="With the bytes of artifacts.  [default: with]")
@click.option("--caches/--no-caches", default=False, help="With caches, which can be made again.  [default: without]")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Delete all but the N newest backups of the folder.")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder.")
@click.option("--json", "json_wanted", is_flag=True, help="As JSON.")
def command(to: Path | None, keep: int | None, data: Path | None, json_wanted: bool, **wanted: bool) -> None:
    """Save the data folder in one file: the state of one moment, logs, artifacts. A server may be running.

    The master key is never in it. Check a backup with: formicary restore FILE --verify

    \b
    Examples:
      formicary backup
      formicary backup --to /backup --keep 14
      formicary backup --to /backup/state.tar.gz --no-logs --no-artifacts
    """
    settings = read_settings({"data": data})
    target = _target(to or Path.cwd())
    if keep and not _OWN_NAME.fullmatch(target.name):
        raise SetupError("--keep deletes older backups of a folder; name a folder with --to")
    with progress("backing up") as say:
        parts = [part for part in PARTS if wanted[part] and (part == "logs" or not settings.artifacts)]
        made = back_up(settings.data, target, parts, say)
    gone = _rotate(target.parent, keep) if keep else []
    never = left_out(settings)
    if json_wanted:
        click.echo(as_json(_as_json(made, gone, never)))
    else:
        _say(made, gone, never)
    for lost in made.manifest.lost.values():
        click.echo(f"warning: the bytes of {lost} are not there or damaged in the data folder already", err=True)
    if made.manifest.lost and not settings.artifacts:
        click.echo(_ELSEWHERE, err=True)


def _target(to: Path) -> Path:
    to = to.expanduser().absolute()
    return to / f"formicary-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz" if to.is_dir() else to


def _rotate(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest; their names sort by time."""
    old = sorted(path for path in folder.iterdir() if _OWN_NAME.fullmatch(path.name))[:-keep]
    for path in old:
        path.unlink(missing_ok=True)
    return old


def number(count: int, what: str) -> str:
    """`12 logs`, `1 log`."""
    return f"{count} {what if count != 1 else what[:-1]}"


def inside(manifest: Manifest, requests: int) -> str:
    """`3 requests, 12 logs (3.4 MB), 2 artifacts (1.0 GB)`."""
    found = [number(requests, "requests")]
    for part in ("logs", "artifacts"):
        if part in manifest.parts:
            count, taken = manifest.below(part)
            found.append(f"{number(count, part)} ({size(taken)})")
    return ", ".join(found)


def _say(made: Backup, gone: list[Path], never: dict[str, str]) -> None:
    manifest = made.manifest
    click.echo(f"{made.path} ({size(made.size)}): {inside(manifest, made.requests)}")
    without = [part for part in PARTS if part not in manifest.parts]
    if without:
        click.echo(f"without {' and '.join(without)}")
    click.echo("not inside, and never:")
    for name, why in never.items():
        click.echo(f"  {name:<14} {why}")
    if gone:
        click.echo(f"deleted older backups: {', '.join(path.name for path in gone)}")


def _as_json(made: Backup, gone: list[Path], never: dict[str, str]) -> dict[str, object]:
    manifest = made.manifest
    return {
        "file": str(made.path),
        "size": made.size,
        "created_at": datetime.fromtimestamp(manifest.created_at, UTC).isoformat(),
        "program": manifest.program,
        "schema_version": manifest.schema_version,
        "parts": list(manifest.parts),
        "requests": made.requests,
        "files": len(manifest.files),
        "lost": list(manifest.lost.values()),
        "deleted": [str(path) for path in gone],
        "not_inside": never,
    }
