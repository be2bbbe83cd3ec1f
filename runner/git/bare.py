"""A bare mirror on the disk: made, read, tidied, thrown away. Its own configuration holds no address and no token."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from dulwich.refs import DiskRefsContainer, Ref, check_ref_format

from formicary.runner.core.errors import RepositoryUnavailable
from formicary.runner.git.refs import RefReader
from formicary.runner.git.workspace import git_binary, git_environment

GONE: Final = ".gone-"
KEEP: Final = "refs/formicary/keep/"
REFS_TIMEOUT: Final = 120.0
PRUNE_AFTER: Final = "2.weeks.ago"
_MOST_MEMORY: Final = (
    *("-c", "pack.threads=1", "-c", "pack.windowMemory=64m", "-c", "pack.deltaCacheSize=64m"),
    *("-c", "core.bigFileThreshold=32m", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"),
)


class Bare:
    """Blocking calls; one writer at a time is its caller's business."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_there(self) -> bool:
        return (self.path / "HEAD").exists()

    @property
    def is_shallow(self) -> bool:
        try:
            return (self.path / "shallow").stat().st_size > 0
        except FileNotFoundError:
            return False

    def make(self, hex_length: int = 40) -> None:
        """What `git init --bare` would make, without its process; an existing one stays."""
        if self.is_there:
            return
        for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (self.path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        version, extension = (1, "[extensions]\n\tobjectformat = sha256\n") if hex_length == 64 else (0, "")
        core = f"[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = true\n"
        (self.path / "config").write_text(f"{core}\tlogallrefupdates = false\n{extension}")
        self.point_head("refs/heads/main")

    def point_head(self, ref: str) -> None:
        """Make HEAD name this branch, unless it does."""
        head, new = self.path / "HEAD", self.path / "HEAD.new"
        text = f"ref: {ref}\n"
        if check_ref_format(Ref(ref.encode())) and (not head.exists() or head.read_text() != text):
            new.write_text(text)
            new.replace(head)

    def refs(self, hex_length: int = 40) -> dict[str, str]:
        """Branches and tags with their ids, tags not peeled."""
        reader = RefReader(self.path, self.path, DiskRefsContainer(str(self.path)), hex_length)
        return {name.decode("utf-8", "surrogateescape"): value for name, value in reader.all()[0].items()}

    def object_format(self) -> int:
        """Hexadecimal digits of an id here."""
        return 64 if "objectformat = sha256" in (self.path / "config").read_text() else 40

    def set_refs(self, changes: Mapping[str, str | None]) -> None:
        """Name these commits, which must be there; None takes a name away."""
        if not changes:
            return
        lines = "".join(
            f"update {name}\0{sha}\0\0" if sha else f"delete {name}\0\0" for name, sha in changes.items()
        ).encode("utf-8", "surrogateescape")
        if git_binary() is not None:
            self._git("update-ref", "--no-deref", "-z", "--stdin", stdin=lines)
            return
        refs = DiskRefsContainer(str(self.path))
        for name, sha in changes.items():
            key = Ref(name.encode("utf-8", "surrogateescape"))
            if sha:
                refs.set_if_equals(key, None, sha.encode())  # type: ignore[arg-type]  # an id is bytes
            else:
                refs.remove_if_equals(key, None)

    def pack_refs(self) -> None:
        """One file instead of thousands."""
        if git_binary() is not None:
            self._git("pack-refs", "--all")

    def kept(self) -> set[str]:
        """The commits that are named only so that they stay."""
        folder = self.path / KEEP
        names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        with suppress(FileNotFoundError):
            for line in (self.path / "packed-refs").read_text("utf-8", "surrogateescape").splitlines():
                name = line.partition(" ")[2]
                if name.startswith(KEEP):
                    names.add(name.removeprefix(KEEP))
        return names

    def keep(self, commits: Iterable[str]) -> None:
        """These stay, whether a branch still leads to them or not; what was kept before is not any longer."""
        wanted = set(commits)
        known = self.kept()
        changes: dict[str, str | None] = {f"{KEEP}{sha}": None for sha in known - wanted}
        changes |= {f"{KEEP}{sha}": sha for sha in wanted - known}
        self.set_refs(changes)

    def tidying(self) -> tuple[list[str], dict[str, str]] | None:
        """The command and its environment that make few packs of many; None without git. What nothing leads to goes
        after two weeks. The largest pack is left as it is: that bounds the work and its memory."""
        git = git_binary()
        if git is None:
            return None
        words = ["gc", "--quiet", "--keep-largest-pack", f"--prune={PRUNE_AFTER}"]
        return [git, "--git-dir", str(self.path), *_MOST_MEMORY, *words], git_environment(self.path)

    def packs(self) -> int:
        folder = self.path / "objects" / "pack"
        return sum(1 for name in os.listdir(folder) if name.endswith(".pack")) if folder.is_dir() else 0  # noqa: PTH208

    def remove_locks(self) -> None:
        """What a killed git left behind: nobody else writes here."""
        for name in ("shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock", "gc.pid"):
            (self.path / name).unlink(missing_ok=True)
        for left in (self.path / "refs").rglob("*.lock") if (self.path / "refs").is_dir() else ():
            left.unlink(missing_ok=True)
        pack = self.path / "objects" / "pack"
        for left in pack.glob("tmp_*") if pack.is_dir() else ():
            left.unlink(missing_ok=True)

    def remove(self) -> None:
        """Out of the way at once, then deleted."""
        aside = self.path.with_name(f"{GONE}{uuid.uuid4().hex}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _git(self, *words: str, stdin: bytes = b"") -> None:
        git = git_binary()
        assert git is not None
        try:
            done = subprocess.run(
                [git, "--git-dir", str(self.path), *words],
                input=stdin,
                cwd=self.path,
                env=git_environment(self.path),
                capture_output=True,
                timeout=REFS_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RepositoryUnavailable(f"git {words[-1]} did not finish in the mirror {self.path}.") from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[:300]
            raise RepositoryUnavailable(f"The mirror {self.path} cannot be changed: {said}")


def remove_leftovers(folder: Path) -> None:
    """Mirrors that were put aside when a process ended."""
    for left in folder.glob(f"{GONE}*") if folder.is_dir() else ():
        shutil.rmtree(left, ignore_errors=True)
