"""What a task keeps, and what earlier tasks kept for it. Blocking; nothing of the task runs meanwhile.

One artifact a path: one file is kept as it is, a folder or several files become a tar. Names are relative to the
workspace, so that the next task finds everything where the first one had it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from formicary.ant import extract, globs, pack
from formicary.ant.below import Below, Found, Outside
from formicary.ant.settings import ArtifactLimits
from formicary.runner.artifacts import Digest, ObjectStore, copy
from formicary.runner.core.errors import UserError
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.messages import Input

Warn = Callable[[str], None]


class TooLarge(UserError):
    """More than this ant keeps."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What one path of a definition found; `direct` is what the pattern itself names."""

    name: str
    direct: tuple[Found, ...]
    found: tuple[Found, ...]
    left_out: int

    @property
    def single_file(self) -> bool:
        return len(self.direct) == 1 and self.direct[0].is_file


def keep(
    below: Below,
    folder: str,
    paths: Iterable[str],
    exclude: tuple[str, ...],
    objects: ObjectStore,
    limits: ArtifactLimits,
    warn: Warn,
) -> Iterator[ArtifactRef]:
    """Store what each path finds, for good: a result will refer to it. Raises TooLarge, Outside, OSError."""
    for number, path in enumerate(paths, 1):
        chosen = select(below, folder, path, exclude)
        if not chosen.found:
            warn(f"artifacts: {path!r} matches nothing.")
            continue
        _say_left_out(chosen, path, warn)
        check(chosen.found, limits, f"artifacts: {path!r}")
        if chosen.single_file and _is_text(chosen.direct[0].path):
            ref = _keep_file(below, chosen.direct[0], objects)
        else:
            ref = _ref(chosen.name, "tar", objects.put(pack.stream(below, chosen.found), durable=True))
        yield ref.model_copy(update={"number": number})


def _is_text(path: str) -> bool:
    """Whether a name is one that a report can say; in a tar any bytes may be one."""
    return not any("\ud800" <= char <= "\udfff" for char in path)


def _keep_file(below: Below, one: Found, objects: ObjectStore) -> ArtifactRef:
    with open(below.read(one.path), "rb", buffering=0) as file:
        ref = _ref(one.path, "file", objects.put(file, durable=True))
    return ref.model_copy(update={"executable": bool(one.mode & 0o111)})


def _ref(name: str, kind: str, digest: Digest) -> ArtifactRef:
    return ArtifactRef(name=name, kind=kind, digest=digest.sha256, size=digest.size)


def _say_left_out(chosen: Selection, path: str, warn: Warn) -> None:
    if chosen.left_out:
        warn(f"{path!r}: {chosen.left_out} links or special files were left out; only files and folders are kept.")


def check(found: Iterable[Found], limits: ArtifactLimits, what: str) -> None:
    """Raises TooLarge."""
    files = [one for one in found if one.is_file]
    size = sum(one.size for one in files)
    if len(files) > limits.max_files:
        raise TooLarge(f"{what} matches {len(files)} files; at most {limits.max_files} are kept.")
    if size > limits.max_bytes:
        raise TooLarge(f"{what} matches {size} bytes; at most {limits.max_bytes} are kept.")


def select(below: Below, folder: str, path: str, exclude: Iterable[str] = ()) -> Selection:
    """What a path finds, in order. Raises Outside where it leads out of the workspace."""
    pattern = _joined(folder, path)
    excluded = [globs.below(_joined(folder, one)) for one in exclude]
    direct: list[Found] = []
    found: list[Found] = []
    left_out = 0
    for one in _candidates(below, pattern):
        if any(regex.fullmatch(one.path) for regex in excluded):
            continue
        if not (one.is_file or one.is_folder):
            left_out += 1
            continue
        found.append(one)
        if not globs.is_glob(pattern) or globs.matcher(pattern).fullmatch(one.path):
            direct.append(one)
    return Selection(pattern or ".", tuple(direct[: 1 if not globs.is_glob(pattern) else None]), tuple(found), left_out)


def _candidates(below: Below, pattern: str) -> Iterator[Found]:
    if globs.is_glob(pattern):
        regex = globs.below(pattern)
        yield from (one for one in below.walk(globs.fixed_folder(pattern)) if regex.fullmatch(one.path))
        return
    first = below.look(pattern)
    if first is not None and pattern:
        yield first
    if first is not None and first.is_folder:
        yield from below.walk(pattern)


def _joined(folder: str, path: str) -> str:
    """A path of the definition, from the workspace's root. Raises Outside."""
    if path.startswith("/") or "\0" in path:
        raise Outside(f"{path!r} does not lie in the workspace; give a path relative to working_dir.")
    joined = os.path.normpath(os.path.join(folder, path))  # noqa: PTH118  # pathlib keeps `..`
    if joined == ".." or joined.startswith(("../", "/")):
        raise Outside(f"{path!r} does not lie in the workspace; give a path that does.")
    return "" if joined == "." else joined


def put_in_place(
    inputs: Iterable[Input], below: Below, objects: ObjectStore, limits: ArtifactLimits, scratch: Path
) -> None:
    """Put the artifacts of dependencies where they were, or below their folders. Raises UserError, WorldError,
    OSError."""
    for one in inputs:
        with checked(objects, one.artifact.digest, scratch) as content:
            if one.artifact.kind == "tar":
                extract.unpack(content, below, limits, one.folder)
            else:
                mode = 0o755 if one.artifact.executable else 0o644
                path = str(PurePosixPath(one.folder, one.artifact.name))
                extract.write(content, below, path, mode, one.artifact.size)


def checked(objects: ObjectStore, sha256: str, scratch: Path) -> BinaryIO:
    """The object, read whole and found to be what its digest says, before anything of it is used (T4)."""
    file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # given to the caller
    try:
        copy(objects, sha256, file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
