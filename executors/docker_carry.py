"""The middle of the DOCKER executor: a task's files, in and out of its container.

Where the engine sees our folders and we may give files away, the workspace is mounted; else it is copied as a tar, both
ways. What comes out of a container is a stranger's: regular files and folders only, into an empty folder, so that no
link can lead anywhere (T11). Everything in here is blocking.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from formicary.executors.inside import RUN

MOST_BYTES: Final = 8 << 30
MOST_FILES: Final = 500_000
MOST_OUTPUT: Final = (1 << 20) + 1
_CHANGED, _ADDED = 0, 1


class TooMuch(Exception):
    """More than is copied out of a container."""


def give(folder: Path, uid: int, gid: int) -> None:
    """Everything in a folder belongs to this user. Nothing of the task may run meanwhile."""
    if not os.listdir(folder):  # noqa: PTH208  # mostly
        return _own(str(folder), uid, gid)
    for parent, folders, files in os.walk(folder):
        _own(parent, uid, gid)
        for name in (*files, *(one for one in folders if os.path.islink(f"{parent}/{one}"))):  # noqa: PTH114
            _own(f"{parent}/{name}", uid, gid)


def _own(path: str, uid: int, gid: int) -> None:
    found = os.lstat(path)
    if found.st_uid != uid:
        os.lchown(path, uid, gid)


def as_tar(contents: Mapping[str, bytes], folder: str) -> bytes:
    """Files of ours for a container, which everybody in it may read and change; the folder too."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add_folder(tar, folder.strip("/"))
        for name, data in contents.items():
            info = tarfile.TarInfo(f"{folder.strip('/')}/{name}")
            info.size, info.mode = len(data), 0o666
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _add_folder(tar: tarfile.TarFile, name: str, owner: tuple[int, int] = (0, 0)) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    info.uid, info.gid = owner
    tar.addfile(info)


def pack(workspace: Path, mounted_at: str, owner: tuple[int, int], file: IO[bytes]) -> None:
    """The workspace as a tar that is unpacked at `/`. At `/` itself no folder is named: those of the image stay."""
    prefix = mounted_at.strip("/")

    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if prefix:
            _add_folder(tar, prefix, owner)
        for parent, folders, files in os.walk(workspace):
            inside = PurePosixPath(prefix, os.path.relpath(parent, workspace))
            for name in (*folders, *files):
                info = tar.gettarinfo(f"{parent}/{name}", str(inside / name))
                if info is None or (info.isdir() and not prefix):
                    continue
                info.uid, info.gid, info.uname, info.gname = *owner, "", ""
                if info.isreg():
                    with open(f"{parent}/{name}", "rb") as content:
                        tar.addfile(info, content)
                else:
                    tar.addfile(info)
    file.seek(0)


def clear(workspace: Path) -> None:
    for entry in os.scandir(workspace):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108


def unpack(file: IO[bytes], workspace: Path, below: str = "") -> None:
    """Put the files of an engine's tar where they were, from the first name on (which is the folder's that was asked
    for) or below `below`. The workspace was empty, or holds only what was unpacked before. Raises TooMuch, OSError."""
    size = count = 0
    made: dict[str, Path] = {}
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for info in tar:
            parts = PurePosixPath(info.name).parts
            parts = (*PurePosixPath(below).parts, *parts) if below else parts[1:]
            if not parts or ".." in parts or parts[0] == "/":
                continue
            origin = made.get(info.linkname) if info.islnk() else None
            size, count = size + (origin.stat().st_size if origin else info.size), count + 1
            if size > MOST_BYTES or count > MOST_FILES:
                raise TooMuch(f"The workspace has more than {MOST_FILES} files or {MOST_BYTES} bytes.")
            path = workspace.joinpath(*parts)
            if info.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif info.isreg():
                content = tar.extractfile(info)
                assert content is not None, "it is a regular file"
                _write(path, content, info.mode)
                made[info.name] = path
            elif origin is not None:  # a second name of a file is a file of its own
                with open(origin, "rb") as content:
                    _write(path, content, info.mode)


def _write(path: Path, content: IO[bytes], mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as target:
        shutil.copyfileobj(content, target, 1 << 20)
        os.fchmod(target.fileno(), 0o755 if mode & 0o111 else 0o644)


def one_file(file: IO[bytes], most: int = MOST_OUTPUT) -> bytes:
    """The regular file in a tar of one; nothing if it is something else."""
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            return content.read(most) if content is not None else b""
    return b""


def overwrite(path: Path, data: bytes) -> None:
    """The file for outputs, which is there. Links are not followed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as file:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            file.write(data)


def user_ids(user: str, passwd: bytes, group: bytes) -> tuple[int, int] | None:
    """The numbers of `name`, `uid`, `name:group` …, as the image knows them; None for a name that it does not know."""
    name, _, group_name = user.partition(":")
    lines = [line.split(":") for line in passwd.decode("utf-8", "replace").splitlines()]
    found = next((line for line in lines if len(line) > 3 and name in (line[0], line[2])), None)
    uid = found[2] if found else name
    gid = group_name or (found[3] if found else "0")
    if not gid.isdecimal():
        groups = [line.split(":") for line in group.decode("utf-8", "replace").splitlines()]
        gid = next((line[2] for line in groups if len(line) > 2 and line[0] == gid), "0")
    return (int(uid), int(gid)) if uid.isdecimal() and gid.isdecimal() else None


def tops(changes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of what a container changed: new files and folders, each without what is below it, and changed files."""
    kinds = {PurePosixPath(one["Path"]): int(one["Kind"]) for one in changes}
    above = {parent for path in kinds for parent in path.parents}
    own = PurePosixPath(RUN)
    return [
        str(path)
        for path, kind in kinds.items()
        if (kind == _ADDED and kinds.get(path.parent) != _ADDED) or (kind == _CHANGED and path not in above)
        if path != own and own not in path.parents
    ]


def roots(paths: Iterable[str]) -> list[str] | None:
    """The first names of paths; None where one of them may be any name (a glob)."""
    found = [PurePosixPath(path).parts[:1] for path in paths]
    names = list(dict.fromkeys(part[0] for part in found if part))
    return None if any(set(name) & set("*?[") for name in names) else names
